import Audit
import Workload

/// What one case came to.
public struct CaseResult: Sendable {
    public var name: String
    public var load: LoadResult
    /// Load and nodes in the measured time, by name.
    public var processes: [ProcessFigures]
    public var machine: MachineTime
    public var audit: AuditFigures?
    public var step: StepFigures?
    public var failover: FailoverFigures?
    public var long: LongFigures?
    /// What to know about the figures.
    public var notes: [String] = []
    /// Why the case counts as failed, besides its audit.
    public var failures: [String] = []

    public init(name: String, load: LoadResult, processes: [ProcessFigures], machine: MachineTime) {
        self.name = name
        self.load = load
        self.processes = processes
        self.machine = machine
        // All processes, one that was killed included: the load knows only those that it was given.
        let total = processes.reduce(0) { $0 + $1.use.cpu.total }
        self.load.cpuMicrosPerTransaction = perPayment(total, in: 1_000)
    }

    /// The audit of a case's logs against its journal.
    public struct AuditFigures: Sendable {
        public var verdict: AuditVerdict
        public var payments: UInt64
        public var acknowledged: UInt64
        public var missing: UInt64
        public var doubled: UInt64
        public var problems: [String]

        public init(_ report: AuditReport) {
            verdict = report.verdict
            payments = report.payments
            acknowledged = report.acknowledged
            missing = report.missing
            doubled = report.doubled
            problems = report.problems + report.unchecked
        }

        public init(
            verdict: AuditVerdict, payments: UInt64 = 0, acknowledged: UInt64 = 0, missing: UInt64 = 0,
            doubled: UInt64 = 0, problems: [String] = []
        ) {
            self.verdict = verdict
            self.payments = payments
            self.acknowledged = acknowledged
            self.missing = missing
            self.doubled = doubled
            self.problems = problems
        }
    }

    // MARK: - Figures

    /// A sum per payment that was decided in the measured time.
    public func perPayment(_ sum: UInt64, in unit: Double = 1) -> Double {
        load.decidedInTime == 0 ? 0 : Double(sum) / unit / Double(load.decidedInTime)
    }

    public var nodes: [ProcessFigures] { processes.filter(\.isNode) }

    /// A figure of all nodes together.
    public func ofNodes(_ figure: (ProcessUse) -> UInt64) -> UInt64 { nodes.reduce(0) { $0 + figure($1.use) } }

    /// CPU time that none of the case's processes used: the kernel's own work, and whatever else ran.
    public var otherCPU: UInt64 {
        let own = processes.reduce(0) { $0 + $1.use.cpu.total }
        return machine.busy > own ? machine.busy - own : 0
    }

    /// Part of all cores' time.
    public func share(_ time: UInt64) -> Double { machine.total == 0 ? 0 : Double(time) / Double(machine.total) }

    // MARK: - Verdict

    public enum Verdict: String, Sendable {
        case valid
        /// The generator was the limit: the figures say nothing about the cluster.
        case void
        /// The audit could not look at everything.
        case unknown
        /// The audit found something, or the case did not do what it is for.
        case failed
    }

    /// Whether the generator was the limit.
    public var isVoid: Bool { load.generatorLimited }

    /// How it was; empty where it was not.
    var voidReason: [String] {
        guard isVoid else { return [] }
        let late = load.sent == 0 ? 0 : Double(load.late) / Double(load.sent) * 100
        return [
            "void: \(Figure.text(late))% of the payments left 10 ms or more after they were due, and the generator was "
                + "busy up to \(Int(load.generatorBusy * 100))% of a second"
        ]
    }

    public var verdict: Verdict {
        if audit?.verdict == .invalid || !failures.isEmpty || load.acceptedInTime == 0 { return .failed }
        if audit?.verdict != .valid { return .unknown }
        return isVoid ? .void : .valid
    }

    /// The exit code of cases that ran: the worst of them counts.
    public static func exitCode(_ results: [CaseResult]) -> Int32 {
        let codes: [(Verdict, Int32)] = [(.failed, 1), (.unknown, 2), (.void, 3)]
        for (verdict, code) in codes where results.contains(where: { $0.verdict == verdict }) { return code }
        return 0
    }
}

/// How a step was taken.
public struct StepFigures: Hashable, Sendable {
    /// From the step until p99 is under `goodMs` and stays there for a second; `nil` if it never is.
    public var recoverySeconds: Double?
    /// Worst p99 of a tenth of a second from the step on.
    public var worstP99Ms = 0.0
    /// Most payments in flight from the step on.
    public var backlog = 0

    public static let goodMs = 20.0

    /// - Parameters:
    ///   - intervals: of the whole load, in order.
    ///   - at: seconds from the start of the load to the step.
    public init(_ intervals: [LoadInterval], at step: Double) {
        let after = intervals.filter { $0.end > step }
        worstP99Ms = after.map(\.p99Ms).max() ?? 0
        backlog = after.map(\.inFlight).max() ?? 0
        // The first interval that begins a good second.
        var begin: Double?
        for interval in after {
            if interval.p99Ms >= Self.goodMs || interval.accepted == 0 {
                begin = nil
            } else {
                let start = begin ?? max(interval.end - interval.seconds, step)
                begin = start
                if interval.end - start >= 0.999 {
                    recoverySeconds = start - step
                    return
                }
            }
        }
    }
}

/// What kills of leaders cost.
public struct FailoverFigures: Hashable, Sendable {
    /// A shard that a killed node led.
    public struct Pause: Hashable, Sendable {
        public var kill: Int
        public var node: UInt32
        public var shard: UInt16
        /// From the kill to the client's first acceptance by the next leader; `nil` if there was none.
        public var milliseconds: Double?
        public init(kill: Int, node: UInt32, shard: UInt16, milliseconds: Double?) {
            self.kill = kill
            self.node = node
            self.shard = shard
            self.milliseconds = milliseconds
        }
    }

    public var kills: Int
    public var pauses: [Pause]
    public init(kills: Int, pauses: [Pause]) {
        self.kills = kills
        self.pauses = pauses
    }

    private var sorted: [Double] { pauses.compactMap(\.milliseconds).sorted() }
    public var medianMs: Double? {
        let values = sorted
        guard !values.isEmpty else { return nil }
        let middle = values.count / 2
        return values.count % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2
    }
    public var maximumMs: Double? { sorted.last }
    /// Shards that never answered again.
    public var unanswered: Int { pauses.filter { $0.milliseconds == nil }.count }
}
