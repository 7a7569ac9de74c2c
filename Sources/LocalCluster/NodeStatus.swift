import ClearingModel
import Foundation

/// What a node says of itself under `/status` on its admin port.
public struct NodeStatus: Codable, Hashable, Sendable {
    public struct Shard: Codable, Hashable, Sendable {
        /// 0 is the directory.
        public var id: UInt16
        /// `leader`, `follower`, `candidate` or `learner`.
        public var role: String
        /// The leader that this replica follows; `nil` while it knows none.
        public var leader: UInt32?
        public var term: UInt64
        public var commit: UInt64
        public var applied: UInt64
        /// The last directory change that this replica has applied.
        public var directoryVersion: UInt64
        /// Only from the leader: who belongs to the group and how far each has got.
        public var replicas: [Replica]?

        public var isLeader: Bool { role == "leader" }

        /// Whether this replica votes in the group, and no other incarnation of its node belongs to it.
        func holds(_ replica: ReplicaID) -> Bool {
            let own = (replicas ?? []).filter { $0.node == replica.node.rawValue }
            return own.count == 1 && own[0].incarnation == replica.incarnation.rawValue && own[0].part == "voter"
        }
    }

    public struct Replica: Codable, Hashable, Sendable {
        public var node: UInt32
        public var incarnation: UInt32
        /// `voter` or `learner`.
        public var part: String
        /// Durable up to here.
        public var match: UInt64
    }

    /// Damage of one replica that is not repaired yet.
    public struct Repair: Codable, Hashable, Sendable {
        public var shard: UInt16
        /// Log entries that cannot be read back.
        public var entries: UInt64
        /// Whether all checkpoints are damaged: the replica waits for a snapshot.
        public var lacksState: Bool
    }

    public var node: UInt32
    public var incarnation: UInt32
    public var repairs: [Repair]
    public var shards: [Shard]

    /// Asks one node; `nil` where it does not answer in time.
    public static func ask(_ node: ClusterState.Node, timeoutMilliseconds: Int = 300) -> NodeStatus? {
        let client = AdminClient(port: node.admin, timeoutMilliseconds: timeoutMilliseconds)
        guard let reply = client.get("/status"), reply.status == 200,
            let status = try? JSONDecoder().decode(NodeStatus.self, from: Data(reply.body.utf8)),
            // Another cluster's node may have taken the port.
            status.node == node.id
        else { return nil }
        return status
    }
}
