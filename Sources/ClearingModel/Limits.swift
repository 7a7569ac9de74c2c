/// Every bound of the system in one place. Relations between them are asserted once, when a process starts.
public enum Limits {
    // Records and frames
    /// Records in one request, and in one entry.
    public static let maximumRecords = 8_192
    /// Bytes of an entry's payload: header, records and sections.
    public static let maximumEntryBytes = 1 << 20 + 192 << 10
    /// Bytes of an entry's sections (credits, confirmations, directory changes) at most.
    public static let maximumSectionBytes = 128 << 10
    /// Bytes of one frame, its header included.
    public static let maximumFrameBytes = maximumEntryBytes + 64 << 10
    /// Request bytes that one connection may have undecided before it is no longer read.
    public static let connectionWindowBytes = 8 << 20
    /// Requests that one connection may have undecided.
    public static let connectionWindowRequests = 65_536
    /// Ids that queries may have a node look up at a time, over all connections; further ones get `overloaded`. A
    /// position counts as one.
    public static let maximumReads = 32_768
    /// Undecided records in one shard before new requests get `overloaded`.
    public static let shardQueueRecords = 262_144

    // Cluster
    public static let maximumNodes = 64
    public static let maximumShards = 256
    public static let maximumReplicas = 7
    public static let maximumParticipants = 100_000
    public static let maximumMandates = 200_000

    // Money
    /// Largest single amount, in minor units: 10 billion units of a two-decimal currency.
    public static let maximumAmount: UInt64 = 1_000_000_000_000
    /// Largest limit or funding of one participant, in minor units.
    public static let maximumParticipantLimit: UInt64 = 1 << 60

    // Raft
    public static let heartbeatInterval = MonotonicTime.Span.milliseconds(50)
    /// Election time-outs are drawn from this range.
    public static let electionTimeoutMinimum = MonotonicTime.Span.milliseconds(300)
    public static let electionTimeoutMaximum = MonotonicTime.Span.milliseconds(600)
    /// A peer seen to die makes its followers pre-vote after a random span up to this.
    public static let disconnectElectionDelayMaximum = MonotonicTime.Span.milliseconds(15)
    /// Entries sent to one follower and not yet acknowledged.
    public static let maximumInflightEntries = 64
    public static let maximumInflightBytes = 16 << 20
    /// Bytes of recent entries that a replica keeps in memory for its followers.
    public static let entryCacheBytes = 32 << 20
    /// A leader keeps this many of its own proposals uncommitted before it closes no further entry.
    public static let maximumUncommittedEntries = 16
    /// Entries that a leader has proposed and not yet applied before it lets the next one grow instead of closing it.
    public static let pipelineDepth = 2
    public static let preferredLeaderStable = MonotonicTime.Span.seconds(10)
    public static let leadershipTransferTimeout = MonotonicTime.Span.milliseconds(300)
    public static let leaderSyncWarning = MonotonicTime.Span.milliseconds(500)
    public static let leaderSyncFailure = MonotonicTime.Span.seconds(1)
    /// A leader whose clock is further than this from its voters' median stamps nothing and transfers, in microseconds.
    public static let clockTolerance: UInt64 = 500_000

    // Log
    public static let segmentBytes = 256 << 20
    public static let groupAlignment = 4_096
    /// Log bytes written and not yet synced, over all shards of a node.
    public static let maximumUnsyncedBytes = 64 << 20
    /// Bytes of entries a shard applies between two checkpoints.
    public static let checkpointIntervalBytes = 128 << 20
    /// From one request for old entries to the next, on a node with little else to do and on a busy one. A reply has up to
    /// 512 KiB: some 25 MiB and 1 MiB a second.
    public static let backfillInterval = MonotonicTime.Span.milliseconds(20)
    public static let backfillBusyInterval = MonotonicTime.Span.milliseconds(500)
    /// A node is busy that applies more records a second, or has more bytes on their way to the disk.
    public static let backfillBusyRecords: UInt64 = 5_000
    public static let backfillBusyBytes = 1 << 20
    /// Free bytes below which a node takes no new work.
    public static let diskReserveBytes = 1 << 30

    // Credits
    public static let flushInterval = MonotonicTime.Span.milliseconds(5)
    public static let maximumUnconfirmedBatches = 8
    public static let creditResendInterval = MonotonicTime.Span.milliseconds(200)
    public static let maximumOpenDays = 3

    /// Stops the process where two bounds contradict each other. Call once at start.
    public static func check() {
        precondition(MemoryLayout<Instruction>.size == Instruction.size && MemoryLayout<Instruction>.stride == 128)
        precondition(MemoryLayout<Decision>.size == Decision.size && MemoryLayout<Decision>.stride == 32)
        precondition(UInt16(1).littleEndian == 1, "records are little endian in memory; this machine is not")
        precondition(maximumRecords * Instruction.size + maximumSectionBytes < maximumEntryBytes)
        precondition(maximumEntryBytes < maximumFrameBytes && maximumFrameBytes < segmentBytes / 16)
        precondition(maximumInflightBytes >= maximumEntryBytes && entryCacheBytes >= maximumInflightBytes)
        precondition(maximumReads >= maximumRecords)
        precondition(heartbeatInterval * 4 <= electionTimeoutMinimum)
        precondition(electionTimeoutMinimum < electionTimeoutMaximum)
        precondition(leaderSyncWarning < leaderSyncFailure)
        precondition(segmentBytes % groupAlignment == 0 && maximumUnsyncedBytes > maximumEntryBytes)
        // A position sums at most 2^40 records of the largest amount on either side and stays within Int128 arithmetic.
        precondition(maximumAmount < 1 << 40)
    }
}
