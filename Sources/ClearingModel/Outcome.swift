/// What the log decided about one record. Raw values stand in results, in the index and in journals and never change.
public enum Outcome: UInt8, Sendable, CaseIterable {
    /// Irrevocable: the debtor owes the amount, the creditor will be credited exactly once.
    case accepted = 1
    /// Never seen before somebody asked; now final and never payable.
    case voided = 2
    case insufficientFunds = 10
    case amountZero = 11
    case amountOverLimit = 12
    case currencyNotAccepted = 13
    case mandateLimitExceeded = 14
    case noMandate = 15
    case debtorSuspended = 16
    case creditorSuspended = 17
    case debtorUnknown = 18
    case creditorUnknown = 19
    case instructingUnknown = 20
    case sameParticipant = 21
    case dayNotOpen = 22
    case acceptByPassed = 23
    case unsupported = 24
    case instructingSuspended = 25
    /// A sum would overflow; cannot happen within `Limits`, and is refused rather than wrapped if it does.
    case positionOverflow = 26

    /// What a participant's system may do with this outcome.
    public enum Disposition: String, Sendable {
        /// Nothing changes it.
        case final
        /// The same business payment may be tried again under a new id.
        case retryable
        /// A guided payer can repair the cause and resume (failure guidance).
        case resumable
    }

    /// The row of the golden table: name in JSON and journals, ISO 20022 external status reason code, disposition.
    public var row: (name: String, isoReason: String?, disposition: Disposition) {
        switch self {
        case .accepted: ("accepted", nil, .final)
        case .voided: ("voided", "DT01", .final)
        case .insufficientFunds: ("insufficientFunds", "AM04", .resumable)
        case .amountZero: ("amountZero", "AM01", .final)
        case .amountOverLimit: ("amountOverLimit", "AM23", .final)
        case .currencyNotAccepted: ("currencyNotAccepted", "AM03", .final)
        case .mandateLimitExceeded: ("mandateLimitExceeded", "AM14", .resumable)
        case .noMandate: ("noMandate", "AG01", .final)
        case .debtorSuspended: ("debtorSuspended", "AG10", .retryable)
        case .creditorSuspended: ("creditorSuspended", "AG11", .retryable)
        case .debtorUnknown: ("debtorUnknown", "AC04", .final)
        case .creditorUnknown: ("creditorUnknown", "AC05", .final)
        case .instructingUnknown: ("instructingUnknown", "AG01", .final)
        case .sameParticipant: ("sameParticipant", "AG01", .final)
        case .dayNotOpen: ("dayNotOpen", "DT01", .retryable)
        case .acceptByPassed: ("acceptByPassed", "AB06", .retryable)
        case .unsupported: ("unsupported", "AG03", .final)
        case .instructingSuspended: ("instructingSuspended", "AG10", .retryable)
        case .positionOverflow: ("positionOverflow", "AM23", .final)
        }
    }

    public var name: String { row.name }
    public var isoReason: String? { row.isoReason }
    public var isAccepted: Bool { self == .accepted }
    /// Whether it is the id's for ever. Nothing is kept of an id whose day is not open: it is the answer of one try, and
    /// the same id may be accepted once its day is open.
    public var isKept: Bool { self != .dayNotOpen }
}

/// How a record was answered: decided now, decided before, or refused because its id means something else.
public enum Answer: UInt8, Sendable, CaseIterable {
    /// This record decided the id.
    case decided = 0
    /// The id was decided before with the same body: `outcome` and place are the original's.
    case duplicate = 1
    /// The id was decided before with another body (AM05); `outcome` and place are the original's.
    case idConflict = 2
    /// Another id has this id's fingerprint: nothing is decided, choose another sequence.
    case chooseAnotherSequence = 3
    /// Query only: the id has no outcome yet. Not final; `queryOrVoid` makes it so.
    case notFound = 4
    /// The id's day is older than the records that are kept: whether it was decided then is not known here.
    case expired = 5
    /// Inside a node only: the index knows the fingerprint, and the full record has still to be compared.
    case needsComparison = 255
}

/// The answer about one record, 32 bytes in memory and on the wire.
///
/// `index`, `slot`, `window` and `ledgerTime` say where and when the id was decided: enough to find it in the log.
public struct Decision: Hashable, Sendable {
    /// Bytes on the wire.
    public static let size = 32

    public var outcomeCode: UInt8
    public var answerCode: UInt8
    /// The record's place in its entry, from 0.
    public var slot: UInt16
    /// Number of the settlement window (scheme in `scheme`).
    public var window: UInt32
    /// Log index of the entry; while `answer` is `needsComparison`, the ordinal of the earlier record.
    public var index: UInt64
    public var ledgerTime: WallTime
    public var scheme: SchemeID
    public var shard: ShardID
    @usableFromInline var reserved: UInt32 = 0

    @inlinable
    public init(
        outcome: Outcome, answer: Answer, slot: UInt16, window: WindowID, index: LogIndex, shard: ShardID,
        ledgerTime: WallTime
    ) {
        outcomeCode = outcome.rawValue
        answerCode = answer.rawValue
        self.slot = slot
        self.window = window.number
        self.index = index.rawValue
        self.ledgerTime = ledgerTime
        scheme = window.scheme
        self.shard = shard
        reserved = 0
    }

    /// `nil` for a code that this version does not know.
    @inlinable public var outcome: Outcome? { Outcome(rawValue: outcomeCode) }
    @inlinable public var answer: Answer? { Answer(rawValue: answerCode) }
    public var windowID: WindowID { WindowID(scheme: scheme, number: window) }
}

/// Why a request was refused without an outcome: says nothing about the ids in it, which may be asked again. After
/// `notLeader`, `unavailable` and `shuttingDown` they may still be decided by the next leader.
public enum RefusalCode: UInt8, Error, Sendable, CaseIterable {
    case malformed = 1
    case notSupported = 2
    /// The certificate does not name the instructing participant, or its role may not do this.
    case unauthorised = 3
    case wrongShard = 4
    /// The node does not lead the shard; the refusal names the leader where it is known.
    case notLeader = 5
    case overloaded = 6
    case diskFull = 7
    /// The shard has no leader that can commit at the moment.
    case unavailable = 8
    case chooseAnotherSequence = 9
    case shuttingDown = 10
    case unsupportedVersion = 11
    case frameTooLarge = 12
    case wrongCluster = 13

    /// Whether the same request may succeed later or elsewhere without change.
    public var isTransient: Bool {
        switch self {
        case .notLeader, .overloaded, .diskFull, .unavailable, .shuttingDown: true
        default: false
        }
    }

    /// The name in JSON, journals and log lines.
    public var name: String { "\(self)" }
}
