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
            afterApply(group)
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
        for entry in entries where entry.index == group.applied.next && entry.index <= group.commit {
            group.apply(entry, in: self)
            afterApply(group)
        }
        apply(group)
    }

    private func afterApply(_ group: Group) {
        guard !group.isCheckpointing, let sections = group.takeCheckpoint() else { return }
        group.isCheckpointing = true
        let hash = group.stateHash()
        group.stateHashes.append(.init(shard: group.shard, index: group.applied, hash: hash))
        if group.stateHashes.count > 4 { group.stateHashes.removeFirst() }
        log.writeCheckpoint(
            shard: group.shard, index: group.applied, term: group.appliedTerm, membership: group.raft.membership,
            sections: sections, ops: &effects.disk)
        metrics.checkpoints += 1
        notice(
            .info, "checkpoint",
            [("shard", "\(group.shard)"), ("index", "\(group.applied)"), ("hash", String(hash, radix: 16))])
    }
}
