import ClearingModel
import Engine

/// The reference log is what was committed first.
struct CommittedNeverChanges: Invariant {
    static let rule = "what is committed never changes (Raft §5.4; FAULTS, committed never changes)"
    private(set) var tally = Tally()

    /// A replica takes entries for committed.
    ///
    /// - Parameter termAt: terms of its log, `nil` for what only its snapshot covers.
    mutating func learned(
        _ replica: ReplicaID, _ shard: ShardID, after: LogIndex, through: LogIndex, reference: ReferenceLog,
        termAt: (LogIndex) -> Term?
    ) -> String? {
        var index = min(through, reference.committed)
        while index > after {
            guard let term = termAt(index) else { return nil }
            tally.checks += 1
            if term != reference[index].term {
                return "shard \(shard): \(replica) takes entry \(index) of term \(term) for committed, which was "
                    + "committed in term \(reference[index].term)"
            }
            index = index.previous
        }
        return nil
    }

    /// A full scan found an entry that its own log's commit hint covers.
    mutating func found(
        _ replica: ReplicaID, _ shard: ShardID, _ index: LogIndex, _ term: Term, reference: ReferenceLog
    ) -> String? {
        guard index <= reference.committed else {
            return "shard \(shard): the files of \(replica) say that entry \(index) is committed, only "
                + "\(reference.committed) are"
        }
        tally.checks += 1
        if term == reference[index].term { return nil }
        return "shard \(shard): the files of \(replica) hold entry \(index) of term \(term) as committed, which was "
            + "committed in term \(reference[index].term)"
    }
}
