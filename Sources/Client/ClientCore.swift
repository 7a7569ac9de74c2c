import ClearingModel
import Wire

/// The participant's side of the cluster as a state machine without I/O.
///
/// ```
///   submit ──▶ route by id ──▶ lane (identity, shard) ──▶ connection to the shard's leader ──▶ output bytes
///                                ▲    window full,             │
///                                │    no leader, pause         ├─▶ reply ──▶ completions
///                                └──── refusal, loss, silence ─┘
///   tick ───▶ deadlines, suspicion, probes, reconnects
/// ```
///
/// Every record that `submit` takes ends exactly once, at its deadline at the latest. Requests are repeated with the
/// same ids until their outcome is known; the cluster answers a repeated id with the original outcome.
///
/// One owner, one thread. Methods append effects to a `ClientOutput`; bytes to send are fetched with `flush`. Nothing is
/// allocated per payment once buffers have grown to their working size; a flush hands its bytes over and makes new room.
public struct ClientCore {
    public let topology: ClusterTopology
    public let configuration: ClientConfiguration
    public let identityCount: Int

    var slab: PendingSlab
    var wheel: TimerWheel
    var routes: [Route]
    /// Lane of (identity, route): `identity * routes.count + route`.
    var lanes: [Lane]
    var connections: [Connection] = []
    /// Connections of (identity, node): `identity * nodes + node`.
    var bundles: [Range<Int>] = []
    /// By position in the topology.
    var nodes: [NodeSigns]
    /// Beside `connections`, so that appending bytes touches nothing else.
    var outputs: [WireWriter] = []
    var decoders: [FrameDecoder] = []
    var dirty: [ConnectionID] = []
    var fired: [Int32] = []
    /// Slot of the request that `submit(batch)` is filling for each route; `Pending.none` outside of it.
    var openBatch: [Int32]
    var touchedRoutes: [Int32] = []
    var random: SeededRandom
    /// Which of an identity's connections to a node is tried first.
    var rotation = 0
    /// Requests waiting in all lanes.
    var waitingTotal = 0

    /// - Parameter identities: certificates that the owner can connect with; connections are made for each.
    public init(
        topology: ClusterTopology, identities: Int = 1, configuration: ClientConfiguration = ClientConfiguration(),
        now: MonotonicTime
    ) {
        let width = configuration.connections ?? topology.nodes.count
        precondition(identities >= 1 && width >= topology.nodes.count, "an identity has a connection to every node")
        self.topology = topology
        self.configuration = configuration
        identityCount = identities
        slab = PendingSlab(capacity: configuration.maximumPending)
        wheel = TimerWheel(now: now)
        let position = { (id: NodeID) in topology.nodes.firstIndex { $0.id == id } }
        routes = topology.placements.map { Route(replicas: $0.nodes.compactMap(position)) }
        nodes = [NodeSigns](repeating: NodeSigns(), count: topology.nodes.count)
        routes += topology.nodes.indices.map { Route(replicas: [$0], isFixed: true) }
        lanes = [Lane](repeating: Lane(), count: identities * routes.count)
        openBatch = [Int32](repeating: Pending.none, count: routes.count)
        random = SeededRandom(seed: configuration.seed)
        for identity in 0..<identities {
            for node in topology.nodes.indices {
                let first = connections.count
                for _ in stride(from: node, to: width, by: topology.nodes.count) {
                    connections.append(Connection(identity: identity, node: node))
                }
                bundles.append(first..<connections.count)
            }
        }
        outputs = [WireWriter](repeating: WireWriter(), count: connections.count)
        decoders = [FrameDecoder](repeating: FrameDecoder(), count: connections.count)
    }

    // MARK: - What the owner may ask

    /// Requests that have not ended.
    public var pendingRequests: Int { slab.used }
    /// Requests that could not be sent yet.
    public var waitingRequests: Int { waitingTotal }
    /// Whether a further request can be taken.
    public var hasRoom: Bool { slab.used < slab.capacity }
    public var connectionCount: Int { connections.count }

    /// The certificate to connect with.
    public func identity(of connection: ConnectionID) -> Int { connections[Int(connection.rawValue)].identity }
    /// The node to connect to.
    public func node(of connection: ConnectionID) -> TopologyNode {
        topology.nodes[connections[Int(connection.rawValue)].node]
    }
    /// Connections that requests can go out on.
    public var readyConnections: Int { connections.reduce(0) { $0 + ($1.phase == .ready ? 1 : 0) } }

    /// The leader of a group as this client believes.
    public func leader(of shard: ShardID) -> NodeID? {
        let leader = routes[Int(shard.rawValue)].leader
        return leader == Route.unknown ? nil : topology.nodes[leader].id
    }

    /// Opens connections before the first request needs them.
    public mutating func start(now: MonotonicTime, _ out: inout ClientOutput) {
        for index in connections.indices { want(index, now, &out) }
    }

    // MARK: - Bytes to send

    /// Hands over what waits to be sent, connection by connection, each as one array that is the caller's from then on.
    public mutating func flush(_ body: (ConnectionID, [UInt8]) -> Void) {
        for connection in dirty {
            let index = Int(connection.rawValue)
            connections[index].isDirty = false
            let count = outputs[index].count
            guard count > 0 else { continue }
            // The next flush is likely to be as large as this one.
            var bytes = WireWriter(reserving: count + count / 4)
            swap(&bytes, &outputs[index])
            body(connection, bytes.bytes)
        }
        dirty.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    mutating func markDirty(_ index: Int) {
        if !connections[index].isDirty {
            connections[index].isDirty = true
            dirty.append(ConnectionID(UInt32(index)))
        }
    }

    @inline(__always)
    func laneIndex(_ identity: Int32, _ route: Int32) -> Int { Int(identity) * routes.count + Int(route) }
}
