import ClearingModel
import Engine

/// Raft figure 3. With log matching it is enough to look at the last entry that the leader must have.
struct LeaderCompleteness: Invariant {
    static let rule =
        "an entry committed in a term is in the logs of the leaders of all later terms (Raft §5.4.3; FAULTS, leader "
        + "completeness)"
    private(set) var tally = Tally()

    /// A replica begins to lead.
    ///
    /// - Parameter termAt: terms of its log.
    mutating func elected(
        _ replica: ReplicaID, _ now: GroupInspection, reference: ReferenceLog, termAt: (LogIndex) -> Term?
    ) -> String? {
        tally.checks += 1
        let last = reference.lastCommitted(before: now.raft.term)
        // What its snapshot covers is in its state: its hash is compared.
        guard last > now.raft.start else { return nil }
        let found = termAt(last)
        if found == reference[last].term { return nil }
        return
            "shard \(now.shard): \(replica) leads term \(now.raft.term) with a log up to \(now.raft.lastIndex); entry "
            + "\(last) of term \(reference[last].term) was committed in term \(reference[last].committedIn), and the "
            + "leader has \(found.map { "one of term \($0)" } ?? "none")"
    }
}
