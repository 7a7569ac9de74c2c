import ClearingModel
import Raft
import Wire

/// The log of one node for all its shards, as a state machine over disk operations.
///
/// ```
///  directory   identity   segment-0000000001.log … segment-0000000042.log (active)   segment.spare
///              checkpoint-00003-00000000000000081920.state …
///
///  segment     0      4 KiB                                                              size
///              ┌──────┬─────────┬─────────┬──── ─ ─ ────┬─────────┬ ─ ─ unused ─ ─┬───────┬──────┐
///              │header│ group   │ group   │             │ group   │               │ table │footer│  when sealed
///              └──────┴─────────┴─────────┴──── ─ ─ ────┴─────────┴ ─ ─ ─ ─ ─ ─ ─ ┴───────┴──────┘
///
///  group       ┌────────────┬────────┬────────┬─ ─┬────────┬─ zeros ─┬───────────┬───────────┬─ ─┐
///  (4 KiB      │group header│record 1│record 2│   │record n│         │ payload 1 │ payload 2 │   │
///   boundary)  │ 192 bytes  │ header │ header │   │ header │         │           │           │   │
///              └────────────┴────────┴────────┴─ ─┴────────┴─────────┴───────────┴───────────┴─ ─┘
///              one slab, made when the group is closed                payload slabs, by reference
///
///  append… → staged records → flush → group → write, sync → durable(through:)
/// ```
/// docs/LOG.md has every byte. Not thread-safe: one owner.
public struct NodeLog {
    /// Version of all file layouts.
    public static let formatVersion: UInt32 = 1

    /// Sizes that tests make small.
    public struct Options: Hashable, Sendable {
        public var segmentBytes = Limits.segmentBytes
        /// A group is closed at this size; a single larger record still makes a group.
        public var groupBytes = 4 << 20
        public var diskReserveBytes = Limits.diskReserveBytes
        /// Free space is asked for again after this many bytes.
        public var freeSpaceIntervalBytes = 16 << 20
        /// Tables kept in memory: of the newest sealed segments, and of older ones that were asked for.
        public var recentTables = 4
        public var loadedTables = 8
        public init() {}
    }

    public let cluster: ClusterID
    public let me: ReplicaID
    public let shards: [ShardID]
    public let options: Options
    let slots: [ShardID: Int]

    var nextOperation: UInt64 = 1
    /// What to do when an operation completes, and the lane that it is in.
    var waiting: [UInt64: (waiter: Waiter, lane: DiskOperation.Lane)] = [:]
    /// Operations of the background lane that have not completed.
    var backgroundOperations = 0
    var recovery: Recovery?
    var isRunning = false
    var hasFailed = false

    /// Per shard, in the order of `shards`.
    var tails: [ShardTail]
    var written: [ShardWritten]
    var indexes: [ShardIndex]

    // Appending
    var staged: [StagedRecord] = []
    var stagedBytes = 0
    var stagedThrough = LogSequence.zero
    var durableThrough = LogSequence.zero
    var inFlight: [InFlightGroup] = []
    var inFlightBytes = 0
    var active = ActiveSegment()
    var roll = Roll.none
    var spare = Spare.none
    var filling = SpareFilling()
    /// High 24 bits of every group number: how often the directory was opened.
    var life: UInt64 = 0
    var lifeStart = LogAddress.zero
    var lastGroup: UInt64 = 0
    var synced = LogAddress.zero
    var lastGroupWasClosing = false

    // Reading
    var tables: [UInt64: SegmentTable] = [:]
    var loadedOrder: [UInt64] = []
    var tableWaits: [UInt64: [PendingRead]] = [:]
    var reads: [UInt64: ReadJob] = [:]
    var nextRead: UInt64 = 1
    var segments: [SegmentInfo] = []

    // Checkpoints, expiry, space
    var checkpoints: [[CheckpointInfo]]
    var checkpointWrites: [CheckpointWrite?]
    var checkpointLoads: [CheckpointLoad?]
    /// By shard, whether its newest checkpoint is being read for a peer: none of its files may go meanwhile.
    var openCheckpoints: [Bool]
    /// The snapshot that is coming in.
    var snapshotWrite: SnapshotWrite?
    var expiry: Expiry?
    /// Whether a shard's log has holes.
    var hasHoles: [Bool]
    /// Shards whose last hole the group being built fills.
    var filled: [ShardID] = []
    var isFull = false
    var freeSpaceAsked = false
    var bytesSinceFreeSpace = 0

    /// A log that has not touched the disk yet; call `recover` next.
    /// - Parameter shards: the groups that have a replica on this node.
    public init(cluster: ClusterID, me: ReplicaID, shards: [ShardID], options: Options = Options()) {
        precondition(options.segmentBytes % Layout.alignment == 0 && options.segmentBytes >= 16 * Layout.alignment)
        precondition(options.segmentBytes <= 1 << 31 && options.groupBytes <= Layout.maximumGroupBytes / 2)
        precondition(shards.allSatisfy { Int($0.rawValue) < ShardSet.capacity })
        self.cluster = cluster
        self.me = me
        self.shards = shards
        self.options = options
        slots = Dictionary(uniqueKeysWithValues: shards.enumerated().map { ($1, $0) })
        tails = shards.map { _ in ShardTail() }
        written = shards.map { _ in ShardWritten() }
        indexes = shards.map { _ in ShardIndex() }
        hasHoles = shards.map { _ in false }
        checkpoints = shards.map { _ in [] }
        checkpointWrites = shards.map { _ in nil }
        checkpointLoads = shards.map { _ in nil }
        openCheckpoints = shards.map { _ in false }
    }

    /// Bytes appended and not yet durable, staged ones included; the owner keeps them below `Limits.maximumUnsyncedBytes`.
    public var unsyncedBytes: Int { stagedBytes + inFlightBytes }
    /// The newest record appended.
    public var appendedThrough: LogSequence { stagedThrough }
    /// The newest record that is durable.
    public var syncedThrough: LogSequence { durableThrough }
    /// The oldest record that is not durable; its owner knows when it was appended.
    public var oldestUnsynced: LogSequence? {
        durableThrough < stagedThrough ? LogSequence(durableThrough.rawValue + 1) : nil
    }
    /// Where the next group will stand.
    public var lastAddress: LogAddress { LogAddress(segment: active.number, offset: active.end) }
    /// Everything below is durable.
    public var syncedAddress: LogAddress { synced }
    /// Set while free space is below the reserve.
    public var isDiskFull: Bool { isFull }
    /// True after recovery of a directory that had never held a log.
    public internal(set) var wasEmpty = false

    /// Last entry of the shard's log, staged ones included.
    public func lastIndex(of shard: ShardID) -> LogIndex { tails[slot(shard)].last }

    /// Term of that entry.
    public func lastTerm(of shard: ShardID) -> Term { tails[slot(shard)].lastTerm }

    /// Term of an entry between the log's start and its end.
    public func term(of shard: ShardID, at index: LogIndex) -> Term? { tails[slot(shard)].term(at: index) }

    /// The membership in force after an entry between the log's start and its end: what a checkpoint there has to name.
    public func membership(of shard: ShardID, at index: LogIndex) -> Membership {
        tails[slot(shard)].membership(at: index)
    }

    /// Terms and memberships of a shard's log as its appends and repairs left it; exact once it has no holes.
    public func known(of shard: ShardID) -> KnownLog {
        let tail = tails[slot(shard)]
        return KnownLog(
            termRuns: tail.runs, configurationEntries: tail.configurations.map { ($0.index, $0.membership) },
            lastIndex: tail.last, guessed: Self.guesses(holes(of: shard), last: tail.last))
    }

    /// Entries of holes, whose terms are guesses; the one behind each is exact, or the last one where the log ends there.
    static func guesses(_ holes: [IndexRange], last: LogIndex) -> [Range<LogIndex>] {
        holes.compactMap { hole in
            let end = hole.through < last ? hole.through.next : last
            return hole.from < end ? hole.from..<end : nil
        }
    }

    /// Entries above the log's start that cannot be read, ascending.
    public func holes(of shard: ShardID) -> [IndexRange] {
        let slot = slot(shard)
        return indexes[slot].gaps(after: written[slot].start.index, through: written[slot].last)
    }

    /// Those of a peer's entries that fill holes. A truncation may be staged that makes holes of the written log void: what
    /// lies above it is no hole any more, or stands staged itself.
    public func wanted(_ entries: [RaftEntry], of shard: ShardID) -> [RaftEntry] {
        let holes = holes(of: shard)
        let cut = staged.lazy.filter { $0.header.shard == shard && $0.header.kind == .truncation }.map(\.header.index)
            .min()
        let last = min(lastIndex(of: shard), cut?.previous ?? LogIndex(.max))
        return entries.filter { entry in
            entry.index <= last && holes.contains { $0.from <= entry.index && entry.index <= $0.through }
        }
    }

    /// Entries from `from` to the log's start that no segment here holds, ascending: a snapshot led past them, or they were
    /// damaged. They are committed; `appendRepair` takes them from a peer. O(extents).
    public func missing(of shard: ShardID, from: LogIndex) -> [IndexRange] {
        let slot = slot(shard)
        return indexes[slot].gaps(after: from.previous, through: written[slot].start.index)
    }

    /// The first entry at or above `from` that can be read back, below the log's start or above it.
    public func firstReadable(of shard: ShardID, from: LogIndex) -> LogIndex? {
        indexes[slot(shard)].first(from: from)
    }

    /// The last entry before the written log's start, and its term.
    public func start(of shard: ShardID) -> (index: LogIndex, term: Term) {
        let start = written[slot(shard)].start
        return (start.index, start.term)
    }

    func slot(_ shard: ShardID) -> Int {
        guard let slot = slots[shard] else { preconditionFailure("shard \(shard) has no replica in this log") }
        return slot
    }

    /// Emits an operation and remembers what its completion means.
    mutating func emit(
        _ kind: DiskOperation.Kind, _ lane: DiskOperation.Lane, _ waiter: Waiter, _ ops: inout [DiskOperation]
    ) {
        let id = nextOperation
        nextOperation += 1
        waiting[id] = (waiter, lane)
        if lane == .background { backgroundOperations += 1 }
        ops.append(DiskOperation(id: id, lane: lane, kind: kind))
    }
}
