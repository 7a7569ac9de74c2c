import ClearingModel
import Logging

/// Everything one node process is started with. Read from `node.yaml`, the topology file and the data directory's identity.
public struct NodeConfiguration: Sendable {
    /// PEM files: the cluster's CA, and this node's certificate and key.
    public struct CertificateFiles: Hashable, Sendable {
        public var authority: String
        public var certificate: String
        public var key: String

        public init(authority: String, certificate: String, key: String) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }
    }

    public var node: NodeID
    /// From the identity file: how often this node has had an empty disk.
    public var incarnation: Incarnation
    public var topology: ClusterTopology
    /// Absolute path of the log's directory.
    public var dataDirectory: String
    public var certificates: CertificateFiles
    /// Whether operators may set link policies and clock offsets.
    public var allowFaults: Bool
    public var logLevel: Logger.Level

    /// - Precondition: the topology has a node with this id.
    public init(
        node: NodeID, incarnation: Incarnation, topology: ClusterTopology, dataDirectory: String,
        certificates: CertificateFiles, allowFaults: Bool = false, logLevel: Logger.Level = .info
    ) {
        precondition(topology.node(node) != nil, "the topology has no node \(node)")
        self.node = node
        self.incarnation = incarnation
        self.topology = topology
        self.dataDirectory = dataDirectory
        self.certificates = certificates
        self.allowFaults = allowFaults
        self.logLevel = logLevel
    }

    public var replica: ReplicaID { ReplicaID(node: node, incarnation: incarnation) }
    /// Where this node listens and connects from; admin is on 127.0.0.1 at `adminPort`.
    public var own: TopologyNode { topology.node(node)! }
}
