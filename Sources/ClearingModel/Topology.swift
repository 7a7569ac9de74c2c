/// One node as every node and client knows it.
public struct TopologyNode: Hashable, Sendable {
    public var id: NodeID
    public var city: String
    public var dataCentre: String
    /// Numeric address the node listens on and connects from; DESIGN: 127.77.s.n for node n of site s.
    public var address: String
    /// TLS port for peers, participants and operators: the certificate says who calls.
    public var port: UInt16
    /// Loopback port of `/metrics`, `/healthz`, `/status`.
    public var adminPort: UInt16

    public init(id: NodeID, city: String, dataCentre: String, address: String, port: UInt16, adminPort: UInt16) {
        self.id = id
        self.city = city
        self.dataCentre = dataCentre
        self.address = address
        self.port = port
        self.adminPort = adminPort
    }
}

/// Which nodes hold the replicas of one group; the first is the preferred leader.
public struct Placement: Hashable, Sendable {
    public var shard: ShardID
    public var nodes: [NodeID]
    public init(shard: ShardID, nodes: [NodeID]) {
        self.shard = shard
        self.nodes = nodes
    }
    public var preferredLeader: NodeID { nodes[0] }
}

/// The cluster as it was made: nodes, groups, placement, routing. Nodes and clients read the same file.
public struct ClusterTopology: Hashable, Sendable {
    public var cluster: ClusterID
    /// Ascending by id.
    public var nodes: [TopologyNode]
    /// The directory first, then the clearing shards in order: `placements[shard.rawValue]`.
    public var placements: [Placement]
    public var slots: SlotMap
    public var calendar: ClearingCalendar

    public init(
        cluster: ClusterID, nodes: [TopologyNode], placements: [Placement], slots: SlotMap,
        calendar: ClearingCalendar = ClearingCalendar()
    ) {
        self.cluster = cluster
        self.nodes = nodes
        self.placements = placements
        self.slots = slots
        self.calendar = calendar
    }

    public var shardCount: Int { placements.count - 1 }
    public func node(_ id: NodeID) -> TopologyNode? { nodes.first { $0.id == id } }
    public func placement(of shard: ShardID) -> Placement? {
        Int(shard.rawValue) < placements.count ? placements[Int(shard.rawValue)] : nil
    }
}

/// Why replicas cannot be placed.
public enum PlacementError: Error, Hashable, Sendable, CustomStringConvertible {
    case notEnoughNodes(replicas: Int, nodes: Int)
    case evenReplicas(Int)

    public var description: String {
        switch self {
        case .notEnoughNodes(let replicas, let nodes):
            "\(replicas) replicas do not fit on \(nodes) nodes: add nodes or ask for fewer replicas"
        case .evenReplicas(let count):
            "\(count) replicas survive no more than \(count - 1) do: choose an odd number from 1 to \(Limits.maximumReplicas)"
        }
    }
}

extension Placement {
    /// Spreads the replicas of every group over cities first, then data centres, then nodes, and preferred leaders
    /// evenly.
    ///
    /// Deterministic; O(shards × nodes²). The directory comes first in the result.
    public static func spread(
        shardCount: Int, replicas: Int, nodes: [TopologyNode]
    ) throws(PlacementError) -> [Placement] {
        guard replicas % 2 == 1, replicas >= 1, replicas <= Limits.maximumReplicas else {
            throw .evenReplicas(replicas)
        }
        guard replicas <= nodes.count else { throw .notEnoughNodes(replicas: replicas, nodes: nodes.count) }
        var held = [Int](repeating: 0, count: nodes.count)
        var led = [Int](repeating: 0, count: nodes.count)
        return (0...shardCount).map { shard in
            var chosen: [Int] = []
            // The directory's leader is placed last in the tie-break, so clearing leaders spread over all nodes alike.
            for position in 0..<replicas {
                let sameCity = { (i: Int) in chosen.filter { nodes[$0].city == nodes[i].city }.count }
                let sameCentre = { (i: Int) in
                    chosen.filter { nodes[$0].city == nodes[i].city && nodes[$0].dataCentre == nodes[i].dataCentre }
                        .count
                }
                let next = nodes.indices.filter { !chosen.contains($0) }.min { a, b in
                    let first = position == 0 && shard > 0
                    return (sameCity(a), sameCentre(a), first ? led[a] : 0, held[a], led[a], a)
                        < (sameCity(b), sameCentre(b), first ? led[b] : 0, held[b], led[b], b)
                }!
                chosen.append(next)
            }
            for index in chosen { held[index] += 1 }
            if shard > 0 { led[chosen[0]] += 1 }
            return Placement(shard: ShardID(UInt16(shard)), nodes: chosen.map { nodes[$0].id })
        }
    }
}
