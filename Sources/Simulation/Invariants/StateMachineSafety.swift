import ClearingModel
import Engine

/// Raft figure 3.
struct StateMachineSafety: Invariant {
    static let rule =
        "if a replica applied an entry at an index, no replica applies another one there (Raft §5.4.3; FAULTS, "
        + "state-machine safety)"
    private(set) var tally = Tally()

    /// A replica applied entries, or starts from a state that contains them.
    ///
    /// - Parameter termAt: terms of its log, `nil` for what only its snapshot covers.
    mutating func applied(
        _ replica: ReplicaID, _ shard: ShardID, after: LogIndex, through: LogIndex, reference: ReferenceLog,
        termAt: (LogIndex) -> Term?
    ) -> String? {
        guard through <= reference.committed else {
            return "shard \(shard): \(replica) applied entry \(through), only \(reference.committed) are committed"
        }
        var index = through
        while index > after {
            // Below the log's start there is nothing to compare.
            guard let term = termAt(index) else { return nil }
            tally.checks += 1
            if term != reference[index].term {
                return "shard \(shard): \(replica) applied entry \(index) of term \(term), committed is that of term "
                    + "\(reference[index].term)"
            }
            index = index.previous
        }
        return nil
    }
}
