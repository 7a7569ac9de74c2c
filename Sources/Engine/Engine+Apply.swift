import ClearingModel
import Ledger
import LogFormat
import Raft

/// From "committed" to "applied", from memory where the entry is still there and from the log where it is not.
extension Engine {
    func applyCommitted() {
        for group in held where group.applied < group.commit { apply(group) }
    }

    func apply(_ group: Group) {
        guard !group.isReading, !group.lacksState else { return }
        while group.applied < group.commit {
            guard let entry = group.raft.entry(at: group.applied.next) else {
                readForApply(group)
                return
            }
            group.apply(entry, in: self)
            takeCheckpointIfDue(group)
        }
        serveReads(group)
    }

    private func readForApply(_ group: Group) {
        let token = token()
        group.isReading = true
        logReads[token] = .apply(group.shard)
        log.read(
            shard: group.shard, from: group.applied.next, maxBytes: 4 << 20, token: token, ops: &effects.disk,
            events: &logEvents)
    }

    /// Tries again after a while what the disk refused: out of descriptors, say, it gives the same bytes a second later.
    ///
    /// - Returns: how long apply has been stuck. Raft takes it for the age of a sync: a replica that cannot read what is
    ///   committed could lead and would never be ready, so it leaves that to others.
    func retryRead(of group: Group) -> MonotonicTime.Span {
        // A read may fail whose entries are applied already: by another one, or in a snapshot.
        if group.applied >= group.commit { (group.stuckSince, group.readFailedAt) = (nil, nil) }
        if let failed = group.readFailedAt, now - failed >= .seconds(1) { group.resumeApply() }
        return group.stuckSince.map { now - $0 } ?? MonotonicTime.Span(nanoseconds: 0)
    }

    /// Entries that the log read for a replica that restarted.
    func applyRead(_ entries: [RaftEntry], _ group: Group) {
        group.isReading = false
        // What was read may have been replaced since by a snapshot and what follows it: Raft's log names the term that
        // counts.
        for entry in entries
        where entry.index == group.applied.next && entry.index <= group.commit
            && group.raft.term(at: entry.index) == entry.term
        {
            group.apply(entry, in: self)
            takeCheckpointIfDue(group)
        }
        apply(group)
    }
}
