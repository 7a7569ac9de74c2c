import Bench
import CPlatform
import ClearingModel
import Glibc
import LocalCluster
import Synchronization
import Workload

/// One case: the load on a thread of its own, readings of all processes where the measurement begins and ends, and what
/// the case does to the cluster meanwhile.
final class BenchRun {
    let one: BenchCase
    let cluster: ScratchCluster
    let plan: BenchPlan
    private let seed: UInt64
    private let verbose: Bool
    var meter = ProcessMeter()
    private var machine = MachineTime()
    private var nextLook: UInt64 = 0
    var journal: String { "\(cluster.directory.root)/journal.jsonl" }

    /// What the load's event loop tells the main thread.
    final class Shared: Sendable {
        let phase = Mutex<LoadPhase?>(nil)
        let intervals = Mutex<[LoadInterval]>([])
        let accepted = Atomic<UInt64>(0)
        /// Ends the load: the case has seen what it wanted.
        let isDone = Atomic<Bool>(false)
        let watch = AcknowledgementWatch()
    }
    let shared = Shared()

    init(case one: BenchCase, cluster: ScratchCluster, plan: BenchPlan, seed: UInt64, verbose: Bool) {
        self.one = one
        self.cluster = cluster
        self.plan = plan
        self.seed = seed
        self.verbose = verbose
    }

    func run() throws -> CaseResult {
        try cluster.start()
        let configuration = try configuration()
        let load = BackgroundLoad(configuration)
        var (failover, marks): (FailoverFigures?, [LongMark]) = (nil, [])
        let result: LoadResult
        do {
            try reach(.measuring, load)
            try read { meter.begin($0, $1) }
            let before = Machine.time
            switch one.offer {
            case .kills: failover = try kill(load)
            case .payments: marks = try awaitMarks(load)
            default: break
            }
            try reach(.draining, load)
            machine = Machine.time - before
            try read { meter.end($0, $1) }
            result = try end(load)
        } catch {
            // The load ends before its cluster does: nothing is left that could still be running.
            shared.isDone.store(true, ordering: .relaxed)
            _ = try? end(load)
            throw Interrupts.count > 0 ? LaunchError.interrupted : error
        }
        if Interrupts.count > 0 { throw LaunchError.interrupted }
        var figures = CaseResult(name: one.name, load: result, processes: meter.uses, machine: machine)
        figures.failover = failover
        if case .step = one.offer {
            let step = configuration.plan.steps[0].seconds
            figures.step = StepFigures(shared.intervals.withLock { $0 }, at: step)
        }
        try stop(&figures)
        if case .payments = one.offer {
            figures.long = LongFigures(marks: marks, nodes: BenchSuite.nodes, restartSeconds: try restart(&figures))
        }
        figures.notes += plan.shortcomings(of: one) + remarks(figures)
        figures.audit = .init(try AuditSetup.run(cluster.directory, journal: journal) { _ in })
        if Interrupts.count > 0 { throw LaunchError.interrupted }
        return figures
    }

    private func configuration() throws -> LoadConfiguration {
        var configuration = try LoadSetup.configuration(
            cluster.directory, plan: .maximum(seconds: 1), asBureau: true)
        one.configure(&configuration, seconds: plan.seconds)
        configuration.seed = seed
        configuration.journalPath = journal
        configuration.watch = shared.watch
        let shared = shared
        configuration.phase = { phase in shared.phase.withLock { $0 = phase } }
        configuration.interval = { interval in
            shared.accepted.add(interval.accepted, ordering: .relaxed)
            shared.intervals.withLock { $0.append(interval) }
        }
        configuration.shouldStop = { Interrupts.count > 0 || shared.isDone.load(ordering: .relaxed) }
        if verbose { configuration.live = { Console.note("    \($0)") } }
        return configuration
    }

    // MARK: - Waiting

    /// Waits until the load has got there.
    private func reach(_ wanted: LoadPhase, _ load: BackgroundLoad) throws {
        while true {
            let phase = shared.phase.withLock { $0 }
            if phase == wanted || (phase == .draining && wanted == .measuring) { return }
            if let outcome = load.outcome {
                _ = try outcome.get()
                return
            }
            try supervise()
            Deadline.pause(milliseconds: 5)
        }
    }

    private func end(_ load: BackgroundLoad) throws -> LoadResult {
        while true {
            if let outcome = load.outcome { return try outcome.get() }
            Deadline.pause(milliseconds: 5)
        }
    }

    /// Ends every wait where somebody asked for it, or where a node is gone that nobody killed. Looks at processes a few
    /// times a second only: what this thread does counts as the load's.
    func supervise(except killed: NodeID? = nil) throws {
        if Interrupts.count > 0 { throw LaunchError.interrupted }
        let now = Deadline.now()
        guard now >= nextLook else { return }
        nextLook = now + 250_000_000
        for node in try cluster.directory.state().nodes where node.nodeID != killed {
            guard let process = node.process, !process.isAlive else { continue }
            throw LaunchError.failed(
                "node \(node.id) ended while '\(one.name)' ran; the end of \(cluster.directory.logFile(node.nodeID)):\n"
                    + cluster.directory.logTail(node.nodeID).map { "    \($0)" }.joined(separator: "\n"))
        }
    }

    // MARK: - Readings

    static func name(_ node: NodeID) -> String { "node-\(node)" }

    private func read(_ take: (String, ProcessUse) -> Void) throws {
        take("load", .own)
        for node in try cluster.directory.state().running { take(Self.name(node.nodeID), try reading(node)) }
    }

    /// What a node has used since it was started.
    func reading(_ node: ClusterState.Node) throws -> ProcessUse {
        let deadline = Deadline(seconds: 5)
        let use = try deadline.await(every: 5) { () -> ProcessUse? in
            if Interrupts.count > 0 { throw LaunchError.interrupted }
            return node.process.flatMap { ProcessUse.node(process: $0.pid, admin: node.admin) }
        }
        guard let use else { throw LaunchError.failed("node \(node.id) does not tell its metrics") }
        return use
    }

    // MARK: - The end

    /// Stops every node in order.
    private func stop(_ figures: inout CaseResult) throws {
        let killed = try cluster.launcher.drain { Interrupts.count > 0 }
        if Interrupts.count > 0 { throw LaunchError.interrupted }
        for node in killed { figures.failures.append("node \(node) did not stop in order and had to be killed") }
    }

    /// Starts the stopped cluster and stops it again; how long it took until every shard had a leader, in seconds.
    private func restart(_ figures: inout CaseResult) throws -> Double {
        var launcher = cluster.launcher
        // How long it takes is what is asked: there is no limit that says too long.
        launcher.startSeconds = 600
        let began = Deadline.now()
        try launcher.start(foreground: true)
        try launcher.awaitLeaders()
        let seconds = Double(Deadline.now() - began) / 1e9
        try stop(&figures)
        return seconds
    }

    private func remarks(_ figures: CaseResult) -> [String] {
        var texts: [String] = []
        let other = figures.share(figures.otherCPU)
        if other > 0.1 {
            texts.append(
                "\(Int(other * 100))% of all cores went to the kernel's own work and other processes: "
                    + "was the machine quiet?")
        }
        let stolen = figures.share(figures.machine.stolen)
        if stolen > 0.02 { texts.append("\(Int(stolen * 100))% of all cores went to other guests of the host") }
        for rejection in figures.load.rejected {
            texts.append("\(rejection.count) payments were refused: \(rejection.reason)")
        }
        if figures.load.unknown > 0 { texts.append("\(figures.load.unknown) payments have an unknown outcome") }
        // Where nodes are killed, connections break.
        if figures.failover == nil { texts += figures.load.troubles.suffix(3).map { "connection: \($0)" } }
        return texts
    }
}
