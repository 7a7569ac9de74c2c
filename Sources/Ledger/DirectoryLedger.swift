import ClearingModel
import Wire

/// The deterministic state machine of group 0: participants, mandates and the calendar, every record with the version
/// of its last change.
///
/// A command is one `directoryChange` section. It is applied whole or, where any of its changes has a fault, not at
/// all; each change that is applied gets a version of its own, so that "everything after version v" is a place in the
/// order of changes.
public final class DirectoryLedger {
    public let cluster: ClusterID
    public let hashKey: SipHash
    public let calendar: ClearingCalendar

    public internal(set) var appliedIndex = LogIndex.zero
    public internal(set) var appliedTerm = Term.zero
    public internal(set) var lastLedgerTime = WallTime.zero
    /// Version of the last change.
    public internal(set) var version = DirectoryVersion.zero
    /// Commands ever applied, taken or not.
    public internal(set) var commandCount: UInt64 = 0
    var appliedBytes: UInt64 = 0
    var checkpointedBytes: UInt64 = 0
    let options: LedgerOptions

    var participants: [Versioned<Participant>] = []
    var participantPositions: [ParticipantID: Int] = [:]
    var mandates: [Versioned<Mandate>] = []
    var mandatePositions: [MandateKey: Int] = [:]
    /// Changes in order of version. One that a later change of the same record overtook is stale and skipped.
    var history: [Change] = []

    struct Change {
        var version: DirectoryVersion
        var isMandate: Bool
        var position: Int
    }

    public init(
        cluster: ClusterID, calendar: ClearingCalendar = ClearingCalendar(), options: LedgerOptions = LedgerOptions()
    ) {
        self.cluster = cluster
        self.calendar = calendar
        self.options = options
        hashKey = SipHash(cluster: cluster)
    }

    /// What is wrong with a payload that shall become an entry of the directory; `nil` for a good one. Never traps.
    public static func validate(_ payload: UnsafeRawBufferPointer) -> EntryError? {
        EntryView.fault(in: payload, group: .directory)
    }

    /// The leader's counts for the entries that it will propose next.
    public var sequence: EntrySequence {
        EntrySequence(
            ledgerTime: lastLedgerTime, nextOrdinal: .zero, window: WindowID(scheme: .domestic, number: 1))
    }

    public var checkpointDue: Bool {
        let interval = UInt64(options.checkpointIntervalBytes)
        return appliedBytes / interval > checkpointedBytes / interval
    }

    public var participantCount: Int { participants.count }
    public var mandateCount: Int { mandates.count }

    public func participant(_ id: ParticipantID) -> Versioned<Participant>? {
        participantPositions[id].map { participants[$0] }
    }

    /// The mandate for this instructing participant and these debtors.
    public func mandate(_ instructing: ParticipantID, _ debtors: Mandate.Debtors) -> Versioned<Mandate>? {
        let key = MandateKey(Mandate(instructing: instructing, debtors: debtors, maximumAmount: 0))
        return mandatePositions[key].map { mandates[$0] }
    }

    /// Participants, ascending by id.
    public var participantList: [Participant] { participants.map(\.record).sorted { $0.id < $1.id } }

    /// Mandates, ascending by instructing participant and debtors.
    public var mandateList: [Mandate] { mandates.map(\.record).sorted { MandateKey($0) < MandateKey($1) } }

    /// A page of the list in that order; the request's cursor counts items.
    public func list(_ request: DirectoryListRequest) -> DirectoryListReply {
        func page<Item>(_ items: [Item], _ change: (Item) -> DirectoryChange) -> DirectoryListReply {
            let start = Int(min(request.cursor, UInt64(items.count)))
            let end = min(start + request.maximumItems, items.count)
            return DirectoryListReply(
                version: version, next: end < items.count ? UInt64(end) : 0, items: items[start..<end].map(change))
        }
        switch request.subject {
        case .participants: return page(participantList) { .participant($0) }
        case .mandates: return page(mandateList) { .mandate($0) }
        }
    }
}
