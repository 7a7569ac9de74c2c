import ClearingModel
import Wire

/// What may differ between clusters, and in tests; the same on all replicas of a shard, for ever.
public struct LedgerOptions: Hashable, Sendable {
    /// Closed business days whose index is kept: ids of older days are `expired`.
    public var retainedClosedDays: Int
    /// Bytes of entries between two checkpoints.
    public var checkpointIntervalBytes: Int
    /// Bits of a fingerprint that are kept. All, except in tests that force two ids onto one fingerprint.
    public var fingerprintMask: UInt64

    public init(
        retainedClosedDays: Int = 2, checkpointIntervalBytes: Int = Limits.checkpointIntervalBytes,
        fingerprintMask: UInt64 = .max
    ) {
        precondition(retainedClosedDays >= 0 && checkpointIntervalBytes > 0, "ledger options")
        self.retainedClosedDays = retainedClosedDays
        self.checkpointIntervalBytes = checkpointIntervalBytes
        self.fingerprintMask = fingerprintMask
    }
}

/// Sections that changed nothing, since the process started: not state, for metrics.
public struct LedgerCounters: Hashable, Sendable {
    /// Batches already applied, or with batches missing before them, or on a halted stream.
    public var ignoredBatches = 0
    public var ignoredConfirmations = 0
    public var ignoredUpdates = 0
    public var ignoredMarkers = 0
}

/// The deterministic state machine of one clearing shard.
///
///     entry (header, sections, records) ──► apply ──► one Decision per record
///                                             │
///      participants, mandates, calendar ◄─────┤ directoryUpdate sections
///      open days with their indexes     ◄─────┤ openDay / closeDay sections, records
///      positions per window             ◄─────┤ records, creditBatch sections
///      open and unconfirmed batches     ◄─────┘ records, flush mark, creditConfirmation sections
///
/// The same entries give the same state, byte for byte (`stateHash`), on every replica. It never reads a clock, a
/// disk or a random source. A class with one owner: it holds the index in its own memory and is never copied.
/// docs/ENTRIES.md has the rules and the formats.
public final class ShardLedger {
    public let shard: ShardID
    public let cluster: ClusterID
    public let slots: SlotMap
    public let shardCount: Int
    public let options: LedgerOptions
    public let fingerprint: Fingerprint
    /// Key of batch and state hashes.
    public let hashKey: SipHash

    // Place in the log
    public internal(set) var appliedIndex = LogIndex.zero
    public internal(set) var appliedTerm = Term.zero
    public internal(set) var lastLedgerTime = WallTime.zero
    public internal(set) var nextOrdinal = Ordinal.zero
    /// Bytes of all entries ever applied.
    public internal(set) var appliedBytes: UInt64 = 0
    var checkpointedBytes: UInt64 = 0
    /// Chained over every applied entry and its decisions: replicas that applied the same index compare it for next
    /// to nothing.
    public internal(set) var runningHash: UInt64 = 0

    // Directory
    public internal(set) var calendar: ClearingCalendar
    /// The directory version that is here in full.
    public internal(set) var directoryVersion = DirectoryVersion.zero
    /// Where the next page must begin; beyond `directoryVersion` in the middle of a transfer.
    public internal(set) var directoryCursor = DirectoryVersion.zero
    let accounts = AccountTable()
    let mandates = MandateTable()

    // Windows: ascending; the open one of each scheme, and all that are not settled.
    public internal(set) var openWindows = [WindowID(scheme: .domestic, number: 1)]
    var windows: [WindowPositions]

    // Days, ascending
    var days: [Day] = []
    var closedDays: [Day] = []
    /// The last day ever opened, or 0.
    var newestDay = BusinessDay(0)

    // Credits
    let openCredits: OpenCredits
    /// By destination's and source's number.
    var outgoing: [OutgoingStream]
    var incoming: [IncomingStream]

    public internal(set) var counters = LedgerCounters()
    let scratch = RecordScratch()

    /// A ledger before its first entry: no day open, directory empty.
    public init(
        shard: ShardID, cluster: ClusterID, slots: SlotMap, shardCount: Int,
        calendar: ClearingCalendar = ClearingCalendar(), options: LedgerOptions = LedgerOptions()
    ) {
        precondition(!shard.isDirectory && Int(shard.rawValue) <= shardCount, "a clearing shard of this cluster")
        precondition(shardCount <= Limits.maximumShards, "at most \(Limits.maximumShards) shards")
        self.shard = shard
        self.cluster = cluster
        self.slots = slots
        self.shardCount = shardCount
        self.options = options
        self.calendar = calendar
        fingerprint = Fingerprint(cluster: cluster, mask: options.fingerprintMask)
        hashKey = SipHash(cluster: cluster)
        windows = [WindowPositions(id: WindowID(scheme: .domestic, number: 1), accountCount: 0)]
        openCredits = OpenCredits(shardCount: shardCount, window: WindowID(scheme: .domestic, number: 1))
        outgoing = Array(repeating: OutgoingStream(), count: shardCount + 1)
        incoming = Array(repeating: IncomingStream(), count: shardCount + 1)
    }

    /// What is wrong with a payload that shall become an entry of a clearing shard; `nil` for a good one. Never traps.
    public static func validate(_ payload: UnsafeRawBufferPointer) -> EntryError? {
        EntryView.fault(in: payload, group: .clearing)
    }

    /// The window of the domestic scheme that is open.
    public var currentWindow: WindowID { openWindows.first { $0.scheme == .domestic }! }

    /// The leader's counts for the entries that it will propose next.
    public var sequence: EntrySequence {
        EntrySequence(ledgerTime: lastLedgerTime, nextOrdinal: nextOrdinal, window: currentWindow)
    }

    /// Whether this log index is where all replicas take a checkpoint. Ask after each apply; `encodeCheckpoint`
    /// resets it.
    public var checkpointDue: Bool {
        let interval = UInt64(options.checkpointIntervalBytes)
        return appliedBytes / interval > checkpointedBytes / interval
    }
}
