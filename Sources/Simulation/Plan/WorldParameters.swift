import ClearingModel
import Engine
import Ledger
import LogFormat

/// What a world is like: drawn from its seed, or given.
public struct WorldParameters: Sendable {
    public var seed: UInt64
    public var nodes = 3
    public var shards = 4
    public var replicas = 3
    public var participants = 40
    public var clients = 2
    /// Payments a simulated second over all clients.
    public var rate = 200
    /// Simulated seconds with faults; the liveness phase comes on top.
    public var seconds = 60
    /// Whether damage and wipes may exceed what a majority survives: then only "stops, never wrong" is asked.
    public var isBeyondBudget = false

    // Time, in microseconds
    var tick: UInt64 = 5_000
    var turn: UInt64 = 100
    var latency: UInt64 = 300
    var jitter: UInt64 = 300
    var syncLatency: UInt64 = 500
    /// Wall clock at the start, minutes after midnight in the calendar's zone.
    var startMinute: UInt64 = 12 * 60

    // Log and ledger
    var segmentBytes = 1 << 20
    var checkpointBytes = 256 << 10
    var snapshotChunk = 64 << 10
    var checkpointLagSegments: UInt64 = 4
    var fingerprintMask = UInt64.max
    var retainedClosedDays = 2

    /// Which kinds of faults this world knows, and how many of them there are.
    public var faultKinds: [FaultKind] = FaultKind.allCases
    public var faults = 12
    /// Share of participants with limits small enough to be hit, in percent.
    var poorParticipants: UInt64 = 20

    /// The standard world: three nodes, four shards.
    public init(seed: UInt64) { self.seed = seed }

    /// Draws everything from the seed: sizes, speeds, which faults exist at all (swarm testing: Groce et al., ISSTA 2012).
    public static func drawn(seed: UInt64) -> WorldParameters {
        var random = SeededRandom(seed: seed ^ 0x5EED_0FA1_7000_0001)
        var it = WorldParameters(seed: seed)
        let sizes = [1, 3, 3, 3, 3, 4, 5, 5, 6, 7, 9]
        it.nodes = random.pick(sizes)
        it.replicas = random.pick([1, 3, 3, 3, 3, 5].filter { $0 <= it.nodes })
        // A world costs by its replicas: large ones have few shards or little to do.
        let shardCounts: [Int] = it.nodes <= 5 ? [1, 2, 2, 3, 4, 4, 6] : [1, 2, 4, 8, 16]
        it.shards = random.pick(shardCounts)
        it.clients = Int(1 + random.below(4))
        it.participants = Int(8 + random.below(60))
        let rates: [Int] = it.nodes * it.shards > 24 ? [5, 10, 25] : [5, 20, 50, 100, 250]
        it.rate = random.pick(rates)
        it.tick = random.pick([5_000, 5_000, 7_000, 10_000])
        it.turn = random.pick([20, 100, 100, 500])
        it.latency = random.pick([100, 300, 300, 1_000, 5_000])
        it.jitter = random.pick([50, 300, 1_000, 5_000])
        it.syncLatency = random.pick([100, 500, 500, 2_000, 5_000])
        // Noon, shortly before a day opens, shortly before one closes.
        let minutes: [UInt64] = [720, 720, 1_379, 119]
        it.startMinute = random.pick(minutes)
        it.segmentBytes = random.pick([256, 512, 1_024]) << 10
        it.checkpointBytes = random.pick([16, 64, 256, 1_024]) << 10
        it.snapshotChunk = random.pick([700, 4_096, 65_536])
        it.checkpointLagSegments = random.pick([1, 4])
        it.fingerprintMask = random.below(8) == 0 ? (1 << 12) - 1 : .max
        it.retainedClosedDays = random.pick([0, 1, 2])
        it.faultKinds = FaultKind.allCases.filter { $0 != .slowReader && random.below(5) < 2 }
        it.faults = Int(random.below(30))
        it.isBeyondBudget = random.below(10) == 0
        it.poorParticipants = random.pick([0, 20, 60])
        if random.below(5) < 2 { it.faultKinds.append(.slowReader) }
        return it
    }

    /// Replicas of a shard that may be damaged, wiped or not yet repaired at one time.
    var budget: Int { (replicas - 1) / 2 }

    var logOptions: NodeLog.Options {
        var options = NodeLog.Options()
        options.segmentBytes = segmentBytes
        options.groupBytes = segmentBytes / 4
        return options
    }

    var ledgerOptions: LedgerOptions {
        LedgerOptions(
            retainedClosedDays: retainedClosedDays, checkpointIntervalBytes: checkpointBytes,
            fingerprintMask: fingerprintMask)
    }

    /// For people, in one line.
    public var summary: String {
        let kinds = faultKinds.map(\.rawValue).joined(separator: " ")
        var parts = ["nodes \(nodes)", "shards \(shards)", "replicas \(replicas)", "participants \(participants)"]
        parts += ["clients \(clients)", "\(rate) payments/s", "\(seconds) s", "tick \(tick) µs"]
        parts += ["latency \(latency)+\(jitter) µs", "sync \(syncLatency) µs", "segments \(segmentBytes >> 10) KiB"]
        parts += ["checkpoints \(checkpointBytes >> 10) KiB", "faults \(faults) of [\(kinds)]"]
        if fingerprintMask != .max { parts.append("fingerprints of 12 bits") }
        if isBeyondBudget { parts.append("beyond the budget") }
        return parts.joined(separator: ", ")
    }
}

extension SeededRandom {
    mutating func pick<T>(_ list: [T]) -> T { list[Int(below(UInt64(list.count)))] }
    /// True once in `n`.
    mutating func oneIn(_ n: UInt64) -> Bool { below(n) == 0 }
    mutating func within(_ range: ClosedRange<UInt64>) -> UInt64 {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }
}
