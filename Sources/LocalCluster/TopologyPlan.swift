import ClearingModel

/// What a topology file says before the launcher has filled in what it leaves open: cluster id, addresses, ports,
/// placement and routing.
public struct TopologyPlan: Hashable, Sendable {
    public var cluster: ClusterID?
    /// Clearing shards, without the directory.
    public var shards: Int
    public var replicas: Int
    public var calendar: ClearingCalendar
    /// Ascending by id.
    public var nodes: [PlannedNode]
    /// The directory first, then shards in order; `nil` to spread over the sites.
    public var placements: [Placement]?
    /// Shard of each slot; `nil` to deal them evenly.
    public var slots: [ShardID]?
    /// Participants with a shard of their own choice.
    public var pins: [SlotMap.Pin]?

    public init(
        cluster: ClusterID? = nil, shards: Int, replicas: Int, calendar: ClearingCalendar = ClearingCalendar(),
        nodes: [PlannedNode], placements: [Placement]? = nil, slots: [ShardID]? = nil, pins: [SlotMap.Pin]? = nil
    ) {
        self.cluster = cluster
        self.shards = shards
        self.replicas = replicas
        self.calendar = calendar
        self.nodes = nodes
        self.placements = placements
        self.slots = slots
        self.pins = pins
    }

    /// Turns the plan into what nodes and clients read.
    ///
    /// - Parameters:
    ///   - cluster: id for a plan that has none.
    ///   - base: first port of a free block (`PortBlock`), for nodes that name none.
    ///   - largest: participants to pin apart where the plan has no pins, with their share of all debits.
    public func complete(
        cluster fallback: ClusterID, base: UInt16, largest: [(participant: ParticipantID, share: Double)] = []
    ) throws(PlacementError) -> ClusterTopology {
        let sites = self.sites
        var inSite: [Site: Int] = [:]
        let block = PortBlock(base: base, nodes: nodes.count)
        let complete = nodes.enumerated().map { index, node in
            let site = Site(city: node.city, dataCentre: node.dataCentre)
            inSite[site, default: 0] += 1
            let number = sites.firstIndex(of: site)! + 1
            return TopologyNode(
                id: node.id, city: node.city, dataCentre: node.dataCentre,
                address: node.address ?? "127.77.\(number).\(inSite[site]!)",
                port: node.port ?? block.port(index), adminPort: node.adminPort ?? block.adminPort(index))
        }
        var placements = self.placements ?? []
        if placements.isEmpty {
            placements = try Placement.spread(shardCount: shards, replicas: replicas, nodes: complete)
        }
        var map = SlotMap(shardCount: shards, largest: pins == nil ? largest : [])
        if slots != nil || pins != nil {
            guard let own = SlotMap(shards: slots ?? map.shards, pins: pins ?? map.pins, shardCount: shards) else {
                preconditionFailure("a plan's slots and pins are checked when it is read")
            }
            map = own
        }
        return ClusterTopology(
            cluster: cluster ?? fallback, nodes: complete, placements: placements, slots: map, calendar: calendar)
    }

    /// The data centres in order of their first node; site n of DESIGN's 127.77.n.x is the nth of them.
    public var sites: [Site] {
        var sites: [Site] = []
        for node in nodes where !sites.contains(Site(city: node.city, dataCentre: node.dataCentre)) {
            sites.append(Site(city: node.city, dataCentre: node.dataCentre))
        }
        return sites
    }
}

/// One node of a plan; what is `nil` is filled in by the launcher.
public struct PlannedNode: Hashable, Sendable {
    public var id: NodeID
    public var city: String
    public var dataCentre: String
    public var address: String?
    public var port: UInt16?
    public var adminPort: UInt16?

    public init(
        id: NodeID, city: String, dataCentre: String, address: String? = nil, port: UInt16? = nil,
        adminPort: UInt16? = nil
    ) {
        self.id = id
        self.city = city
        self.dataCentre = dataCentre
        self.address = address
        self.port = port
        self.adminPort = adminPort
    }
}

/// One data centre of one city.
public struct Site: Hashable, Sendable {
    public var city: String
    public var dataCentre: String
    public init(city: String, dataCentre: String) {
        self.city = city
        self.dataCentre = dataCentre
    }
}

/// The ports of a local cluster: `base + 1…` for TLS and, from the next multiple of ten, the same for admin, so that
/// node 3 has 7403 and 7413.
public struct PortBlock: Hashable, Sendable {
    public var base: UInt16
    public var nodes: Int
    public static let firstBase: UInt16 = 7400

    public init(base: UInt16, nodes: Int) {
        self.base = base
        self.nodes = nodes
    }
    private var width: Int { (nodes + 10) / 10 * 10 }
    /// Ports from `base` that the block covers.
    public var length: Int { 2 * width }
    public func port(_ index: Int) -> UInt16 { base + UInt16(index + 1) }
    public func adminPort(_ index: Int) -> UInt16 { base + UInt16(width + index + 1) }
}
