import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

/// A log on a simulated disk, with two lanes that take turns as a seed wills.
struct LogHarness {
    static let cluster = ClusterID(high: 0x1122_3344_5566_7788, low: 0x99AA_BBCC_DDEE_FF00)
    static let me = ReplicaID(node: NodeID(3), incarnation: Incarnation(1))
    static let shards = [ShardID(0), ShardID(1), ShardID(2)]
    static let membership = Membership(
        voters: (1...3).map { ReplicaID(node: NodeID($0), incarnation: Incarnation(1)) })

    var disk = SimulatedDisk()
    var log: NodeLog
    var options: NodeLog.Options
    var random: SeededRandom
    var events: [LogEvent] = []
    var ops: [DiskOperation] = []
    private var lanes: [[DiskOperation]] = [[], []]
    private var nextToken: UInt64 = 1

    init(seed: UInt64 = 1, segmentBytes: Int = 256 << 10, disk: SimulatedDisk = SimulatedDisk()) {
        var options = NodeLog.Options()
        options.segmentBytes = segmentBytes
        options.groupBytes = 64 << 10
        options.diskReserveBytes = 1 << 20
        options.freeSpaceIntervalBytes = 128 << 10
        options.recentTables = 1
        options.loadedTables = 1
        self.options = options
        self.disk = disk
        random = SeededRandom(seed: seed)
        log = NodeLog(cluster: Self.cluster, me: Self.me, shards: Self.shards, options: options)
    }

    var isIdle: Bool { ops.isEmpty && lanes[0].isEmpty && lanes[1].isEmpty }

    private mutating func collect() {
        for op in ops { lanes[op.lane == .write ? 0 : 1].append(op) }
        ops = []
    }

    /// Performs one operation of either lane; false where there is none. A lane stands still before one that is held.
    @discardableResult
    mutating func step(holding isHeld: (DiskOperation.Kind) -> Bool = { _ in false }) -> Bool {
        collect()
        let busy = lanes.indices.filter { lanes[$0].first.map { !isHeld($0.kind) } ?? false }
        guard !busy.isEmpty else { return false }
        let lane = busy[Int(random.below(UInt64(busy.count)))]
        let op = lanes[lane].removeFirst()
        log.complete(DiskCompletion(id: op.id, result: disk.perform(op.kind)), ops: &ops, events: &events)
        collect()
        return true
    }

    /// Performs everything, flushing as a loop does at the end of each turn.
    mutating func settle(holding isHeld: (DiskOperation.Kind) -> Bool = { _ in false }) {
        log.flush(&ops)
        while step(holding: isHeld) { log.flush(&ops) }
    }

    mutating func takeEvents() -> [LogEvent] {
        defer { events = [] }
        return events
    }

    /// Takes what the disk holds and opens it anew.
    mutating func reopen(
        cluster: ClusterID = LogHarness.cluster, me: ReplicaID = LogHarness.me, shards: [ShardID] = LogHarness.shards
    ) {
        log = NodeLog(cluster: cluster, me: me, shards: shards, options: options)
        events = []
        ops = []
        lanes = [[], []]
        log.recover(&ops)
    }

    /// Reopens and recovers; the recovered shards, or `nil` with the refusal left in `events`.
    @discardableResult
    mutating func recover() -> [RecoveredShard]? {
        reopen()
        settle()
        for event in events {
            if case .recovered(let shards) = event { return shards }
        }
        return nil
    }

    /// Reopens; what recovery found of one shard.
    mutating func recovered(_ shard: ShardID) throws -> RecoveredShard {
        let all = recover()
        return try #require(all?.first { $0.shard == shard })
    }

    /// A fresh log, each shard started with the usual membership.
    static func fresh(seed: UInt64 = 1, segmentBytes: Int = 256 << 10) throws -> LogHarness {
        var harness = LogHarness(seed: seed, segmentBytes: segmentBytes)
        let recovered = harness.recover()
        _ = try #require(recovered)
        for shard in shards {
            harness.log.appendLogStart(shard: shard, index: .zero, term: .zero, membership: membership)
        }
        harness.settle()
        harness.events = []
        return harness
    }

    // MARK: - Reading back

    mutating func token() -> UInt64 {
        defer { nextToken += 1 }
        return nextToken
    }

    mutating func readAll(_ shard: ShardID, from: LogIndex, through: LogIndex) -> [RaftEntry]? {
        var found: [RaftEntry] = []
        var next = from
        while next <= through {
            let token = token()
            log.read(shard: shard, from: next, maxBytes: 20_000, token: token, ops: &ops, events: &events)
            settle()
            var got: [RaftEntry]?
            for event in takeEvents() {
                if case .entries(token, let entries) = event { got = entries }
            }
            guard let got, !got.isEmpty else { return nil }
            found += got.filter { $0.index <= through }
            next = got[got.count - 1].index.next
        }
        return found
    }

    mutating func record(_ shard: ShardID, _ ordinal: UInt64, verify: Bool = false) -> StoredRecord? {
        let token = token()
        log.readRecord(
            shard: shard, ordinal: Ordinal(ordinal), verify: verify, token: token, ops: &ops, events: &events)
        settle()
        for event in takeEvents() {
            if case .record(token, let record) = event { return record }
        }
        return nil
    }
}

/// A recognisable entry: bytes that follow from shard, index and term.
func sample(_ index: UInt64, _ term: UInt64, bytes: Int = 300, salt: UInt64 = 0) -> RaftEntry {
    var random = SeededRandom(seed: index &* 1_000_003 &+ term &* 97 &+ salt)
    let payload = (0..<bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    return RaftEntry(index: LogIndex(index), term: Term(term), kind: .data, payload: Slab(payload))
}

/// An entry of the ledger's form with `records` records from `ordinal` on.
func ledgerEntry(_ index: UInt64, _ term: UInt64, records: Int, ordinal: UInt64) -> RaftEntry {
    var writer = WireWriter()
    EntryHeader(
        recordCount: records, ledgerTime: WallTime(index * 1_000), firstOrdinal: Ordinal(ordinal), sectionBytes: 0,
        sectionCount: 0, flags: 0, window: WindowID(scheme: .domestic, number: 7)
    ).encode(into: &writer)
    for i in 0..<records { instruction(ordinal + UInt64(i)).withBytes { writer.raw($0) } }
    return RaftEntry(index: LogIndex(index), term: Term(term), kind: .data, payload: Slab(writer.bytes))
}

/// The record that `ledgerEntry` gives an ordinal.
func instruction(_ ordinal: UInt64) -> Instruction {
    Instruction(
        id: TransactionID(
            debtor: ParticipantID(7), instructing: ParticipantID(9), day: BusinessDay(20_000), sequence: ordinal),
        kind: .payout, amount: 100 + ordinal, currency: 156, creditor: ParticipantID(8))
}

extension Array where Element == LogEvent {
    var damaged: [(shard: ShardID, from: UInt64, through: UInt64)] {
        compactMap {
            if case .damaged(let shard, let from, let through, _, _) = $0 {
                (shard, from.rawValue, through.rawValue)
            } else {
                nil
            }
        }
    }

    var refusal: RecoveryError? {
        for case .recoveryFailed(let error) in self { return error }
        return nil
    }

    var durableThrough: LogSequence? {
        var last: LogSequence?
        for case .durable(let sequence) in self { last = sequence }
        return last
    }
}
