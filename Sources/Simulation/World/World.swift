import Audit
import ClearingModel
import Engine
import LogFormat
import Wire

/// A whole cluster with its clients, network, disks and clocks, in one thread and on simulated time, everything drawn from
/// one seed.
///
/// ```
///   plan of faults ──┐
///                    ▼
///   events by time ──▶ World ──▶ Engine of each node ──▶ effects ──▶ simulated disks, wires ──▶ events
///                        │            │
///                        │            └──▶ Checker: every invariant of FAULTS.md after every turn
///                        └──▶ ClientCore of each client ──▶ what it was told ──▶ Checker: the client's view
/// ```
/// Nothing here knows the time of the machine it runs on, iterates over a set or a dictionary, or asks for randomness that
/// is not the seed's: the same seed gives the same run, byte for byte.
public final class World {
    public let parameters: WorldParameters
    public let topology: ClusterTopology
    public let plan: [PlannedFault]
    /// Numbers of planned faults that this run leaves out (`--shrink`).
    let omitted: [Int]
    let checker: Checker

    @exclusivity(unchecked) var queue = EventQueue()
    /// Simulated microseconds since the world began.
    @exclusivity(unchecked) public internal(set) var now: UInt64 = 0
    @exclusivity(unchecked) public internal(set) var steps: UInt64 = 0
    @exclusivity(unchecked) var trace = Trace()
    @exclusivity(unchecked) var machines: [Machine]
    @exclusivity(unchecked) var network: SimulatedNetwork
    @exclusivity(unchecked) var wires: [SimulatedWire?] = []
    @exclusivity(unchecked) var links: [PeerLink] = []
    @exclusivity(unchecked) var clients: [SimulatedClient] = []
    @exclusivity(unchecked) var office: SimulatedOperator
    /// Each kind of chance has its own source, so that leaving out a fault changes little else.
    @exclusivity(unchecked) var networkRandom: SeededRandom
    @exclusivity(unchecked) var diskRandom: SeededRandom
    @exclusivity(unchecked) var faultRandom: SeededRandom
    /// The wall clock of a node that is right, at the start.
    @exclusivity(unchecked) var wallStart: WallTime
    /// Nodes whose disks may be damaged or wiped; others only once nothing is wrong with any of these.
    var victims: [Int] = []
    /// Simulated microseconds from sending an instruction to its decision, in order of decisions.
    @exclusivity(unchecked) var latencies: [UInt64] = []
    /// When the safety phase began.
    var safetyStart: UInt64 = 0
    /// By kind, faults that found something to break; a fault that met nothing proves nothing.
    var struck = [UInt64](repeating: 0, count: FaultKind.allCases.count)
    /// Ends of faults that heal later, by their number.
    @exclusivity(unchecked) var healing: [Int: () -> Void] = [:]
    /// The liveness phase has begun.
    @exclusivity(unchecked) var isHealing = false
    /// When it began.
    @exclusivity(unchecked) var healingStart = UInt64.max
    @exclusivity(unchecked) var newWork: NewWork
    @exclusivity(unchecked) var found: Violation?
    /// Called with everything that a client was told.
    public var heard: ((Heard) -> Void)?

    /// - Parameters:
    ///   - plan: the faults of a scenario, numbered in order of time; by default those that the parameters draw.
    ///   - omitted: numbers of faults to leave out.
    public init(parameters: WorldParameters, plan: [PlannedFault]? = nil, omitting omitted: [Int] = []) {
        self.parameters = parameters
        self.omitted = omitted
        self.plan = plan ?? parameters.plan()
        newWork = NewWork(shards: parameters.shards)
        let seed = parameters.seed
        networkRandom = SeededRandom(seed: seed ^ 0x0E7)
        diskRandom = SeededRandom(seed: seed ^ 0xD15C)
        faultRandom = SeededRandom(seed: seed ^ 0xFA17)
        var random = SeededRandom(seed: seed ^ 0x3A9E)
        let nodes = (1...parameters.nodes).map { n in
            TopologyNode(
                id: NodeID(UInt32(n)), city: "city-\(n % 3)", dataCentre: "dc-\(n % 6)", address: "127.77.0.\(n)",
                port: 7_400, adminPort: 7_401)
        }
        do throws(PlacementError) {
            topology = ClusterTopology(
                cluster: ClusterID(high: 0x5155_414E_5041_4E00, low: seed), nodes: nodes,
                placements: try Placement.spread(
                    shardCount: parameters.shards, replicas: parameters.replicas, nodes: nodes),
                slots: SlotMap(shardCount: parameters.shards))
        } catch {
            preconditionFailure("\(error)")
        }
        checker = Checker(topology: topology, fingerprintMask: parameters.fingerprintMask)
        let offset = Int(topology.calendar.zoneOffsetMinutes)
        let start = BusinessDay(rawValue: 20_780).start(offsetMinutes: offset)
        wallStart = WallTime(start.rawValue + parameters.startMinute * 60_000_000 + 30_000_000)
        machines = (0..<parameters.nodes).map {
            Machine(position: $0, monotonicBase: 1_000_000_000 + random.below(1 << 40))
        }
        network = SimulatedNetwork(nodes: parameters.nodes, clients: parameters.clients + 1)
        office = SimulatedOperator(parameters: parameters, seed: random.next())
        for second in 0..<parameters.nodes {
            for first in 0..<second { links.append(PeerLink(first: first, second: second)) }
        }
        victims = Self.victims(parameters, &random)
        let recent = RecentPayments()
        for number in 0...parameters.clients {
            clients.append(
                SimulatedClient(
                    number: number, world: self, recent: recent, seed: random.next(),
                    isOperator: number == parameters.clients))
        }
    }

    /// Nodes, by position, whose disks may be harmed at one time: a minority of every shard's, unless the world goes beyond the budget.
    static func victims(_ parameters: WorldParameters, _ random: inout SeededRandom) -> [Int] {
        var left = Array(0..<parameters.nodes)
        return (0..<(parameters.isBeyondBudget ? parameters.nodes : parameters.budget)).map { _ in
            left.remove(at: Int(random.below(UInt64(left.count))))
        }
    }

    /// The first violation, of an invariant or of what the world itself expects.
    public var violation: Violation? { found ?? checker.violation }

    func fail(_ invariant: String, _ rule: String, _ details: String) {
        if found == nil {
            found = Violation(
                invariant: invariant, rule: rule, details: details, at: MonotonicTime(rawValue: now * 1_000))
        }
    }

    /// Counters of a node's process, by position; `nil` while none runs.
    public func metrics(of node: Int) -> EngineMetrics? { machines[node].engine?.metrics }

    func strikes(_ kind: FaultKind) { struck[FaultKind.allCases.firstIndex(of: kind)!] += 1 }
    func timesStruck(_ kind: FaultKind) -> UInt64 { struck[FaultKind.allCases.firstIndex(of: kind)!] }

    // MARK: Clocks

    func monotonic(_ machine: Machine) -> MonotonicTime { machine.monotonic(now) }

    func wall(_ machine: Machine) -> WallTime {
        WallTime(rawValue: UInt64(Int64(wallStart.rawValue + now) + machine.wallOffset))
    }

    /// The time of a clock that is right.
    var wallNow: WallTime { WallTime(rawValue: wallStart.rawValue + now) }
    var day: BusinessDay { BusinessDay(at: wallNow, offsetMinutes: Int(topology.calendar.zoneOffsetMinutes)) }

    // MARK: Steps

    /// Handles events until `condition` holds, asked every few milliseconds, or `limit` is reached.
    /// - Returns: whether the condition held.
    func run(until limit: UInt64, _ condition: () -> Bool = { false }) -> Bool {
        var asked = now
        while found == nil, checker.violation == nil {
            guard let time = queue.nextTime, time <= limit else {
                now = max(now, limit)
                return condition()
            }
            step()
            if now >= asked + 5_000 {
                asked = now
                if condition() { return true }
            }
        }
        return false
    }

    private func step() {
        guard let (time, event) = queue.pop() else { return }
        now = time
        steps += 1
        checker.now = MonotonicTime(rawValue: now * 1_000)
        handle(event)
    }

    private func handle(_ event: Event) {
        switch event {
        case .turn(let node, let life): turn(machines[node], life)
        case .tick(let node, let life): tick(machines[node], life)
        case .disk(let node, let life, let lane): diskDone(machines[node], life, lane)
        case .arrival(let wire, let toSecond): arrived(wire, toSecond: toSecond)
        case .dial(let link): dial(link)
        case .established(let link, let attempt): established(link, attempt)
        case .clientDial(let client, let connection, let attempt):
            clients[client].dialled(connection, attempt, in: self)
        case .clientTick(let client): clients[client].tick(in: self)
        case .clientTurn(let client): clients[client].turn(in: self)
        case .operatorTick: operatorTick()
        case .fault(let number): begin(plan[number])
        case .heal(let number): heal(number)
        case .start(let node, let life):
            // A start may have been due when the node was given up for good.
            if machines[node].life == life, !machines[node].isUp, !machines[node].isDeadForEver {
                start(machines[node])
            }
        case .drained(let node, let life): drained(machines[node], life)
        case .interval:
            checker.interval()
            for machine in machines where machine.isDamaged { machine.isDamaged = checker.isHarmed(machine.node) }
            queue.push(.interval, at: now + 1_000_000)
        }
    }
}
