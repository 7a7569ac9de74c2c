import ClearingModel
import Foundation

/// `DIR/cluster.json`: what the launcher knows about its processes. Version 1, mode 0600.
public struct ClusterState: Codable, Hashable, Sendable {
    public static let currentVersion = 1

    public struct Node: Codable, Hashable, Sendable {
        public var id: UInt32
        public var city: String
        public var dataCentre: String
        public var address: String
        public var port: UInt16
        public var admin: UInt16
        /// Counts up whenever the node comes back with an empty disk.
        public var incarnation: UInt32
        /// The process that was started last; `nil` after an orderly stop.
        public var process: ProcessIdentity?
        /// Bytes that its log had when that process was started.
        public var logOffset: Int?

        public init(
            id: UInt32, city: String, dataCentre: String, address: String, port: UInt16, admin: UInt16,
            incarnation: UInt32, process: ProcessIdentity? = nil
        ) {
            self.id = id
            self.city = city
            self.dataCentre = dataCentre
            self.address = address
            self.port = port
            self.admin = admin
            self.incarnation = incarnation
            self.process = process
        }

        public var nodeID: NodeID { NodeID(id) }
    }

    public var version = currentVersion
    public var cluster: String
    public var nodes: [Node]
    /// Whether nodes are started with `--allow-faults`.
    public var allowFaults: Bool
    /// Participants that were generated for this cluster; 0 where they come from a file.
    public var participants: Int
    /// Version of the directory after the generated participants were imported; `nil` before.
    public var importedVersion: UInt64?
    /// The `cluster up` that runs in the foreground: nodes are its children and die with it.
    public var launcher: ProcessIdentity?

    public init(cluster: String, nodes: [Node], allowFaults: Bool, participants: Int) {
        self.cluster = cluster
        self.nodes = nodes
        self.allowFaults = allowFaults
        self.participants = participants
    }

    public func node(_ id: NodeID) -> Node? { nodes.first { $0.nodeID == id } }

    public mutating func update(_ id: NodeID, _ change: (inout Node) -> Void) {
        guard let index = nodes.firstIndex(where: { $0.nodeID == id }) else { return }
        change(&nodes[index])
    }

    /// Nodes whose process is alive.
    public var running: [Node] { nodes.filter { $0.process?.isAlive ?? false } }

    func encoded() throws(LaunchError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        do {
            return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
        } catch {
            throw .failed("the cluster's state cannot be written as JSON: \(error)")
        }
    }

    static func decode(_ text: String, file: String) throws(LaunchError) -> ClusterState {
        struct Head: Decodable { var version: Int }
        let data = Data(text.utf8)
        do {
            let version = try JSONDecoder().decode(Head.self, from: data).version
            guard version == currentVersion else {
                throw LaunchError.configuration(
                    "\(file) has version \(version); this suanpan reads version \(currentVersion): use the one that made it"
                )
            }
            return try JSONDecoder().decode(ClusterState.self, from: data)
        } catch let error as LaunchError {
            throw error
        } catch {
            throw .configuration(
                "\(file) is damaged (\(error)): restore it, or remove the directory once none of its nodes run")
        }
    }
}
