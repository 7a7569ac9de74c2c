import ClearingModel
import LogFormat

/// What an engine is told once, at its start.
public struct EngineConfiguration: Sendable {
    public var replica: ReplicaID
    public var topology: ClusterTopology
    /// Seed of every random choice (election time-outs).
    public var seed: UInt64

    /// Whether operators may set link policies and clock offsets.
    public var allowFaults: Bool
    /// Sizes of the log; tests make them small.
    public var logOptions: NodeLog.Options

    public init(
        replica: ReplicaID, topology: ClusterTopology, seed: UInt64, allowFaults: Bool = false,
        logOptions: NodeLog.Options = NodeLog.Options()
    ) {
        self.replica = replica
        self.topology = topology
        self.seed = seed
        self.allowFaults = allowFaults
        self.logOptions = logOptions
    }

    /// The groups that this node may hold a replica of, in order.
    var shards: [ShardID] {
        topology.placements.filter { $0.nodes.contains(replica.node) }.map(\.shard)
    }
}
