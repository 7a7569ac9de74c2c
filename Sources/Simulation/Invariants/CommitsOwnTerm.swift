import ClearingModel
import Engine

/// Raft figure 8: entries of earlier terms become committed with one of the own term, never by themselves.
struct CommitsOwnTerm: Invariant {
    static let rule =
        "a leader commits by counting replicas only entries of its own term (Raft §5.4.2, figure 8)"
    private(set) var tally = Tally()

    /// A leader is the first to take entries up to here for committed.
    mutating func committed(_ leader: ReplicaID, _ now: GroupInspection, _ index: LogIndex, _ term: Term) -> String? {
        tally.checks += 1
        if term == now.raft.term { return nil }
        return "shard \(now.shard): \(leader) leads term \(now.raft.term) and takes entry \(index) of term \(term) for "
            + "committed, with none of its own term behind it"
    }
}
