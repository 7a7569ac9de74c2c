import ClearingModel

/// Asks where a participant stands. Sent to the leader of its home shard; answered by a confirmed read.
public struct PositionRequest: ClientMessage, Hashable {
    public static let frameType = FrameType.position

    public var participant: ParticipantID
    public init(participant: ParticipantID) { self.participant = participant }

    public func encodeBody(into writer: inout WireWriter) { writer.id(participant) }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> PositionRequest {
        var reader = WireReader(body)
        let participant: ParticipantID = try reader.id()
        try reader.expectEnd()
        return PositionRequest(participant: participant)
    }
}

/// What a participant posted in one settlement window; money in minor units.
public struct PositionRow: Hashable, Sendable {
    public var window: WindowID
    public var currency: UInt16
    public var postedDebits: Int128
    public var postedCredits: Int128

    public init(window: WindowID, currency: UInt16, postedDebits: Int128, postedCredits: Int128) {
        self.window = window
        self.currency = currency
        self.postedDebits = postedDebits
        self.postedCredits = postedCredits
    }
}

/// A participant's position as its home shard holds it after `applied`.
///
/// `available = Σ posted credits + settled + funding + limit − Σ posted debits − reserved`.
public struct PositionReply: ClientMessage, Hashable {
    public static let frameType = FrameType.positionReply
    public static let maximumRows = 1_024

    public var participant: ParticipantID
    public var shard: ShardID
    /// `nil` = the shard knows no such participant; all money fields are 0 then.
    public var status: ParticipantStatus?
    public var currency: UInt16
    public var applied: LogIndex
    public var directoryVersion: DirectoryVersion
    /// Sum of the settled windows' nets.
    public var settled: Int128
    public var funding: UInt64
    public var limit: UInt64
    public var reserved: Int128
    public var available: Int128
    /// Windows that are not settled yet, oldest first.
    public var rows: [PositionRow]

    public init(
        participant: ParticipantID, shard: ShardID, status: ParticipantStatus?, currency: UInt16, applied: LogIndex,
        directoryVersion: DirectoryVersion, settled: Int128 = 0, funding: UInt64, limit: UInt64,
        reserved: Int128 = 0, available: Int128, rows: [PositionRow]
    ) {
        self.participant = participant
        self.shard = shard
        self.status = status
        self.currency = currency
        self.applied = applied
        self.directoryVersion = directoryVersion
        self.settled = settled
        self.funding = funding
        self.limit = limit
        self.reserved = reserved
        self.available = available
        self.rows = rows
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.id(participant)
        writer.id(shard)
        writer.u8(status?.rawValue ?? 0)
        writer.u8(0)
        writer.u16(currency)
        writer.u16(0)
        writer.id(applied)
        writer.id(directoryVersion)
        writer.sum(settled)
        writer.u64(funding)
        writer.u64(limit)
        writer.sum(reserved)
        writer.sum(available)
        writer.u32(UInt32(rows.count))
        for row in rows {
            writer.id(row.window.scheme)
            writer.u16(row.currency)
            writer.u32(row.window.number)
            writer.sum(row.postedDebits)
            writer.sum(row.postedCredits)
        }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> PositionReply {
        var reader = WireReader(body)
        let participant: ParticipantID = try reader.id()
        let shard: ShardID = try reader.id()
        let statusCode = try reader.u8()
        let status = ParticipantStatus(rawValue: statusCode)
        guard status != nil || statusCode == 0 else {
            throw .invalid(field: "participant status", value: UInt64(statusCode))
        }
        try reader.zeros(1, "position padding")
        let currency = try reader.u16()
        try reader.zeros(2, "position padding")
        var reply = PositionReply(
            participant: participant, shard: shard, status: status, currency: currency, applied: try reader.id(),
            directoryVersion: try reader.id(), settled: try reader.sum(), funding: try reader.u64(),
            limit: try reader.u64(), reserved: try reader.sum(), available: try reader.sum(), rows: [])
        let count = try reader.count("position rows", atMost: maximumRows)
        for _ in 0..<count {
            let scheme: SchemeID = try reader.id()
            let rowCurrency = try reader.u16()
            reply.rows.append(
                PositionRow(
                    window: WindowID(scheme: scheme, number: try reader.u32()), currency: rowCurrency,
                    postedDebits: try reader.sum(), postedCredits: try reader.sum()))
        }
        try reader.expectEnd()
        return reply
    }
}
