import ClearingModel
import Ledger
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
    /// Retention and the rhythm of checkpoints; the same on all nodes of a cluster.
    public var ledgerOptions: LedgerOptions
    /// Bytes of a snapshot in one frame.
    public var snapshotChunkBytes = 512 << 10
    /// Bytes of old entries in one reply to a peer that lacks them, beyond the first entry.
    public var repairReplyBytes = 512 << 10
    /// A group whose newest checkpoint lies this many segments back takes one out of turn: it would hold the log's
    /// start back.
    public var checkpointLagSegments: UInt64 = 4

    public init(
        replica: ReplicaID, topology: ClusterTopology, seed: UInt64, allowFaults: Bool = false,
        logOptions: NodeLog.Options = NodeLog.Options(), ledgerOptions: LedgerOptions = LedgerOptions()
    ) {
        self.replica = replica
        self.topology = topology
        self.seed = seed
        self.allowFaults = allowFaults
        self.logOptions = logOptions
        self.ledgerOptions = ledgerOptions
    }

    /// The groups that this node may hold a replica of, in order.
    var shards: [ShardID] {
        topology.placements.filter { $0.nodes.contains(replica.node) }.map(\.shard)
    }
}
