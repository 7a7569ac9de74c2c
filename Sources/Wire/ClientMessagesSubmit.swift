import ClearingModel

/// The fixed part of a `submit` or `query` frame and of their replies, header included, laid out as on the wire: one
/// append instead of seven on the path of a payment.
struct RecordsFrameHead: BitwiseCopyable {
    static let size = 24

    var length: UInt32
    var type: UInt8
    var version = FrameHeader.version
    var reserved: UInt16 = 0
    var request: UInt64
    var shard: UInt16
    var flags: UInt16 = 0
    var count: UInt32

    init(_ type: FrameType, request: UInt64, shard: ShardID, count: Int, recordSize: Int) {
        precondition(count >= 1 && count <= Limits.maximumRecords, "a request carries 1 to 8,192 records")
        length = UInt32(Self.size + count * recordSize)
        self.type = type.rawValue
        self.request = request
        self.shard = shard.rawValue
        self.count = UInt32(count)
    }

    /// Reads the 8 bytes behind the header and returns the records in place.
    static func decode(
        _ body: UnsafeRawBufferPointer, recordSize: Int
    ) throws(WireError) -> (shard: ShardID, count: Int, records: UnsafeRawBufferPointer) {
        var reader = WireReader(body)
        let shard: ShardID = try reader.id()
        let flags = try reader.u16()
        guard flags == 0 else { throw .invalid(field: "request flags", value: UInt64(flags)) }
        let count = try reader.count("record count", atMost: Limits.maximumRecords)
        guard count >= 1 else { throw .invalid(field: "record count", value: 0) }
        let records = try reader.raw(count * recordSize)
        try reader.expectEnd()
        return (shard, count, records)
    }
}

/// A request to decide 1 to 8,192 records on one shard, read in place: the records are copied once, into the shard's
/// entry.
public struct Submit {
    public let shard: ShardID
    public let count: Int
    /// `count` × 128 bytes; valid as long as the frame's bytes are.
    public let records: UnsafeRawBufferPointer

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Submit {
        let (shard, count, records) = try RecordsFrameHead.decode(body, recordSize: Instruction.size)
        return Submit(shard: shard, count: count, records: records)
    }

    /// One record by value.
    @inlinable
    public subscript(_ index: Int) -> Instruction {
        precondition(index >= 0 && index < count, "record outside the request")
        return records.loadUnaligned(fromByteOffset: index * Instruction.size, as: Instruction.self)
    }

    /// Appends a frame with the records' bytes as they are.
    /// - Precondition: 1 to 8,192 whole records.
    public static func encode(
        request: UInt64, shard: ShardID, records: UnsafeRawBufferPointer, into writer: inout WireWriter
    ) {
        precondition(records.count % Instruction.size == 0, "a part of a record")
        writer.trivial(
            RecordsFrameHead(
                .submit, request: request, shard: shard, count: records.count / Instruction.size,
                recordSize: Instruction.size))
        writer.raw(records)
    }

    /// Appends a frame with one record.
    public static func encode(
        request: UInt64, shard: ShardID, _ instruction: Instruction, into writer: inout WireWriter
    ) {
        instruction.withBytes { encode(request: request, shard: shard, records: $0, into: &writer) }
    }

    public static func encode(
        request: UInt64, shard: ShardID, _ instructions: [Instruction], into writer: inout WireWriter
    ) {
        instructions.withUnsafeBytes { encode(request: request, shard: shard, records: $0, into: &writer) }
    }
}

/// The decisions of a `submit` or `query`, in the order of its records, read in place.
public struct Decisions {
    public let shard: ShardID
    public let count: Int
    /// `count` × 32 bytes; valid as long as the frame's bytes are.
    public let bytes: UnsafeRawBufferPointer

    /// Reads the body of a `submitReply` or `queryReply`.
    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Decisions {
        let (shard, count, bytes) = try RecordsFrameHead.decode(body, recordSize: Decision.size)
        return Decisions(shard: shard, count: count, bytes: bytes)
    }

    /// One decision by value; its codes may be of a later version: `outcome` and `answer` are `nil` then.
    @inlinable
    public subscript(_ index: Int) -> Decision {
        precondition(index >= 0 && index < count, "decision outside the reply")
        return bytes.loadUnaligned(fromByteOffset: index * Decision.size, as: Decision.self)
    }

    /// Appends a `submitReply` or `queryReply`.
    public static func encode(
        _ type: FrameType, request: UInt64, shard: ShardID, _ decisions: UnsafeBufferPointer<Decision>,
        into writer: inout WireWriter
    ) {
        writer.trivial(
            RecordsFrameHead(
                type, request: request, shard: shard, count: decisions.count, recordSize: Decision.size))
        writer.raw(UnsafeRawBufferPointer(decisions))
    }

    /// Appends a reply cut from an entry's decisions.
    public static func encode(
        _ type: FrameType, request: UInt64, shard: ShardID, _ decisions: [Decision], _ range: Range<Int>,
        into writer: inout WireWriter
    ) {
        decisions.withUnsafeBufferPointer {
            encode(
                type, request: request, shard: shard, UnsafeBufferPointer(rebasing: $0[range]), into: &writer)
        }
    }
}

/// The reply to a `submit`: how each record was decided.
public enum SubmitReply {
    public static func encode(
        request: UInt64, shard: ShardID, _ decisions: [Decision], _ range: Range<Int>, into writer: inout WireWriter
    ) {
        Decisions.encode(.submitReply, request: request, shard: shard, decisions, range, into: &writer)
    }
}

/// A question what became of 1 to 8,192 ids of one shard; a read, never logged. Read in place.
public struct Query {
    public static let idSize = 16

    public let shard: ShardID
    public let count: Int
    public let ids: UnsafeRawBufferPointer

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Query {
        let (shard, count, ids) = try RecordsFrameHead.decode(body, recordSize: idSize)
        return Query(shard: shard, count: count, ids: ids)
    }

    public subscript(_ index: Int) -> TransactionID {
        precondition(index >= 0 && index < count, "id outside the request")
        return ids.loadUnaligned(fromByteOffset: index * Self.idSize, as: TransactionID.self)
    }

    public static func encode(
        request: UInt64, shard: ShardID, _ ids: [TransactionID], into writer: inout WireWriter
    ) {
        writer.trivial(
            RecordsFrameHead(.query, request: request, shard: shard, count: ids.count, recordSize: idSize))
        ids.withUnsafeBytes { writer.raw($0) }
    }
}

/// The reply to a `query`: answers `decided`, `notFound` or `expired`, in the order of the ids.
public enum QueryReply {
    public static func encode(
        request: UInt64, shard: ShardID, _ decisions: [Decision], into writer: inout WireWriter
    ) {
        Decisions.encode(.queryReply, request: request, shard: shard, decisions, 0..<decisions.count, into: &writer)
    }
}

/// The request has no outcome to tell: why, where to go instead and when to try again. Ends the request whose id its frame
/// repeats. Where it is `inDoubt` the records may still be decided, as a leader's that lost its shard after it had logged them.
public struct Refusal: ClientMessage, Hashable {
    public static let frameType = FrameType.refusal

    public var code: RefusalCode
    /// The refusing node had put the records into its log: another leader may still commit them. Otherwise this try has
    /// left no trace.
    public var inDoubt: Bool
    public var shard: ShardID
    /// The record that caused it, counted from 0; `nil` where the request as a whole is refused.
    public var record: Int?
    /// Wait this long before the same request is sent again; 0 = no need to wait.
    public var retryAfterMilliseconds: UInt32
    /// The shard's leader as the refusing node knows it.
    public var leader: NodeID?
    /// `host:port` of the leader; empty where unknown.
    public var leaderAddress: String
    /// What is wrong and what to do about it, for people.
    public var message: String

    public init(
        _ code: RefusalCode, inDoubt: Bool = false, shard: ShardID = .directory, record: Int? = nil,
        retryAfterMilliseconds: UInt32 = 0, leader: NodeID? = nil, leaderAddress: String = "", message: String = ""
    ) {
        self.code = code
        self.inDoubt = inDoubt
        self.shard = shard
        self.record = record
        self.retryAfterMilliseconds = retryAfterMilliseconds
        self.leader = leader
        self.leaderAddress = leaderAddress
        self.message = message
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.u8(code.rawValue)
        writer.u8(inDoubt ? 1 : 0)
        writer.id(shard)
        writer.u32(record.map { UInt32($0) } ?? .max)
        writer.u32(retryAfterMilliseconds)
        writer.optionalNode(leader)
        writer.text(leaderAddress)
        writer.text(message)
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Refusal {
        var reader = WireReader(body)
        let code: RefusalCode = try reader.value("refusal code")
        let doubt = try reader.u8()
        guard doubt <= 1 else { throw .invalid(field: "refusal in doubt", value: UInt64(doubt)) }
        let shard: ShardID = try reader.id()
        let record = try reader.u32()
        guard record == .max || record < Limits.maximumRecords else {
            throw .invalid(field: "refused record", value: UInt64(record))
        }
        let refusal = Refusal(
            code, inDoubt: doubt == 1, shard: shard, record: record == .max ? nil : Int(record),
            retryAfterMilliseconds: try reader.u32(), leader: try reader.optionalNode(),
            leaderAddress: try reader.text(), message: try reader.text())
        try reader.expectEnd()
        return refusal
    }
}
