import ClearingModel
import Client
import Histogram

/// Everything a load counts. Latencies are in microseconds, three significant digits, up to an hour.
struct LoadStatistics {
    var offered: UInt64 = 0
    var sent: UInt64 = 0
    var notSent: UInt64 = 0
    var late: UInt64 = 0
    var interrupted = false

    /// The measured time, in nanoseconds from the start.
    private var from: UInt64 = 0
    private var to: UInt64?
    private var accepted: UInt64 = 0
    private var declined: UInt64 = 0
    private var unknown: UInt64 = 0
    private var outcomes = [UInt64](repeating: 0, count: 256)
    private var refusals = [UInt64](repeating: 0, count: 256)
    private var conflicts: UInt64 = 0
    /// What was decided and accepted since the measured time began, and how much of it before it ended.
    private var flow = Flow()
    private var flowInTime = Flow()
    private var total = LoadStatistics.histogram()
    private var current = LoadStatistics.histogram()
    private var longestGap: UInt64 = 0
    /// Payments in flight in each shard, and when it last accepted one, or was given the first.
    private var inFlight: [Int]
    private var progress: [MonotonicTime]

    private var intervalStart = MonotonicTime(0)
    private var number = 0
    private var before = Totals()
    private var busyBefore: UInt64 = 0
    /// The generator's part of a second or so, whatever the interval.
    private var busyStart = MonotonicTime(0)
    private var busyStartCPU: UInt64 = 0
    private var mostBusy = 0.0
    private var ownCPU: UInt64 = 0
    private var processCPU: [UInt64] = []

    private struct Flow {
        var decided: UInt64 = 0
        var accepted: UInt64 = 0
    }

    private struct Totals {
        var offered: UInt64 = 0
        var sent: UInt64 = 0
        var notSent: UInt64 = 0
        var late: UInt64 = 0
        var accepted: UInt64 = 0
        var declined: UInt64 = 0
        var unknown: UInt64 = 0
    }

    private static func histogram() -> Histogram<UInt64> {
        Histogram(
            lowestDiscernibleValue: 1, highestTrackableValue: 3_600_000_000, numberOfSignificantValueDigits: .three)
    }

    init(shards: Int) {
        inFlight = [Int](repeating: 0, count: shards)
        progress = [MonotonicTime](repeating: MonotonicTime(0), count: shards)
    }

    /// Counts from here on; what came before is forgotten.
    mutating func begin(now: MonotonicTime, elapsed: UInt64, processes: [Int32]) {
        (offered, sent, notSent, late) = (0, 0, 0, 0)
        (accepted, declined, unknown, conflicts, longestGap) = (0, 0, 0, 0, 0)
        outcomes = [UInt64](repeating: 0, count: 256)
        refusals = outcomes
        (flow, before, mostBusy) = (Flow(), Totals(), 0)
        total.reset()
        current.reset()
        from = elapsed
        intervalStart = now
        busyBefore = Clocks.threadCPU()
        (busyStart, busyStartCPU) = (now, busyBefore)
        ownCPU = Clocks.processCPU()
        processCPU = processes.map { ProcessCPU.of($0)?.total ?? 0 }
    }

    /// Nothing new is offered from here on.
    mutating func planEnded(_ elapsed: UInt64, processes: [Int32]) {
        to = elapsed
        flowInTime = flow
        ownCPU = Clocks.processCPU() - ownCPU
        processCPU = zip(processes, processCPU).map { process, before in
            // A process that was killed or restarted meanwhile counts from its new start.
            guard let now = ProcessCPU.of(process)?.total else { return 0 }
            return now >= before ? now - before : now
        }
    }

    @inline(__always)
    mutating func sent(shard: Int, _ now: MonotonicTime) {
        if inFlight[shard] == 0 { progress[shard] = now }
        inFlight[shard] += 1
    }

    /// One payment ended that was due at `intended`; both times in nanoseconds from the start.
    @inline(__always)
    mutating func ended(_ result: RecordResult, shard: Int, _ now: MonotonicTime, intended: UInt64, elapsed: UInt64) {
        inFlight[shard] -= 1
        // What was due in the warm-up says nothing but that the cluster worked meanwhile.
        let counts = intended >= from
        switch result {
        case .decided(let decision):
            flow.decided += 1
            let isAccepted = decision.outcomeCode == Outcome.accepted.rawValue
            if isAccepted {
                flow.accepted += 1
                let gap = (now - progress[shard]).nanoseconds
                if gap > longestGap { longestGap = gap }
                progress[shard] = now
            }
            guard counts else { return }
            let latency = elapsed > intended ? elapsed - intended : 0
            current.record(min(latency / 1_000, 3_600_000_000))
            outcomes[Int(decision.outcomeCode)] += 1
            if isAccepted { accepted += 1 } else { declined += 1 }
        case .conflict where counts:
            conflicts += 1
            declined += 1
        case .refused(let code) where counts:
            refusals[Int(code.rawValue)] += 1
            declined += 1
        case .unknown where counts, .expired where counts: unknown += 1
        case .conflict, .refused, .unknown, .expired: break
        }
    }

    // MARK: - Reports

    /// Ends the current interval.
    mutating func interval(
        _ now: MonotonicTime, elapsed: UInt64, inFlight: Int, isWarmUp: Bool
    ) -> LoadInterval {
        number += 1
        var interval = LoadInterval()
        interval.number = number
        interval.end = Double(elapsed) / 1e9
        interval.seconds = max(Double((now - intervalStart).nanoseconds), 1) / 1e9
        interval.isWarmUp = isWarmUp
        intervalStart = now
        let cpu = Clocks.threadCPU()
        interval.generatorBusy = Double(cpu - busyBefore) / 1e9 / interval.seconds
        busyBefore = cpu
        // In a short interval a moment weighs too much.
        let busySpan = (now - busyStart).nanoseconds
        if busySpan > 500_000_000 {
            mostBusy = max(mostBusy, Double(cpu - busyStartCPU) / Double(busySpan))
            (busyStart, busyStartCPU) = (now, cpu)
        }
        let totals = Totals(
            offered: offered, sent: sent, notSent: notSent, late: late, accepted: flow.accepted, declined: declined,
            unknown: unknown)
        interval.offered = totals.offered - before.offered
        interval.sent = totals.sent - before.sent
        interval.accepted = totals.accepted - before.accepted
        interval.rejected = totals.declined - before.declined
        interval.unknown = totals.unknown - before.unknown
        interval.late = totals.late - before.late
        interval.notSent = totals.notSent - before.notSent
        interval.p50Ms = Self.milliseconds(current, 50)
        interval.p99Ms = Self.milliseconds(current, 99)
        interval.maxMs = current.totalCount == 0 ? 0 : Double(current.max) / 1_000
        interval.inFlight = inFlight
        before = totals
        total.add(current)
        current.reset()
        return interval
    }

    private static func milliseconds(_ histogram: Histogram<UInt64>, _ percentile: Double) -> Double {
        histogram.totalCount == 0 ? 0 : Double(histogram.valueAtPercentile(percentile)) / 1_000
    }

    /// The whole load; the current interval has been ended.
    func result(now: MonotonicTime) -> LoadResult {
        guard let to else { preconditionFailure("a plan ends before its result") }
        var result = LoadResult()
        result.seconds = max(Double(to - min(from, to)) / 1e9, 1e-3)
        result.offeredRate = Double(offered) / result.seconds
        (result.sent, result.notSent, result.late) = (sent, notSent, late)
        (result.accepted, result.unknown) = (accepted, unknown)
        (result.decidedInTime, result.acceptedInTime) = (flowInTime.decided, flowInTime.accepted)
        result.acceptedPerSecond = Double(flowInTime.accepted) / result.seconds
        result.rejected = rejections()
        result.p50Ms = Self.milliseconds(total, 50)
        result.p90Ms = Self.milliseconds(total, 90)
        result.p99Ms = Self.milliseconds(total, 99)
        result.p999Ms = Self.milliseconds(total, 99.9)
        result.p9999Ms = Self.milliseconds(total, 99.99)
        result.maxMs = total.totalCount == 0 ? 0 : Double(total.max) / 1_000
        // A shard that never answered again has a gap to the end.
        let open = inFlight.indices.filter { inFlight[$0] > 0 }.map { (now - progress[$0]).nanoseconds }
        result.longestGapMs = Double(max(longestGap, open.max() ?? 0)) / 1e6
        result.generatorBusy = mostBusy
        result.generatorLimited =
            Double(late) > Double(offered) * LoadConfiguration.lateLimit || mostBusy > LoadConfiguration.busyLimit
        result.ownCPUSeconds = Double(ownCPU) / 1e9
        result.processCPUSeconds = processCPU.map { Double($0) / 1e9 }
        let cpu = result.ownCPUSeconds + result.processCPUSeconds.reduce(0, +)
        result.cpuMicrosPerTransaction = flowInTime.decided == 0 ? 0 : cpu * 1e6 / Double(flowInTime.decided)
        result.interrupted = interrupted
        return result
    }

    private func rejections() -> [LoadResult.Rejection] {
        var all: [LoadResult.Rejection] = []
        for code in 0...UInt8.max where code != Outcome.accepted.rawValue && outcomes[Int(code)] > 0 {
            all.append(.init(reason: Outcome(rawValue: code)?.name ?? "other", count: outcomes[Int(code)]))
        }
        for code in 0...UInt8.max where refusals[Int(code)] > 0 {
            all.append(.init(reason: RefusalCode(rawValue: code)?.name ?? "other", count: refusals[Int(code)]))
        }
        if conflicts > 0 { all.append(.init(reason: "idConflict", count: conflicts)) }
        return all.sorted { $0.reason < $1.reason }
    }
}
