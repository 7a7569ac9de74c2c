import ClearingModel

/// What `cluster kill`, `pause`, `resume` and `restart` act on.
public enum Target: Hashable, Sendable {
    case node(NodeID)
    case all
    /// A city, a data centre, or the number of a data centre as in 127.77.s.n.
    case site(String)
    case leader(ShardID)

    /// Reads `3`, `all`, `site:Beijing`, `site:Beijing-A`, `site:2`, `leader:7` or `leader:directory`.
    public init(_ text: String) throws(LaunchError) {
        if text == "all" {
            self = .all
        } else if let number = UInt32(text), number > 0 {
            self = .node(NodeID(number))
        } else if text.hasPrefix("site:"), text.count > 5 {
            self = .site(String(text.dropFirst(5)))
        } else if text == "leader:directory" {
            self = .leader(.directory)
        } else if text.hasPrefix("leader:"), let shard = UInt16(text.dropFirst(7)) {
            self = .leader(ShardID(shard))
        } else {
            throw .usage("'\(text)' is no target: give a node number, all, site:NAME, site:NUMBER or leader:SHARD")
        }
    }

    /// The nodes that it stands for now; at least one.
    public func nodes(state: ClusterState, topology: ClusterTopology) throws(LaunchError) -> [NodeID] {
        switch self {
        case .all: return state.nodes.map(\.nodeID)
        case .node(let id):
            guard state.node(id) != nil else {
                throw .usage("there is no node \(id): nodes are 1 to \(state.nodes.count)")
            }
            return [id]
        case .site(let name):
            var sites: [Site] = []
            for node in state.nodes where !sites.contains(Site(city: node.city, dataCentre: node.dataCentre)) {
                sites.append(Site(city: node.city, dataCentre: node.dataCentre))
            }
            let wanted = name.lowercased()
            let byNumber = Int(name).flatMap { sites.indices.contains($0 - 1) ? sites[$0 - 1] : nil }
            let nodes = state.nodes.filter { node in
                node.city.lowercased() == wanted || node.dataCentre.lowercased() == wanted
                    || byNumber == Site(city: node.city, dataCentre: node.dataCentre)
            }
            guard !nodes.isEmpty else {
                throw .usage("there is no site '\(name)': sites are \(sites.map(\.dataCentre).joined(separator: ", "))")
            }
            return nodes.map(\.nodeID)
        case .leader(let shard):
            guard topology.placement(of: shard) != nil else {
                throw .usage("there is no shard \(shard): shards are 1 to \(topology.shardCount), or directory")
            }
            let status = ClusterStatus.take(state: state, topology: topology)
            guard let leader = status.groups.first(where: { $0.id == shard.rawValue })?.leader else {
                throw .failed("shard \(shard) has no leader at the moment: see 'suanpan cluster status'")
            }
            return [NodeID(leader)]
        }
    }
}
