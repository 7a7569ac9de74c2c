import ClearingModel

/// What the audit says of a cluster.
public enum AuditVerdict: String, Sendable {
    /// Everything was looked at and holds.
    case valid
    /// Something does not hold.
    case invalid
    /// Nothing was found wrong, but not everything could be looked at.
    case unknown

    /// The exit code of the command.
    public var exitCode: Int32 {
        switch self {
        case .valid: 0
        case .invalid: 1
        case .unknown: 2
        }
    }
}

/// The result of `Auditor.run`.
public struct AuditReport: Sendable {
    /// One shard's replay.
    public struct Shard: Sendable {
        public var shard: ShardID
        /// Nodes whose copy of the log was read.
        public var replicas: Int
        /// Everything up to here is committed and was replayed.
        public var committed: LogIndex
        public var records: UInt64
        public var accepted: UInt64
        public var isComplete: Bool
    }

    /// All shards together, in one window and currency, in minor units.
    public struct Balance: Sendable {
        public var window: WindowID
        public var currency: UInt16
        public var debits: UInt128
        public var credits: UInt128
        public var inFlight: UInt128
    }

    public internal(set) var verdict = AuditVerdict.unknown
    /// Accepted payments in the committed logs.
    public internal(set) var payments: UInt64 = 0
    /// Records in the committed logs, whatever their outcome.
    public internal(set) var records: UInt64 = 0
    /// Records whose id had been decided before: they changed nothing.
    public internal(set) var repeated: UInt64 = 0
    /// Journal lines with a decision.
    public internal(set) var acknowledged: UInt64 = 0
    /// Of those, the ones that the committed log does not hold.
    public internal(set) var missing: UInt64 = 0
    /// Ids with two accepted decisions.
    public internal(set) var doubled: UInt64 = 0
    /// Σ |debits − credits − in flight| over windows and currencies, in minor units.
    public internal(set) var imbalance: UInt128 = 0
    /// Journal lines that were refused before the log.
    public internal(set) var refused: UInt64 = 0
    /// Journal lines without a reply, by what the log says of their ids.
    public internal(set) var unknownAccepted: UInt64 = 0
    public internal(set) var unknownRejected: UInt64 = 0
    public internal(set) var unknownNeverDecided: UInt64 = 0

    /// What does not hold, the first texts, and how many there are.
    public internal(set) var problems: [String] = []
    public internal(set) var problemCount = 0
    /// What could not be looked at.
    public internal(set) var unchecked: [String] = []
    public internal(set) var uncheckedCount = 0
    /// Damage that was made good from another replica, and the like.
    public internal(set) var notes: [String] = []
    public internal(set) var noteCount = 0

    public internal(set) var shards: [Shard] = []
    public internal(set) var balances: [Balance] = []
    public internal(set) var nodesRead = 0
    /// Checkpoints whose running hash was compared with the replay's.
    public internal(set) var checkpointsCompared = 0
    public internal(set) var bytesRead = 0
}
