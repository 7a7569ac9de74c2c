import ClearingModel
import Foundation

/// The whole cluster at one moment, put together from what its nodes say. `json` is what scripts may rely on (DESIGN, "Commands").
public struct ClusterStatus: Codable, Hashable, Sendable {
    public enum NodeState: String, Codable, Sendable {
        case running
        /// The process is alive but its admin port does not answer.
        case silent
        case paused
        case stopped
    }

    public struct Node: Codable, Hashable, Sendable {
        public var id: UInt32
        public var pid: Int32?
        public var state: NodeState
        public var city: String
        public var dataCentre: String
        public var address: String
        public var admin: String
        /// Shards whose replica on this node is damaged and being repaired from a peer.
        public var repairing: [UInt16]

        /// `pid` is there in any case: `null` for a node that is down.
        public func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(id, forKey: .id)
            try fields.encode(pid, forKey: .pid)
            try fields.encode(state, forKey: .state)
            try fields.encode(city, forKey: .city)
            try fields.encode(dataCentre, forKey: .dataCentre)
            try fields.encode(address, forKey: .address)
            try fields.encode(admin, forKey: .admin)
            try fields.encode(repairing, forKey: .repairing)
        }
    }

    public struct Group: Codable, Hashable, Sendable {
        public var id: UInt16
        /// `nil` while no reachable node leads it.
        public var leader: UInt32?
        public var term: UInt64
        public var commit: UInt64
        /// As the leader has it; without a leader the highest that a replica reports.
        public var applied: UInt64
        /// Nodes that hold a replica, the preferred leader first.
        public var replicas: [UInt32]
        /// The last directory change that its leader has applied.
        public var directoryVersion: UInt64

        /// `leader` is there in any case: `null` while there is none.
        public func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(id, forKey: .id)
            try fields.encode(leader, forKey: .leader)
            try fields.encode(term, forKey: .term)
            try fields.encode(commit, forKey: .commit)
            try fields.encode(applied, forKey: .applied)
            try fields.encode(replicas, forKey: .replicas)
            try fields.encode(directoryVersion, forKey: .directoryVersion)
        }
    }

    public var nodes: [Node]
    public var shards: [Group]
    /// The group that holds participants and mandates.
    public var directory: Group

    /// Asks every node whose process is alive.
    public static func take(state: ClusterState, topology: ClusterTopology) -> ClusterStatus {
        assemble(state: state, topology: topology) { NodeStatus.ask($0) }
    }

    static func assemble(
        state: ClusterState, topology: ClusterTopology, ask: (ClusterState.Node) -> NodeStatus?
    ) -> ClusterStatus {
        var reports: [NodeStatus] = []
        let nodes = state.nodes.map { node -> Node in
            var (nodeState, repairing) = (NodeState.stopped, [UInt16]())
            if let process = node.process, process.isAlive {
                if process.isPaused {
                    nodeState = .paused
                } else if let report = ask(node) {
                    nodeState = .running
                    repairing = report.repairs.map(\.shard)
                    reports.append(report)
                } else {
                    nodeState = .silent
                }
            }
            return Node(
                id: node.id, pid: nodeState == .stopped ? nil : node.process?.pid, state: nodeState, city: node.city,
                dataCentre: node.dataCentre, address: "\(node.address):\(node.port)",
                admin: "http://127.0.0.1:\(node.admin)", repairing: repairing)
        }
        let groups = topology.placements.map { group($0, reports: reports) }
        return ClusterStatus(nodes: nodes, shards: Array(groups.dropFirst()), directory: groups[0])
    }

    private static func group(_ placement: Placement, reports: [NodeStatus]) -> Group {
        var views: [(node: UInt32, shard: NodeStatus.Shard)] = []
        for report in reports {
            for shard in report.shards where shard.id == placement.shard.rawValue { views.append((report.node, shard)) }
        }
        // A paused leader that just woke still believes in its term: the highest term decides.
        let leader = views.filter { $0.shard.isLeader }.max { $0.shard.term < $1.shard.term }
        let term = views.map(\.shard.term).max() ?? 0
        return Group(
            id: placement.shard.rawValue, leader: leader.flatMap { $0.shard.term == term ? $0.node : nil }, term: term,
            commit: leader?.shard.commit ?? views.map(\.shard.commit).max() ?? 0,
            applied: leader?.shard.applied ?? views.map(\.shard.applied).max() ?? 0,
            replicas: leader?.shard.replicas?.map(\.node) ?? placement.nodes.map(\.rawValue),
            directoryVersion: leader?.shard.directoryVersion ?? views.map(\.shard.directoryVersion).max() ?? 0)
    }

    /// Every group, the directory first.
    public var groups: [Group] { [directory] + shards }
    public var leaderless: [Group] { groups.filter { $0.leader == nil } }

    /// One line of JSON.
    public var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else { preconditionFailure("numbers and texts always encode") }
        return String(decoding: data, as: UTF8.self)
    }

    private static func name(_ shard: UInt16) -> String { shard == 0 ? "directory" : String(shard) }

    /// Two tables: nodes by city, groups with their leaders.
    public var table: String {
        let nodeRows = nodes.map { node -> [String] in
            let leads = groups.filter { $0.leader == node.id }.map { Self.name($0.id) }
            return [
                String(node.id), node.city, node.dataCentre, node.address, node.admin, node.state.rawValue,
                node.pid.map(String.init) ?? "-", leads.isEmpty ? "-" : leads.joined(separator: " "),
                node.repairing.isEmpty ? "-" : node.repairing.map(Self.name).joined(separator: " "),
            ]
        }
        let groupRows = groups.map { group -> [String] in
            [
                Self.name(group.id), group.leader.map(String.init) ?? "none",
                String(group.term), String(group.commit), String(group.applied),
                group.replicas.map(String.init).joined(separator: " "), String(group.directoryVersion),
            ]
        }
        return Table(
            ["node", "city", "data centre", "address", "admin", "state", "pid", "leads", "repairing"], rows: nodeRows
        ).text + "\n"
            + Table(["shard", "leader", "term", "commit", "applied", "replicas", "directory"], rows: groupRows).text
    }
}

/// Columns of text, padded to their widest value; numbers to the right.
public struct Table: Sendable {
    public var header: [String]
    public var rows: [[String]]

    public init(_ header: [String], rows: [[String]]) {
        self.header = header
        self.rows = rows
    }

    public var text: String {
        let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
        let numeric = header.indices.map { column in
            !rows.isEmpty && rows.allSatisfy { $0[column] == "-" || $0[column].allSatisfy(\.isNumber) }
        }
        let lines = ([header] + rows).map { row in
            let cells = row.indices.map { column -> String in
                let pad = String(repeating: " ", count: widths[column] - row[column].count)
                return numeric[column] ? pad + row[column] : row[column] + pad
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
