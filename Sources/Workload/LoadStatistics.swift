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
    /// Nanoseconds from the start to the last answer.
    var lastEnd: UInt64 = 0

    private var planNanoseconds: UInt64 = 0
    private var accepted: UInt64 = 0
    private var declined: UInt64 = 0
    private var unknown: UInt64 = 0
    private var outcomes = [UInt64](repeating: 0, count: 256)
    private var refusals = [UInt64](repeating: 0, count: 256)
    private var conflicts: UInt64 = 0
    private var total = LoadStatistics.histogram()
    private var interval = LoadStatistics.histogram()
    private var longestGap: UInt64 = 0
    /// Payments in flight in each shard, and when it last accepted one, or was given the first.
    private var inFlight: [Int]
    private var progress: [MonotonicTime]

    private var secondStart = MonotonicTime(0)
    private var second = 0
    private var before = Totals()
    private var busyBefore: UInt64 = 0
    private var mostBusy = 0.0
    private var ownCPU: UInt64 = 0
    private var processCPU: [UInt64?] = []

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

    mutating func begin(now: MonotonicTime, processes: [Int32]) {
        secondStart = now
        busyBefore = Clocks.threadCPU()
        ownCPU = Clocks.processCPU()
        processCPU = processes.map { Clocks.cpu(of: $0) }
    }

    mutating func planEnded(_ elapsed: UInt64) { planNanoseconds = elapsed }

    @inline(__always)
    mutating func sent(shard: Int, _ now: MonotonicTime) {
        if inFlight[shard] == 0 { progress[shard] = now }
        inFlight[shard] += 1
    }

    /// One payment ended `latency` nanoseconds after its intended time.
    @inline(__always)
    mutating func ended(_ result: RecordResult, shard: Int, _ now: MonotonicTime, _ latency: UInt64) {
        inFlight[shard] -= 1
        switch result {
        case .decided(let decision):
            interval.record(min(latency / 1_000, 3_600_000_000))
            outcomes[Int(decision.outcomeCode)] += 1
            if decision.outcomeCode == Outcome.accepted.rawValue {
                accepted += 1
                let gap = (now - progress[shard]).nanoseconds
                if gap > longestGap { longestGap = gap }
                progress[shard] = now
            } else {
                declined += 1
            }
        case .conflict:
            conflicts += 1
            declined += 1
        case .refused(let code):
            refusals[Int(code.rawValue)] += 1
            declined += 1
        case .unknown, .expired: unknown += 1
        }
    }

    // MARK: - Reports

    /// One second of the load.
    struct Row {
        static let header =
            "second,offered,sent,accepted,rejected,unknown,late,notSent,p50Ms,p99Ms,maxMs,inFlight,generatorBusy\n"
        /// `nil` for a short rest at the end.
        var text: String?
        var csv: String
    }

    /// Ends the current second.
    mutating func second(_ now: MonotonicTime, inFlight: Int) -> Row {
        second += 1
        let span = max(Double((now - secondStart).nanoseconds), 1)
        secondStart = now
        let cpu = Clocks.threadCPU()
        let busy = Double(cpu - busyBefore) / span
        busyBefore = cpu
        // A part of a second at the end says little.
        let isWhole = span > 5e8
        if isWhole { mostBusy = max(mostBusy, busy) }
        let totals = Totals(
            offered: offered, sent: sent, notSent: notSent, late: late, accepted: accepted, declined: declined,
            unknown: unknown)
        let rate = { (now: UInt64, before: UInt64) in UInt64(Double(now - before) * 1e9 / span) }
        let p50 = Self.milliseconds(interval, 50)
        let p99 = Self.milliseconds(interval, 99)
        let longest = interval.totalCount == 0 ? 0 : Double(interval.max) / 1_000
        let acceptedRate = rate(accepted, before.accepted)
        var text = "\(second) s: \(rate(offered, before.offered))/s offered, \(acceptedRate)/s accepted"
        text += ", p50 \(decimal(p50)) ms, p99 \(decimal(p99)) ms, \(inFlight) in flight"
        if declined > before.declined { text += ", \(declined - before.declined) rejected" }
        if unknown > before.unknown { text += ", \(unknown - before.unknown) unknown" }
        if notSent > before.notSent { text += ", \(notSent - before.notSent) not sent" }
        if late > before.late { text += ", \(late - before.late) late" }
        text += ", generator \(Int(busy * 100))%"
        let counts = [
            UInt64(second), offered - before.offered, sent - before.sent, accepted - before.accepted,
            declined - before.declined, unknown - before.unknown, late - before.late, notSent - before.notSent,
        ]
        let csv =
            counts.map { "\($0)" }.joined(separator: ",")
            + ",\(decimal(p50)),\(decimal(p99)),\(decimal(longest)),\(inFlight),\(decimal(busy))\n"
        before = totals
        total.add(interval)
        interval.reset()
        return Row(text: isWhole ? text : nil, csv: csv)
    }

    private static func milliseconds(_ histogram: Histogram<UInt64>, _ percentile: Double) -> Double {
        histogram.totalCount == 0 ? 0 : Double(histogram.valueAtPercentile(percentile)) / 1_000
    }

    /// The whole load; the current second has been ended.
    func result(plan: LoadPlan, now: MonotonicTime, processes: [Int32]) -> LoadResult {
        var result = LoadResult()
        let planned = max(Double(planNanoseconds) / 1e9, 1e-3)
        result.seconds = max(planned, Double(lastEnd) / 1e9)
        result.offeredRate = Double(offered) / planned
        (result.sent, result.notSent, result.late) = (sent, notSent, late)
        (result.accepted, result.unknown) = (accepted, unknown)
        result.acceptedPerSecond = Double(accepted) / result.seconds
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
        result.ownCPUSeconds = Double(Clocks.processCPU() - ownCPU) / 1e9
        result.processCPUSeconds = zip(processes, processCPU).map { process, before in
            // A process that was killed or restarted meanwhile counts from its new start.
            guard let now = Clocks.cpu(of: process) else { return 0 }
            return Double(now - min(before ?? 0, now)) / 1e9
        }
        let cpu = result.ownCPUSeconds + result.processCPUSeconds.reduce(0, +)
        let decided = outcomes.reduce(0, +)
        result.cpuMicrosPerTransaction = decided == 0 ? 0 : cpu * 1e6 / Double(decided)
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
