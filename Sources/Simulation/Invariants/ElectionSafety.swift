import ClearingModel
import Engine

/// Raft §5.2, figure 3.
struct ElectionSafety: Invariant {
    static let rule = "at most one leader is elected in a term (Raft §5.2; FAULTS, election safety)"
    private(set) var tally = Tally()
    /// By shard: the leader of each term.
    private var leaders: [[UInt64: ReplicaID]]

    init(shards: Int) { leaders = Array(repeating: [:], count: shards) }

    /// A replica was seen to lead.
    mutating func leads(_ shard: ShardID, _ term: Term, _ replica: ReplicaID) -> String? {
        tally.checks += 1
        let before = leaders[Int(shard.rawValue)].updateValue(replica, forKey: term.rawValue)
        guard let before, before != replica else { return nil }
        return "shard \(shard): \(before) and \(replica) both led term \(term)"
    }
}
