import Audit
import ClearingModel
import Engine

/// What a run came to.
public struct SimulationResult: Sendable {
    public var violation: Violation?
    /// Of everything that went in and came out, in order.
    public var hash: UInt64
    /// Simulated time in microseconds, and events handled.
    public var simulated: UInt64
    public var steps: UInt64
    public var faultsStruck: Int
    public var coverage: Coverage
    public var verdict: Verdict
    /// The last events before the end.
    public var latest: [String]
    /// How often each rare place in the code was reached, and each kind of fault found something to break.
    public var sites: [(name: String, count: UInt64)]
    public var faults: [(name: String, count: UInt64)]
    /// Simulated microseconds from sending an instruction to its decision, ascending.
    public var latencies: [UInt64]
}

/// The course of a run: set up, break things, let them heal.
extension World {
    /// Longest time after healing until everything works again, in simulated microseconds.
    static let healingTime: UInt64 = 60_000_000
    private static let setUpTime: UInt64 = 20_000_000

    public func run() -> SimulationResult {
        let sitesBefore = Site.allCases.map(\.count)
        setUp()
        if violation == nil { breakThings() }
        if violation == nil, !parameters.isBeyondBudget { heal() }
        if violation == nil { checker.finished() }
        // They hold the world, which holds them.
        healing = [:]
        return SimulationResult(
            violation: violation, hash: trace.hash, simulated: now, steps: steps,
            faultsStruck: Int(struck.reduce(0, +)),
            coverage: checker.coverage, verdict: checker.verdict, latest: trace.latest,
            sites: zip(Site.allCases, sitesBefore).map { ($0.name, $0.count - $1) },
            faults: zip(FaultKind.allCases, struck).map { ($0.rawValue, $1) }, latencies: latencies.sorted())
    }

    /// Has `body` called with a line for everything that people may want to know while it happens.
    public func watch(_ body: @escaping (String) -> Void) { trace.watch = { body($0.line) } }

    private func setUp() {
        trace.add(.phase, at: now, node: 0, 0, "set up")
        for machine in machines { start(machine) }
        for client in clients { client.start(in: self) }
        queue.push(.operatorTick, at: now + 50_000)
        queue.push(.interval, at: now + 1_000_000)
        let ready = run(until: Self.setUpTime) { [self] in
            office.isLoaded
                && machines.allSatisfy { machine in
                    machine.engine!.groupStatuses().allSatisfy {
                        $0.part == .none
                            || $0.directoryVersion >= office.version
                                && ($0.shard.isDirectory || $0.openDays != nil)
                    }
                }
        }
        if !ready, violation == nil { fail("SetUp", "a cluster without faults takes up work within 20 s", unfinished) }
    }

    private func breakThings() {
        trace.add(.phase, at: now, node: 0, 0, "safety phase")
        safetyStart = now
        for client in clients where !client.isOperator { client.workload.isPaying = true }
        office.isChanging = true
        for fault in plan { queue.push(.fault(fault.number), at: safetyStart + fault.at) }
        _ = run(until: safetyStart + UInt64(parameters.seconds) * 1_000_000)
    }

    /// Everything heals but, now and then, a minority that stays dead for ever.
    private func heal() {
        trace.add(.phase, at: now, node: 0, 0, "liveness phase")
        isHealing = true
        healingStart = now
        for number in healing.keys.sorted() { heal(number) }
        network.heal()
        kickWires()
        office.isChanging = false
        for machine in machines {
            machine.pausedUntil = 0
            machine.diskStalledUntil = 0
            machine.wallOffset = 0
            machine.slowness = 1
            machine.crash = nil
            machine.disk.isFull = false
            machine.disk.failsNextSync = false
            machine.disk.failsNextWrite = false
            machine.disk.replaceUnreadable()
            scheduleTurn(machine)
        }
        for client in clients { client.workload.surge = 1 }
        if faultRandom.oneIn(3) {
            for victim in victims {
                machines[victim].isDeadForEver = true
                machines[victim].rejoining = false
                crash(machines[victim], power: true, downFor: nil)
            }
        }
        for machine in machines where !machine.isUp && !machine.isDeadForEver {
            queue.push(.start(node: machine.position, life: machine.life), at: now + 1_000)
        }
        for client in clients { client.workload.isSettling = true }
        // New work is accepted for some seconds, then everything comes to rest.
        let limit = now + Self.healingTime
        _ = run(until: now + 8_000_000)
        for client in clients { client.workload.isPaying = false }
        if violation == nil, !run(until: limit, { self.unfinished.isEmpty }) {
            if violation == nil {
                fail(
                    "Liveness", "within 60 s after healing everything works and is known (FAULTS, Liveness)", unfinished
                )
            }
        }
    }

    private func fence(of node: NodeID, _ shard: ShardID) -> UInt8 {
        guard let engine = machines[Int(node.rawValue) - 1].engine else { return 0 }
        let groups = (0..<engine.inspectedGroups).map { engine.inspectGroup($0) }
        return UInt8(groups.first { $0.shard == shard }?.raft.fence.rawValue ?? 0)
    }

    /// What is not yet as it shall be at rest, for people; empty when all is well.
    private var unfinished: String {
        var list: [String] = []
        let living = machines.filter { !$0.isDeadForEver }
        for machine in living {
            guard let engine = machine.engine, engine.isRunning else {
                list.append("node \(machine.node) does not run")
                continue
            }
            if machine.rejoining { list.append("node \(machine.node) is not taken in") }
        }
        for placement in topology.placements {
            let statuses = living.compactMap { machine in
                machine.engine?.groupStatuses().first { $0.shard == placement.shard && $0.part != .none }
                    .map { (node: machine.node, status: $0) }
            }
            if !statuses.contains(where: { $0.status.part == .leader }) {
                list.append("shard \(placement.shard) has no leader")
            }
            if Set(statuses.map(\.status.applied)).count > 1 {
                let replicas = statuses.map { node, status in
                    "node \(node) \(status.part) in term \(status.term) \(status.applied) of \(status.commit), "
                        + "fence \(fence(of: node, status.shard))"
                }
                list.append("shard \(placement.shard)'s replicas differ: " + replicas.joined(separator: ", "))
            }
        }
        for client in clients where !client.isOperator && !client.workload.isSettled {
            list.append("client \(client.number) waits: \(client.workload.waiting)")
        }
        if isHealing { list += newWork.missing }
        return list.joined(separator: "; ")
    }
}
