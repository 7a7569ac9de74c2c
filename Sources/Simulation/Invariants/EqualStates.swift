import ClearingModel
import Engine

/// The running hash chains every decision and batch; the hash of the whole state is compared now and then.
struct EqualStates: Invariant {
    static let rule =
        "replicas that applied the same index have byte-identical state (DOMAIN, invariant 5; FAULTS, equal state hashes)"
    private(set) var tally = Tally()
    private(set) var wholeStates: UInt64 = 0
    /// By shard: an index and the hash of the whole state there.
    private var targets: [(index: LogIndex, hash: UInt64, replica: ReplicaID)?]

    init(shards: Int) { targets = Array(repeating: nil, count: shards) }

    /// A clearing replica ended a turn with everything up to here applied.
    mutating func applied(
        _ replica: ReplicaID, _ shard: ShardID, _ index: LogIndex, hash: UInt64, reference: inout ReferenceLog
    ) -> String? {
        guard let known = reference[index].replicaHash else {
            reference[index].replicaHash = hash
            return nil
        }
        tally.checks += 1
        if known == hash { return nil }
        return "shard \(shard), entry \(index): \(replica) has the running hash \(hash), a replica before it \(known)"
    }

    /// Whether the whole state is to be compared at this index of a shard.
    func wantsWhole(_ shard: ShardID, at index: LogIndex) -> Bool { targets[Int(shard.rawValue)]?.index == index }

    mutating func whole(_ replica: ReplicaID, _ shard: ShardID, at index: LogIndex, hash: UInt64) -> String? {
        guard let target = targets[Int(shard.rawValue)], target.index == index else {
            targets[Int(shard.rawValue)] = (index, hash, replica)
            return nil
        }
        guard target.replica != replica else { return nil }
        tally.checks += 1
        wholeStates += 1
        if target.hash == hash { return nil }
        return
            "shard \(shard), entry \(index): the state of \(replica) hashes to \(hash), that of \(target.replica) to "
            + "\(target.hash)"
    }
}
