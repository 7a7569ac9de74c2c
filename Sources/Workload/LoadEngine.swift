import ClearingModel
import Client
import NIOCore
import Wire

/// One running load, on one event loop.
///
/// Open loop: the schedule says when each payment was intended, and its latency counts from then, whatever held it up. A
/// cluster that stalls therefore shows in the percentiles with everything that it delayed.
final class LoadEngine: ClientDriverOwner {
    enum Phase {
        case connecting(since: MonotonicTime)
        case running
        /// The plan is over; what is in flight is waited for.
        case draining
        case ended
    }

    let configuration: LoadConfiguration
    let journal: LineFile?
    let series: LineFile?
    var driver: ClientDriver!
    var phase = Phase.connecting(since: MonotonicTime(0))
    var generator: PaymentGenerator
    var schedule: LoadSchedule
    var statistics: LoadStatistics
    var lanes: LoadLanes
    var journalFormat = JournalFormat()
    private let kept: KeptJournal?
    private var acknowledged: AcknowledgementWatch.Reader?
    /// When the first payment was intended.
    var start = MonotonicTime(0)
    var outstanding = 0
    var queriesInFlight = 0
    /// More is due than one turn makes.
    var isBehind = false
    var nextReport = MonotonicTime(0)
    var nextStopCheck = MonotonicTime(0)
    let finished: EventLoopPromise<LoadResult>
    private let timeout: MonotonicTime.Span
    private let intervalSpan: MonotonicTime.Span
    /// Nanoseconds from the start.
    private let warmUp: UInt64
    private var isWarm = false
    private let paymentsInFlight: Int
    /// Payments made in one turn, so that replies are read in between.
    private static let turnPayments = 4_096

    init(
        configuration: LoadConfiguration, loop: any EventLoop, journal: LineFile?, series: LineFile?,
        kept: KeptJournal?, finished: EventLoopPromise<LoadResult>
    ) throws {
        let wall = Clocks.wall()
        let calendar = configuration.topology.calendar
        let day = BusinessDay(at: wall, offsetMinutes: Int(calendar.zoneOffsetMinutes))
        // 27 bits of the day's milliseconds, then room for two million payments in each of them.
        let midnight = day.start(offsetMinutes: Int(calendar.zoneOffsetMinutes))
        let first = configuration.sequence ?? (wall.milliseconds - midnight.milliseconds) << 21
        guard
            let generator = PaymentGenerator(
                population: configuration.population, identities: configuration.identities.map(\.participants),
                mix: configuration.mix, credits: configuration.credits, slots: configuration.topology.slots,
                seed: configuration.seed, day: day, sequence: first)
        else { throw LoadError.noIdentity }
        guard generator.canCredit else {
            throw LoadError.invalid(
                "credits '\(configuration.credits.rawValue)': participants are on too few shards, or alone on theirs")
        }
        self.configuration = configuration
        paymentsInFlight = configuration.paymentsInFlight
        self.journal = journal
        self.series = series
        self.kept = kept
        self.generator = generator
        self.finished = finished
        schedule = LoadSchedule(plan: configuration.plan)
        statistics = LoadStatistics(shards: configuration.topology.placements.count)
        lanes = LoadLanes(
            identities: configuration.identities.count, shards: configuration.topology.placements.count,
            size: configuration.batch)
        timeout = .milliseconds(UInt64(configuration.timeoutSeconds * 1_000))
        intervalSpan = MonotonicTime.Span(nanoseconds: UInt64(configuration.intervalSeconds * 1e9))
        warmUp = UInt64(configuration.warmUpSeconds * 1e9)
        acknowledged = configuration.watch.map {
            AcknowledgementWatch.Reader($0, shards: configuration.topology.placements.count)
        }
        driver = try ClientDriver(
            loop: loop, topology: configuration.topology, identities: configuration.identities,
            configuration: configuration.clientConfiguration, owner: self)
    }

    func begin() {
        phase = .connecting(since: Clocks.monotonic())
        driver.start()
    }

    // MARK: - Turns

    func driverTurn(_ driver: ClientDriver, now: MonotonicTime, isTick: Bool) {
        switch phase {
        case .connecting(let since):
            let ready = driver.core.readyConnections
            if ready == driver.core.connectionCount || (ready > 0 && now - since > .seconds(3)) {
                run(from: now)
            } else if now - since > .seconds(5) {
                end(.failure(LoadError.notConnected(driver.troubles)))
            }
        case .running:
            if now >= nextStopCheck {
                nextStopCheck = now + .milliseconds(100)
                if configuration.shouldStop() {
                    statistics.interrupted = true
                    schedule.stop()
                }
            }
            if !isWarm, (now - start).nanoseconds >= warmUp { measure(now) }
            if now >= nextReport { report(now) }
            // Payments of a rate leave on the millisecond, many in a flush; without a rate they follow their answers.
            if isTick || isBehind || schedule.isUnlimited { produce(now) }
        case .draining:
            if now >= nextReport { report(now) }
            if outstanding == 0, queriesInFlight == 0 { finish(now) }
        case .ended: break
        }
    }

    private func run(from now: MonotonicTime) {
        phase = .running
        start = now
        nextReport = now + intervalSpan
        statistics.begin(now: now, elapsed: 0, processes: configuration.processes)
        if warmUp == 0 { measure(now) }
        produce(now)
    }

    /// The warm-up is over.
    private func measure(_ now: MonotonicTime) {
        isWarm = true
        if warmUp > 0 {
            // The interval that is open belongs to the warm-up.
            report(now)
            nextReport = now + intervalSpan
            statistics.begin(now: now, elapsed: (now - start).nanoseconds, processes: configuration.processes)
        }
        configuration.phase(.measuring)
    }

    /// Makes what is due, as far as this turn goes.
    private func produce(_ now: MonotonicTime) {
        isBehind = false
        let elapsed = (now - start).nanoseconds
        var made = 0
        while made < Self.turnPayments {
            let intended: UInt64
            switch schedule.due(at: elapsed) {
            case .at(let time): intended = time
            case .unlimited where outstanding < paymentsInFlight: intended = elapsed
            case .unlimited, .none:
                sendLanes(now, all: false)
                return
            case .ended:
                sendLanes(now, all: true)
                phase = .draining
                statistics.planEnded(elapsed, processes: configuration.processes)
                configuration.phase(.draining)
                return
            }
            schedule.taken()
            make(intended, elapsed, now)
            made += 1
        }
        sendLanes(now, all: false)
        isBehind = true
        driver.scheduleTurn()
    }

    @inline(__always)
    private func make(_ intended: UInt64, _ elapsed: UInt64, _ now: MonotonicTime) {
        switch generator.next() {
        case .payment(let identity):
            statistics.offered += 1
            if elapsed - intended > LoadConfiguration.lateNanoseconds { statistics.late += 1 }
            if configuration.batch == 1 {
                let taken = driver.submit(
                    generator.instruction, identity: identity, deadline: now + timeout, token: intended, now: now)
                count(taken: taken, id: generator.instruction.id, now)
            } else {
                let shard = configuration.topology.slots.route(generator.instruction.id)
                let lane = lanes.add(generator.instruction, identity: identity, shard: shard, intended, opened: elapsed)
                if lanes.isFull(lane) { send(lane, now) }
            }
        case .query(let id, let identity): query(id, identity: identity, now)
        }
    }

    @inline(__always)
    private func count(taken: Bool, id: TransactionID, _ now: MonotonicTime) {
        guard taken else {
            statistics.notSent += 1
            return
        }
        statistics.sent += 1
        outstanding += 1
        statistics.sent(shard: Int(configuration.topology.slots.route(id).rawValue), now)
    }

    private func query(_ id: TransactionID, identity: Int, _ now: MonotonicTime) {
        let shard = configuration.topology.slots.route(id)
        var writer = WireWriter(reserving: 40)
        Query.encode(request: 0, shard: shard, [id], into: &writer)
        let taken = driver.call(
            .query, body: Array(writer.bytes[FrameHeader.size...]), to: .leader(shard), identity: identity,
            deadline: now + timeout, token: 0,
            now: now)
        if taken { queriesInFlight += 1 }
    }

    // MARK: - Requests of many records

    /// Sends the lanes that have waited long enough, or all.
    ///
    /// Without a rate nothing was due that could be late: only full requests leave, and what would never fill one leaves
    /// after a second.
    private func sendLanes(_ now: MonotonicTime, all: Bool) {
        guard configuration.batch > 1 else { return }
        let elapsed = (now - start).nanoseconds
        let linger = schedule.isUnlimited ? 1_000_000_000 : UInt64(configuration.lingerMilliseconds) * 1_000_000
        while let lane = lanes.oldest(openedBefore: all ? .max : elapsed - min(elapsed, linger)) { send(lane, now) }
    }

    private func send(_ lane: Int, _ now: MonotonicTime) {
        let batch = lanes.take(lane)
        if schedule.isUnlimited { lanes.restamp(batch, (now - start).nanoseconds) }
        let records = lanes.batches[batch].instructions
        let taken = driver.submit(
            records, identity: lanes.identity(lane), deadline: now + timeout, token: UInt64(batch), now: now)
        let missed = records.count - taken
        statistics.sent += UInt64(taken)
        statistics.notSent += UInt64(missed)
        outstanding += taken
        lanes.sent(batch, taken: taken)
        for _ in 0..<taken { statistics.sent(shard: lanes.shard(lane), now) }
    }

    // MARK: - What ended

    func driver(_ driver: ClientDriver, ended output: ClientOutput) {
        queriesInFlight -= output.calls.count
        guard !output.completions.isEmpty else { return }
        let now = Clocks.monotonic()
        let elapsed = (now - start).nanoseconds
        acknowledged?.look()
        for completion in output.completions {
            var intended = completion.token
            if configuration.batch > 1 {
                intended = lanes.ended(batch: Int(completion.token), position: Int(completion.position))
            }
            let shard: ShardID
            switch completion.result {
            case .decided(let decision): shard = decision.shard
            default: shard = configuration.topology.slots.route(completion.id)
            }
            statistics.ended(completion.result, shard: Int(shard.rawValue), now, intended: intended, elapsed: elapsed)
            acknowledged?.ended(completion.result, now)
            if let kept {
                kept.append(completion)
            } else if let journal {
                journalFormat.append(completion.id, completion.result, shard: shard, to: &journal.buffer)
                journal.lineEnded()
            }
        }
        outstanding -= output.completions.count
    }

    // MARK: - Reports and the end

    private func report(_ now: MonotonicTime) {
        nextReport = nextReport + intervalSpan
        // Ids of a new day once it has begun: it was opened an hour before.
        generator.day = BusinessDay(
            at: Clocks.wall(), offsetMinutes: Int(configuration.topology.calendar.zoneOffsetMinutes))
        let interval = statistics.interval(
            now, elapsed: (now - start).nanoseconds, inFlight: outstanding + lanes.waiting, isWarmUp: !isWarm)
        configuration.interval(interval)
        if interval.isWhole(of: configuration.intervalSeconds) { configuration.live(interval.text) }
        if let series {
            series.buffer.append(contentsOf: interval.csv.utf8)
            series.lineEnded()
        }
    }

    private func finish(_ now: MonotonicTime) {
        report(now)
        var result = statistics.result(now: now)
        result.troubles = driver.troubles
        end(.success(result))
    }

    private func end(_ result: Result<LoadResult, any Error>) {
        phase = .ended
        driver.close()
        finished.completeWith(result)
    }
}
