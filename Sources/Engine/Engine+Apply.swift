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
        guard !group.isReading else { return }
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
