import ClearingModel
import Wire

/// What identifies a mandate: there is at most one for each pair of instructing participant and debtors.
struct MandateKey: Hashable, Comparable {
    var instructing: UInt32
    /// 0: one debtor; 1: every participant of a kind.
    var scope: UInt8
    /// The debtor's id or the kind.
    var value: UInt32

    init(_ mandate: Mandate) {
        instructing = mandate.instructing.rawValue
        switch mandate.debtors {
        case .one(let debtor):
            scope = 0
            value = debtor.rawValue
        case .every(let kind):
            scope = 1
            value = UInt32(kind.rawValue)
        }
    }

    static func < (a: MandateKey, b: MandateKey) -> Bool {
        (a.instructing, a.scope, a.value) < (b.instructing, b.scope, b.value)
    }
}

/// A participant or mandate with the version of its last change.
public struct Versioned<Record: Hashable & Sendable>: Hashable, Sendable {
    public var version: DirectoryVersion
    public var record: Record
    public init(version: DirectoryVersion, record: Record) {
        self.version = version
        self.record = record
    }
}

/// One page of changes from the directory to a shard: every record whose last change lies in (`after`, `through`].
///
/// A shard applies a page only where `after` is its cursor, and has version `through` in full once a page is
/// `complete`; docs/ENTRIES.md says why a page before that is no consistent version.
public struct DirectoryUpdate: Hashable, Sendable {
    static let headerSize = 40

    public var after: DirectoryVersion
    public var through: DirectoryVersion
    /// Nothing changed in the directory beyond `through` when the page was made.
    public var isComplete: Bool
    public var calendar: ClearingCalendar
    /// Ascending by version.
    public var participants: [Versioned<Participant>]
    /// Ascending by version.
    public var mandates: [Versioned<Mandate>]

    public init(
        after: DirectoryVersion, through: DirectoryVersion, isComplete: Bool, calendar: ClearingCalendar,
        participants: [Versioned<Participant>], mandates: [Versioned<Mandate>]
    ) {
        self.after = after
        self.through = through
        self.isComplete = isComplete
        self.calendar = calendar
        self.participants = participants
        self.mandates = mandates
    }

    public func encode(into writer: inout WireWriter) {
        writer.id(after)
        writer.id(through)
        writer.u32(isComplete ? 1 : 0)
        writer.u32(UInt32(participants.count))
        writer.u32(UInt32(mandates.count))
        writer.u32(0)
        writer.encode(calendar)
        for one in participants {
            writer.id(one.version)
            writer.participant(one.record)
        }
        for one in mandates {
            writer.id(one.version)
            writer.mandate(one.record)
        }
    }

    /// Reads a page that fills `bytes`.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
        var reader = WireReader(bytes)
        let after: DirectoryVersion = try reader.id()
        let through: DirectoryVersion = try reader.id()
        guard through >= after else { throw .invalid(field: "directory version", value: through.rawValue) }
        let flags = try reader.u32()
        guard flags <= 1 else { throw .invalid(field: "directory update flags", value: UInt64(flags)) }
        let participantCount = try reader.count("participants", atMost: Limits.maximumParticipants)
        let mandateCount = try reader.count("mandates", atMost: Limits.maximumMandates)
        let reserved = try reader.u32()
        guard reserved == 0 else { throw .invalid(field: "directory update reserved", value: UInt64(reserved)) }
        calendar = try reader.calendar()
        let wanted =
            participantCount * WireWriter.versionedParticipantSize
            + mandateCount * WireWriter.versionedMandateSize
        guard reader.left >= wanted else { throw .truncated(wanted: wanted, left: reader.left) }
        participants = []
        participants.reserveCapacity(participantCount)
        var last = after
        for _ in 0..<participantCount {
            let version = try Self.version(&reader, last: &last, through: through)
            participants.append(Versioned(version: version, record: try reader.participant()))
        }
        mandates = []
        mandates.reserveCapacity(mandateCount)
        last = after
        for _ in 0..<mandateCount {
            let version = try Self.version(&reader, last: &last, through: through)
            mandates.append(Versioned(version: version, record: try reader.mandate()))
        }
        try reader.expectEnd()
        self.after = after
        self.through = through
        isComplete = flags == 1
    }

    private static func version(
        _ reader: inout WireReader, last: inout DirectoryVersion, through: DirectoryVersion
    ) throws(WireError) -> DirectoryVersion {
        let version: DirectoryVersion = try reader.id()
        guard version > last, version <= through else {
            throw .invalid(field: "record version", value: version.rawValue)
        }
        last = version
        return version
    }
}

extension WireWriter {
    /// Bytes of a participant and of a mandate behind its version.
    static var versionedParticipantSize: Int { 8 + 28 }
    static var versionedMandateSize: Int { 8 + 36 }

    mutating func encode(_ calendar: ClearingCalendar) {
        u32(UInt32(bitPattern: calendar.zoneOffsetMinutes))
        u16(calendar.nextDayOpens)
        u16(calendar.previousDayCloses)
    }
}

extension WireReader {
    mutating func calendar() throws(WireError) -> ClearingCalendar {
        let zone = Int32(bitPattern: try u32())
        let opens = try u16()
        let closes = try u16()
        // A zone within ±14 h, both times within a day, and a day closes before the next but one opens.
        guard (-840...840).contains(zone), opens < 1_440, closes < opens else {
            throw .invalid(field: "calendar", value: UInt64(opens))
        }
        return ClearingCalendar(zoneOffsetMinutes: zone, nextDayOpens: opens, previousDayCloses: closes)
    }
}
