/// What a participant is; decides what it may do.
public enum ParticipantKind: UInt8, Sendable, CaseIterable {
    case bank = 1, paymentInstitution, acquirer, fxProvider, crossBorderGateway, settlementAgent, regulator, indirect
}

/// Life cycle of a participant; nobody is ever deleted. A credit that was committed is posted in every state.
public enum ParticipantStatus: UInt8, Sendable, CaseIterable {
    case onboarding = 1, active, sendSuspended, suspended, closing

    /// May be the debtor of a new payment, or instruct one.
    @inlinable public var maySend: Bool { self == .active }
    /// May be the creditor of a new payment.
    @inlinable public var mayReceive: Bool { self == .active || self == .sendSuspended || self == .closing }
}

/// One participant as the directory holds it and every shard logs it.
public struct Participant: Hashable, Sendable {
    public var id: ParticipantID
    public var kind: ParticipantKind
    public var status: ParticipantStatus
    /// ISO 4217 numeric code of the one currency it settles in.
    public var currency: UInt16
    /// Largest net debit position, in minor units: the debtor may owe up to this much.
    public var limit: UInt64
    /// Money funded in advance at the settlement agent, in minor units.
    public var funding: UInt64
    /// The sponsor of an indirect participant; `none` otherwise.
    public var sponsor: ParticipantID

    public init(
        id: ParticipantID, kind: ParticipantKind, status: ParticipantStatus = .active, currency: UInt16,
        limit: UInt64, funding: UInt64 = 0, sponsor: ParticipantID = .none
    ) {
        self.id = id
        self.kind = kind
        self.status = status
        self.currency = currency
        self.limit = limit
        self.funding = funding
        self.sponsor = sponsor
    }
}

/// Who may instruct whose debits. Without one, an instructing participant other than the debtor gets `noMandate`
/// (AG01).
public struct Mandate: Hashable, Sendable {
    /// Whose accounts may be debited.
    public enum Debtors: Hashable, Sendable {
        case one(ParticipantID)
        /// Every participant of a kind.
        case every(ParticipantKind)
    }

    public var instructing: ParticipantID
    public var debtors: Debtors
    public var kinds: InstructionKinds
    /// Largest single amount in minor units.
    public var maximumAmount: UInt64
    /// Largest sum accepted per debtor and business day in minor units; 0 = no cap.
    public var dailyCap: UInt64
    /// A revoked mandate stays in the directory with this flag set.
    public var revoked: Bool

    public init(
        instructing: ParticipantID, debtors: Debtors, kinds: InstructionKinds = .payments, maximumAmount: UInt64,
        dailyCap: UInt64 = 0, revoked: Bool = false
    ) {
        self.instructing = instructing
        self.debtors = debtors
        self.kinds = kinds
        self.maximumAmount = maximumAmount
        self.dailyCap = dailyCap
        self.revoked = revoked
    }
}

/// The clearing calendar: when business days open and close (DOMAIN, "Money and identity").
public struct ClearingCalendar: Hashable, Sendable {
    /// Minutes east of UTC of the calendar's zone.
    public var zoneOffsetMinutes: Int32
    /// Minutes after midnight at which the next day opens (23:00) and the previous one closes (02:00).
    public var nextDayOpens: UInt16
    public var previousDayCloses: UInt16

    public init(zoneOffsetMinutes: Int32 = 480, nextDayOpens: UInt16 = 23 * 60, previousDayCloses: UInt16 = 2 * 60) {
        self.zoneOffsetMinutes = zoneOffsetMinutes
        self.nextDayOpens = nextDayOpens
        self.previousDayCloses = previousDayCloses
    }

    /// The business days that are open at `time`, ascending; two or one, never more than three.
    public func openDays(at time: WallTime) -> ClosedRange<BusinessDay> {
        let today = BusinessDay(at: time, offsetMinutes: Int(zoneOffsetMinutes))
        let start = today.start(offsetMinutes: Int(zoneOffsetMinutes))
        let minute = (time.rawValue - start.rawValue) / 60_000_000
        let first = minute < UInt64(previousDayCloses) ? BusinessDay(today.rawValue - 1) : today
        let last = minute >= UInt64(nextDayOpens) ? today.next : today
        return first...last
    }
}
