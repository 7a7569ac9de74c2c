import ClearingModel
import Engine
import LogFormat
import Logging
import NIOCore
import TLS
import Wire

/// One node process: an event loop with the sockets and the engine on it, a log thread, a read thread.
///
/// ```
///  sockets ──▶ SecureConnection ──▶ Engine ──▶ effects ──▶ DiskThreads (log, read) ──▶ completions ──▶ Engine
///                     ▲                          │
///                     └────────── output ◀───────┘
/// ```
/// A turn: NIO reads every socket that is ready, then `endTurn` runs once. Everything here happens on the loop.
public final class ClearingNode {
    let configuration: NodeConfiguration
    let loop: any EventLoop
    let logger: Logger
    let engine: Engine
    let cluster: ClusterID
    var clock = ProcessClock()
    var disks: DiskThreads?
    var diskStatistics = DiskStatistics()
    /// Secured connections by the engine's id.
    var connections: [ConnectionID: SecureConnection] = [:]
    /// Connections whose handshake is under way, or that were refused.
    var unnamed: [ObjectIdentifier: SecureConnection] = [:]
    var refusedHandshakes: UInt64 = 0
    var meter = LoopMeter()
    var commitTime = DurationHistogram()
    var listener: Listener?
    var admin: AdminServer?
    var ticking: RepeatedTask?
    /// Outgoing links, to the peers with smaller ids; those with larger ids call us.
    var dials: [Dial] = []
    /// Faults on purpose, by peer; empty in a node that was not started for them.
    var gates: [NodeID: LinkGate] = [:]
    private var turnIsScheduled = false
    private var isEnding = false
    /// Called once, with what the process ends with.
    var ended: ((NodeEnd) -> Void)?

    init(configuration: NodeConfiguration, loop: any EventLoop, logger: Logger) {
        self.configuration = configuration
        self.loop = loop
        self.logger = logger
        cluster = configuration.topology.cluster
        if configuration.allowFaults {
            for peer in configuration.topology.nodes where peer.id != configuration.node { gates[peer.id] = LinkGate() }
        }
        var generator = SystemRandomNumberGenerator()
        engine = Engine(
            configuration: EngineConfiguration(
                replica: configuration.replica, topology: configuration.topology, seed: generator.next(),
                allowFaults: configuration.allowFaults),
            now: clock.monotonic, wall: clock.wall)
    }

    // MARK: Turns

    /// Begins recovery; the engine takes work when that is done.
    func start(disks: DiskThreads) {
        self.disks = disks
        engine.start()
        carryOut(engine.takeEffects())
    }

    /// Runs the end of this turn once the sockets that are ready have been read.
    func scheduleTurn() {
        guard !turnIsScheduled else { return }
        turnIsScheduled = true
        let node = NIOLoopBound(self, eventLoop: loop)
        loop.execute { node.value.endTurn() }
    }

    private func endTurn() {
        turnIsScheduled = false
        let start = clock.monotonic
        engine.endOfTurn(now: start, wall: clock.wall)
        carryOut(engine.takeEffects())
        for span in engine.takeCommitTimes() { commitTime.add(span) }
        meter.add(clock.monotonic - start)
    }

    /// Every few milliseconds. Sockets that were ready have been read by now, in this same pass of the loop.
    func tick() {
        releaseGates()
        engine.tick(now: clock.monotonic, wall: clock.wall)
        scheduleTurn()
    }

    func completed(_ batch: DiskBatch) {
        diskStatistics.add(batch)
        let now = clock.monotonic
        for completion in batch.completions { engine.completed(completion, now: now) }
        scheduleTurn()
    }

    private func carryOut(_ effects: EngineEffects) {
        if !effects.disk.isEmpty { disks?.submit(effects.disk) }
        for id in effects.dirty {
            let parts = engine.takeOutput(id)
            guard let connection = connections[id] else { continue }
            if !gates.isEmpty, let peer = peer(of: connection) {
                sendGated(parts, connection, peer)
            } else {
                connection.send(parts)
                connection.flush()
            }
        }
        for id in effects.close { connections[id]?.close() }
        for event in effects.log { logger.write(event) }
        for fault in effects.faults { carryOut(fault) }
        if let failure = effects.fatal { end(.failed(failure)) }
    }

    // MARK: End

    /// Takes no new work, hands leadership away, and ends when that is done or after a moment.
    func drain() {
        guard !isEnding, engine.isRunning else { return end(.stopped) }
        logger.notice("stopping")
        engine.stop(now: clock.monotonic)
        scheduleTurn()
        // Where every node stops at once nobody is left to take leadership: the wait is short.
        awaitDrained(until: clock.monotonic + .seconds(1))
    }

    private func awaitDrained(until deadline: MonotonicTime) {
        if engine.isDrained || clock.monotonic >= deadline {
            // Peers that were told goodbye call again at once: nobody answers any more.
            listener?.close()
            for dial in dials { dial.stop() }
            engine.sayGoodbye()
            carryOut(engine.takeEffects())
            let node = NIOLoopBound(self, eventLoop: loop)
            // The goodbyes leave with the flush above; the loop turns once more before the sockets go.
            loop.scheduleTask(in: .milliseconds(50)) { node.value.end(.stopped) }
            return
        }
        let node = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: .milliseconds(10)) { node.value.awaitDrained(until: deadline) }
    }

    private func end(_ reason: NodeEnd) {
        guard !isEnding else { return }
        isEnding = true
        ended?(reason)
    }
}

/// How a node ended.
enum NodeEnd: Sendable {
    case stopped
    case failed(EngineFailure)
}

/// How much of its time the loop works.
struct LoopMeter {
    private(set) var busyNanoseconds: UInt64 = 0
    private(set) var turns: UInt64 = 0
    mutating func add(_ span: MonotonicTime.Span) {
        busyNanoseconds += span.nanoseconds
        turns += 1
    }
}

extension Logger {
    func write(_ event: EngineLog) {
        let level: Logger.Level =
            switch event.severity {
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            }
        var metadata: Logger.Metadata = [:]
        for (name, value) in event.fields { metadata[name] = .string(value) }
        log(level: level, "\(event.event)", metadata: metadata)
    }
}
