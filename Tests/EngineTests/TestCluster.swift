import ClearingModel
import Engine
import LogFormat
import Wire

/// Engines on memory disks, joined by byte pipes, in one thread and on a clock that the test moves.
final class TestCluster {
    final class Machine {
        fileprivate(set) var replica: ReplicaID
        var disk = MemoryDisk()
        var engine: Engine?
        /// Links by the other node, as connection ids of this engine.
        var links: [NodeID: ConnectionID] = [:]
        /// Clients by connection.
        var clients: [ConnectionID: TestClient] = [:]
        /// While set, disk operations wait: a slow disk.
        var holdsDisk = false
        var heldOperations: [DiskOperation] = []
        var log: [EngineLog] = []
        var fatal: EngineFailure?
        /// How far this node's wall clock is ahead of the true time.
        var daysAhead: UInt64 = 0

        /// The disk stands still this many operations after it began to write a snapshot of shard 1, or its header.
        var stopsAfter: (header: Bool, operations: Int)?
        private var sawSnapshot = false

        init(_ replica: ReplicaID) { self.replica = replica }

        func has(_ event: String) -> Bool { log.contains { $0.event == event } }

        /// Whether the next operation is one too many.
        fileprivate func stops(before operation: DiskOperation) -> Bool {
            guard let (header, left) = stopsAfter else { return false }
            switch operation.kind {
            case .open(.snapshotIncoming(ShardID(1), _), _) where !header: sawSnapshot = true
            case .write(.snapshotIncoming(ShardID(1), _), offset: 0, _): sawSnapshot = true
            default: break
            }
            guard sawSnapshot else { return false }
            if left == 0 { return true }
            stopsAfter = (header, left - 1)
            return false
        }
    }

    let topology: ClusterTopology
    private(set) var machines: [Machine]
    private(set) var now = MonotonicTime(1_000_000_000)
    /// 2026-11-23 12:00 in the calendar's zone.
    private(set) var wall = WallTime(milliseconds: 1_795_406_400_000)
    private var seed: UInt64
    /// Pairs of nodes that cannot reach each other.
    var cut: Set<[NodeID]> = []
    /// Breaks the connection to a node once that many bytes have come to it since a peer began to send it a snapshot.
    var breaks: (to: NodeID, after: Int)?
    /// Changes the configuration of every engine before it starts.
    var configure: (inout EngineConfiguration) -> Void

    init(
        nodes: Int = 3, shards: Int = 2, replicas: Int = 3, seed: UInt64 = 1,
        configure: @escaping (inout EngineConfiguration) -> Void = { _ in }
    ) throws {
        self.configure = configure
        let list = (1...nodes).map { n in
            TopologyNode(
                id: NodeID(UInt32(n)), city: "city\(n % 3)", dataCentre: "dc", address: "127.77.0.\(n)", port: 7400,
                adminPort: 7401)
        }
        topology = ClusterTopology(
            cluster: ClusterID(high: 7, low: seed), nodes: list,
            placements: try Placement.spread(shardCount: shards, replicas: replicas, nodes: list),
            slots: SlotMap(shardCount: shards))
        self.seed = seed
        machines = list.map { Machine(ReplicaID(node: $0.id, incarnation: Incarnation(1))) }
        for machine in machines { start(machine.replica.node) }
    }

    func machine(_ node: NodeID) -> Machine { machines[Int(node.rawValue) - 1] }

    // MARK: Faults

    func start(_ node: NodeID) {
        let machine = machine(node)
        seed += 1
        var options = NodeLog.Options()
        options.segmentBytes = 1 << 20
        var configuration = EngineConfiguration(
            replica: machine.replica, topology: topology, seed: seed, logOptions: options)
        configure(&configuration)
        let engine = Engine(configuration: configuration, now: now, wall: wall(of: machine))
        machine.engine = engine
        engine.start()
        settle()
    }

    /// kill -9: the process is gone, its sockets end without a goodbye, unsynced bytes survive in the page cache.
    func kill(_ node: NodeID, power: Bool = false) {
        let machine = machine(node)
        machine.engine = nil
        if power { machine.disk.losePower() }
        machine.heldOperations = []
        for (other, _) in machine.links { unlink(node, other) }
        for client in machine.clients.values { client.connection = nil }
        machine.clients = [:]
    }

    /// An empty disk, and the incarnation that such a one comes back with.
    func wipe(_ node: NodeID) {
        precondition(machine(node).engine == nil, "kill it first")
        machine(node).disk = MemoryDisk()
        machine(node).replica.incarnation = Incarnation(machine(node).replica.incarnation.rawValue + 1)
    }

    private func unlink(_ a: NodeID, _ b: NodeID) {
        for (from, to) in [(a, b), (b, a)] {
            if let id = machine(from).links.removeValue(forKey: to) { machine(from).engine?.closed(id, now: now) }
        }
    }

    // MARK: Time

    /// Lets time pass in steps of 5 ms.
    func run(milliseconds: Int) {
        for _ in 0..<max(1, milliseconds / 5) {
            now = now + .milliseconds(5)
            wall = WallTime(wall.rawValue + 5_000)
            connectAll()
            for machine in machines { machine.engine?.tick(now: now, wall: wall(of: machine)) }
            settle()
        }
    }

    private static let dayMicros: UInt64 = 86_400_000_000

    /// The wall clock of every node moves on at once.
    func jump(days: Int) { wall = WallTime(wall.rawValue + UInt64(days) * Self.dayMicros) }

    private func wall(of machine: Machine) -> WallTime {
        WallTime(wall.rawValue + machine.daysAhead * Self.dayMicros)
    }

    /// Runs until `condition` holds; false if it does not within `milliseconds` of simulated time.
    func reaches(_ condition: @autoclosure () -> Bool, within milliseconds: Int = 5_000) -> Bool {
        for _ in 0..<milliseconds / 5 {
            if condition() { return true }
            run(milliseconds: 5)
        }
        return condition()
    }

    private func connectAll() {
        for a in machines {
            for b in machines where a.replica.node < b.replica.node {
                guard let ea = a.engine, let eb = b.engine, ea.isRunning, eb.isRunning else { continue }
                let (na, nb) = (a.replica.node, b.replica.node)
                guard !cut.contains([na, nb]) else {
                    unlink(na, nb)
                    continue
                }
                guard a.links[nb] == nil else { continue }
                a.links[nb] = ea.opened(authority: Authority(roles: [.node(nb)]), dialled: nil, now: now)
                b.links[na] = eb.opened(authority: Authority(roles: [.node(na)]), dialled: na, now: now)
            }
        }
    }

    /// Ends turns and carries out effects until nothing moves any more.
    func settle() {
        var moved = true
        while moved {
            moved = false
            for machine in machines {
                guard let engine = machine.engine else { continue }
                engine.endOfTurn(now: now, wall: wall(of: machine))
                let effects = engine.takeEffects()
                if !effects.isEmpty { moved = true }
                carryOut(effects, of: machine, engine)
            }
        }
    }

    private func carryOut(_ effects: EngineEffects, of machine: Machine, _ engine: Engine) {
        machine.log += effects.log
        if let fatal = effects.fatal {
            // The process ends: whatever else it wanted is not done.
            machine.fatal = fatal
            return kill(machine.replica.node)
        }
        machine.heldOperations += effects.disk
        if !machine.holdsDisk { releaseDisk(machine) }
        for id in effects.dirty { deliver(engine.takeOutput(id), from: id, of: machine) }
        for id in effects.close {
            if let (other, _) = machine.links.first(where: { $0.value == id }) {
                unlink(machine.replica.node, other)
            } else {
                machine.clients.removeValue(forKey: id)?.connection = nil
                engine.closed(id, now: now)
            }
        }
    }

    func releaseDisk(_ machine: Machine) {
        let operations = machine.heldOperations
        machine.heldOperations = []
        for (position, operation) in operations.enumerated() {
            if machine.stops(before: operation) {
                machine.holdsDisk = true
                machine.heldOperations = Array(operations[position...])
                return
            }
            machine.engine?.completed(machine.disk.perform(operation), now: now)
        }
    }

    private func deliver(_ parts: [OutputQueue.Part], from id: ConnectionID, of machine: Machine) {
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .bytes(let more): bytes += more
            case .slab(let slab): bytes += slab.bytes
            }
        }
        if let client = machine.clients[id] { return client.received(bytes) }
        guard let (other, _) = machine.links.first(where: { $0.value == id }),
            let far = self.machine(other).links[machine.replica.node]
        else { return }
        if let link = breaks, link.to == other, machine.has("snapshot begins") {
            breaks = bytes.count < link.after ? (other, link.after - bytes.count) : nil
            if breaks == nil {
                bytes.removeLast(bytes.count - link.after)
                bytes.withUnsafeBytes { self.machine(other).engine?.received($0, on: far, now: now) }
                return unlink(machine.replica.node, other)
            }
        }
        bytes.withUnsafeBytes { self.machine(other).engine?.received($0, on: far, now: now) }
    }

    // MARK: Clients

    func connect(_ client: TestClient, to node: NodeID) {
        guard let engine = machine(node).engine else { return }
        let id = engine.opened(authority: client.authority, dialled: nil, now: now)
        machine(node).clients[id] = client
        client.connection = (node, id)
        var writer = WireWriter()
        Hello(cluster: topology.cluster, side: .client, name: "test").encode(request: 0, into: &writer)
        send(writer.bytes, from: client)
    }

    func send(_ bytes: [UInt8], from client: TestClient) {
        guard let (node, id) = client.connection else { return }
        bytes.withUnsafeBytes { machine(node).engine?.received($0, on: id, now: now) }
    }

    /// The node that leads a group and says so, if there is one.
    func leader(of shard: ShardID) -> NodeID? {
        machines.first { machine in
            machine.engine?.groupStatuses().contains { $0.shard == shard && $0.part == .leader } == true
        }?.replica.node
    }
}

/// One client connection and everything that came back over it.
final class TestClient {
    let authority: Authority
    var connection: (node: NodeID, id: ConnectionID)?
    private var decoder = FrameDecoder()
    var decisions: [UInt64: [Decision]] = [:]
    var refusals: [UInt64: Refusal] = [:]
    var frames: [(FrameHeader, [UInt8])] = []

    init(_ roles: [Role]) { authority = Authority(roles: roles) }

    func received(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            _ = decoder.feed(raw) { header, body in
                frames.append((header, Array(body)))
                switch header.type {
                case .submitReply, .queryReply:
                    guard let reply = try? Decisions.decode(body) else { return }
                    decisions[header.request] = (0..<reply.count).map { reply[$0] }
                case .refusal:
                    refusals[header.request] = try? Refusal.decode(body)
                default: break
                }
            }
        }
    }
}
