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
    private static let newWorkSeconds: UInt64 = 8

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

    /// Everything heals. Now and then a minority stays dead for ever: at once those that were harmed, or others as soon as those are
    /// whole, so that what was repaired has to carry the cluster.
    private func heal() {
        trace.add(.phase, at: now, node: 0, 0, "liveness phase")
        isHealing = true
        for number in healing.keys.sorted() { heal(number) }
        network.heal()
        kickWires()
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
        let areHarmedDead = faultRandom.oneIn(3)
        if areHarmedDead { for victim in victims { endForEver(machines[victim]) } }
        for machine in machines where !machine.isUp && !machine.isDeadForEver {
            queue.push(.start(node: machine.position, life: machine.life), at: now + 1_000)
        }
        for client in clients { client.workload.isSettling = true }
        office.isChanging = false
        office.restoreParticipants()
        guard takesUpWork(), !areHarmedDead, parameters.budget > 0, faultRandom.oneIn(3) else { return }
        trace.add(.phase, at: now, node: 0, 0, "others stay dead")
        var others = machines.indices.filter { !victims.contains($0) }
        for _ in 0..<parameters.budget {
            endForEver(machines[others.remove(at: Int(faultRandom.below(UInt64(others.count))))])
        }
        _ = takesUpWork()
    }

    private func endForEver(_ machine: Machine) {
        machine.isDeadForEver = true
        machine.rejoining = false
        crash(machine, power: true, downFor: nil)
    }

    /// New work comes for some seconds, then everything has to come to rest.
    private func takesUpWork() -> Bool {
        healingStart = now
        newWork = NewWork(shards: parameters.shards)
        let limit = now + Self.healingTime
        for client in clients where !client.isOperator {
            client.workload.surge = NewWork.surge(parameters, seconds: Self.newWorkSeconds)
            client.workload.isPaying = true
        }
        office.isRestoring = true
        _ = run(until: now + Self.newWorkSeconds * 1_000_000)
        for client in clients { client.workload.isPaying = false }
        office.isRestoring = false
        guard violation == nil else { return false }
        if !run(until: limit, { self.unfinished.isEmpty }), violation == nil {
            fail("Liveness", "within 60 s after healing everything works and is known (FAULTS, Liveness)", unfinished)
        }
        return violation == nil
    }
}
