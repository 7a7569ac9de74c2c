import ClearingModel
import Engine
import Ledger
import LogFormat
import Simulation
import Wire

/// Engines on memory disks in one thread, every turn, write and answer of which a checker is told.
final class CheckedCluster {
    final class Machine {
        var replica: ReplicaID
        var disk = CheckedDisk()
        var engine: Engine?
        var links: [NodeID: ConnectionID] = [:]
        var clients: [ConnectionID: CheckedClient] = [:]
        var fatal: String?

        init(_ replica: ReplicaID) { self.replica = replica }
    }

    let topology: ClusterTopology
    let checker: Checker
    let machines: [Machine]
    var now = MonotonicTime(1_000_000_000)
    /// 2026-11-23 12:00 in the calendar's zone.
    var wall = WallTime(milliseconds: 1_795_406_400_000)
    var options = LedgerOptions()
    /// Nodes whose syncs the checker is not told of.
    var untoldSyncs: Set<NodeID> = []
    private var seed: UInt64

    init(nodes: Int = 3, shards: Int = 2, seed: UInt64 = 1, options: LedgerOptions = LedgerOptions()) throws {
        let list = (1...nodes).map { n in
            TopologyNode(
                id: NodeID(UInt32(n)), city: "city\(n)", dataCentre: "dc", address: "127.77.0.\(n)", port: 7400,
                adminPort: 7401)
        }
        topology = ClusterTopology(
            cluster: ClusterID(high: 7, low: seed), nodes: list,
            placements: try Placement.spread(shardCount: shards, replicas: min(nodes, 3), nodes: list),
            slots: SlotMap(shardCount: shards))
        checker = Checker(topology: topology, fingerprintMask: options.fingerprintMask)
        self.options = options
        self.seed = seed
        machines = list.map { Machine(ReplicaID(node: $0.id, incarnation: Incarnation(1))) }
        for machine in machines { start(machine) }
    }

    func start(_ machine: Machine) {
        seed += 1
        var log = NodeLog.Options()
        log.segmentBytes = 1 << 20
        let engine = Engine(
            configuration: EngineConfiguration(
                replica: machine.replica, topology: topology, seed: seed, logOptions: log, ledgerOptions: options),
            now: now, wall: wall)
        machine.engine = engine
        checker.started(machine.replica, engine: engine, disk: machine.disk)
        engine.start()
        settle()
    }

    func kill(_ machine: Machine, power: Bool = false) {
        machine.engine = nil
        checker.stopped(machine.replica.node)
        if power {
            machine.disk.losePower()
            checker.powerLost(machine.replica.node)
        }
        for other in machines where other !== machine {
            machine.links[other.replica.node] = nil
            if let id = other.links.removeValue(forKey: machine.replica.node) { other.engine?.closed(id, now: now) }
        }
        for client in machine.clients.values { client.link = nil }
        machine.clients = [:]
    }

    /// An empty disk under the same incarnation: the oldest image that there can be.
    func wipeFiles(_ machine: Machine) { machine.disk.empty() }

    func wipe(_ machine: Machine) {
        machine.disk = CheckedDisk()
        machine.replica.incarnation = Incarnation(machine.replica.incarnation.rawValue + 1)
    }

    func leader(of shard: ShardID) -> Machine? {
        machines.first { machine in
            machine.engine?.groupStatuses().contains { $0.shard == shard && $0.part == .leader } == true
        }
    }

    // MARK: Time

    func run(milliseconds: Int) {
        for _ in 0..<max(1, milliseconds / 5) {
            now = now + .milliseconds(5)
            wall = WallTime(wall.rawValue + 5_000)
            checker.now = now
            connectAll()
            for machine in machines {
                guard let engine = machine.engine else { continue }
                engine.tick(now: now, wall: wall)
            }
            settle()
        }
        checker.interval()
    }

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
                guard let ea = a.engine, let eb = b.engine, ea.isRunning, eb.isRunning,
                    a.links[b.replica.node] == nil
                else { continue }
                let (na, nb) = (a.replica.node, b.replica.node)
                a.links[nb] = ea.opened(authority: Authority(roles: [.node(nb)]), dialled: nil, now: now)
                b.links[na] = eb.opened(authority: Authority(roles: [.node(na)]), dialled: na, now: now)
            }
        }
    }

    /// Ends turns and carries out their effects until nothing moves.
    func settle() {
        var moved = true
        while moved {
            moved = false
            for machine in machines {
                guard let engine = machine.engine else { continue }
                engine.endOfTurn(now: now, wall: wall)
                checker.turned(machine.replica.node, engine: engine)
                let effects = engine.takeEffects()
                if !effects.isEmpty { moved = true }
                carryOut(effects, machine, engine)
            }
        }
    }

    private func carryOut(_ effects: EngineEffects, _ machine: Machine, _ engine: Engine) {
        if let fatal = effects.fatal {
            machine.fatal = fatal.text
            return kill(machine)
        }
        for operation in effects.disk {
            let completion = machine.disk.perform(operation)
            if case .sync = operation.kind, untoldSyncs.contains(machine.replica.node) {
                engine.completed(completion, now: now)
                continue
            }
            CheckedDisk.tell(operation.kind, of: machine.replica.node, checker)
            engine.completed(completion, now: now)
        }
        for id in effects.dirty { deliver(engine.takeOutput(id), from: id, machine) }
        for id in effects.close {
            machine.clients.removeValue(forKey: id)?.link = nil
            engine.closed(id, now: now)
        }
    }

    private func deliver(_ parts: [OutputQueue.Part], from id: ConnectionID, _ machine: Machine) {
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .bytes(let more): bytes += more
            case .slab(let slab): bytes += slab.bytes
            }
        }
        if let client = machine.clients[id] { return client.received(bytes) }
        guard let other = machines.first(where: { machine.links[$0.replica.node] == id }),
            let far = other.links[machine.replica.node]
        else { return }
        bytes.withUnsafeBytes { other.engine?.received($0, on: far, now: now) }
    }

    // MARK: Clients

    func connect(_ client: CheckedClient, to machine: Machine) {
        guard let engine = machine.engine else { return }
        let id = engine.opened(authority: client.authority, dialled: nil, now: now)
        machine.clients[id] = client
        client.link = (machine, id)
        var writer = WireWriter()
        Hello(cluster: topology.cluster, side: .client, name: "test").encode(request: 0, into: &writer)
        send(writer.bytes, from: client)
    }

    func send(_ bytes: [UInt8], from client: CheckedClient) {
        guard let (machine, id) = client.link else { return }
        bytes.withUnsafeBytes { machine.engine?.received($0, on: id, now: now) }
    }
}

/// One client connection and what came back over it.
final class CheckedClient {
    let authority: Authority
    var link: (machine: CheckedCluster.Machine, id: ConnectionID)?
    private var decoder = FrameDecoder()
    var decisions: [UInt64: Decision] = [:]
    var refused: Set<UInt64> = []

    init(_ roles: [Role]) { authority = Authority(roles: roles) }

    func received(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            _ = decoder.feed(raw) { header, body in
                switch header.type {
                case .submitReply, .queryReply:
                    if let reply = try? Decisions.decode(body) { decisions[header.request] = reply[0] }
                case .refusal: refused.insert(header.request)
                default: break
                }
            }
        }
    }
}
