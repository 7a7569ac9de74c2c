import ClearingModel

/// A participant or mandate as the directory changes it.
enum DirectoryItem: Hashable {
    case participant(Participant)
    case mandate(Mandate)

    /// What identifies the record that a change replaces.
    enum Key: Hashable {
        case participant(ParticipantID)
        case mandate(instructing: ParticipantID, debtors: Mandate.Debtors)
    }

    var key: Key {
        switch self {
        case .participant(let one): .participant(one.id)
        case .mandate(let one): .mandate(instructing: one.instructing, debtors: one.debtors)
        }
    }
}

extension ByteReader {
    /// 28 bytes.
    mutating func participant() throws(DecodeError) -> Participant {
        let id: UInt32 = try take("a participant")
        let kind: UInt8 = try take("a participant's kind")
        let status: UInt8 = try take("a participant's status")
        guard let kind = ParticipantKind(rawValue: kind), let status = ParticipantStatus(rawValue: status) else {
            throw DecodeError("participant \(id) has kind \(kind) and status \(status)")
        }
        return Participant(
            id: ParticipantID(id), kind: kind, status: status, currency: try take("a participant's currency"),
            limit: try take("a participant's limit"), funding: try take("a participant's funding"),
            sponsor: ParticipantID(try take("a participant's sponsor")))
    }

    /// 36 bytes.
    mutating func mandate() throws(DecodeError) -> Mandate {
        let instructing: UInt32 = try take("a mandate")
        let scope: UInt8 = try take("a mandate's scope")
        let revoked: UInt8 = try take("a mandate's state")
        try zero(UInt16.self, "a mandate's reserved field")
        let value: UInt32 = try take("a mandate's debtor")
        let debtors: Mandate.Debtors
        switch scope {
        case 1: debtors = .one(ParticipantID(value))
        case 2:
            guard let kind = UInt8(exactly: value).flatMap(ParticipantKind.init(rawValue:)) else {
                throw DecodeError("a mandate over participants of kind \(value)")
            }
            debtors = .every(kind)
        default: throw DecodeError("a mandate of scope \(scope)")
        }
        guard revoked <= 1 else { throw DecodeError("a mandate's state is \(revoked)") }
        return Mandate(
            instructing: ParticipantID(instructing), debtors: debtors,
            kinds: InstructionKinds(rawValue: try take("a mandate's kinds")),
            maximumAmount: try take("a mandate's maximum"), dailyCap: try take("a mandate's cap"), revoked: revoked == 1
        )
    }

    /// The body of a directoryChange section.
    mutating func directoryChanges() throws(DecodeError) -> [DirectoryItem] {
        let count = try count("directory changes", atMost: 2_000)
        var items: [DirectoryItem] = []
        for _ in 0..<count { items.append(try directoryItem()) }
        try end("a directory change")
        return items
    }

    /// A tag and the 28 or 36 bytes behind it.
    mutating func directoryItem() throws(DecodeError) -> DirectoryItem {
        let tag: UInt8 = try take("a directory change")
        switch tag {
        case 1: return .participant(try participant())
        case 2: return .mandate(try mandate())
        default: throw DecodeError("a directory change with tag \(tag)")
        }
    }
}

/// A page of the directory that a shard logged.
struct DirectoryPage {
    var after: UInt64
    var through: UInt64
    var isComplete: Bool
    var calendar: ClearingCalendar
    var items: [(version: UInt64, item: DirectoryItem)]

    init(_ body: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = ByteReader(body)
        after = try reader.take("a directory page")
        through = try reader.take("a directory page")
        let flags: UInt32 = try reader.take("a directory page's flags")
        let participants = try reader.count("participants of a page", atMost: Limits.maximumParticipants)
        let mandates = try reader.count("mandates of a page", atMost: Limits.maximumMandates)
        try reader.zero(UInt32.self, "a directory page's reserved field")
        guard through >= after, flags <= 1 else {
            throw DecodeError("a directory page from \(after) to \(through) with flags \(flags)")
        }
        isComplete = flags == 1
        let zone: Int32 = try reader.take("a calendar")
        let opens: UInt16 = try reader.take("a calendar")
        let closes: UInt16 = try reader.take("a calendar")
        guard (-840...840).contains(zone), opens < 1_440, closes < opens else {
            throw DecodeError("a calendar out of bounds")
        }
        calendar = ClearingCalendar(zoneOffsetMinutes: zone, nextDayOpens: opens, previousDayCloses: closes)
        items = []
        var last = after
        let through = through
        func version() throws(DecodeError) -> UInt64 {
            let version: UInt64 = try reader.take("a directory version")
            guard version > last, version <= through else {
                throw DecodeError("directory version \(version) out of order")
            }
            last = version
            return version
        }
        for _ in 0..<participants { items.append((try version(), .participant(try reader.participant()))) }
        last = after
        for _ in 0..<mandates { items.append((try version(), .mandate(try reader.mandate()))) }
        try reader.end("a directory page")
    }
}
