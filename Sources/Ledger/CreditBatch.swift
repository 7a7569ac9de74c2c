import ClearingModel
import Wire

/// What one batch credits to one participant in one window: the sum over all accepted payments since the last batch.
///
/// 32 bytes in memory and on the wire, in this order.
public struct CreditLine: Hashable, Sendable {
    public static let size = 32

    public var participant: ParticipantID
    public var scheme: SchemeID
    @usableFromInline var reserved0: UInt16 = 0
    /// Number of the window in `scheme`.
    public var windowNumber: UInt32
    @usableFromInline var reserved1: UInt32 = 0
    /// Sum in minor units of the participant's currency.
    public var amount: UInt64
    /// Payments in the sum.
    public var count: UInt64

    public init(participant: ParticipantID, window: WindowID, amount: UInt64, count: UInt64) {
        self.participant = participant
        scheme = window.scheme
        windowNumber = window.number
        self.amount = amount
        self.count = count
    }

    public var window: WindowID { WindowID(scheme: scheme, number: windowNumber) }
    /// The order of lines in a batch: by participant, then window.
    static func precedes(_ a: CreditLine, _ b: CreditLine) -> Bool {
        (a.participant, a.scheme, a.windowNumber) < (b.participant, b.scheme, b.windowNumber)
    }
}

/// Credits from one shard to another, closed under a number and never changed after.
///
/// The bytes are what peers send and what the destination logs: `bytes` is shared, not copied. `hash` is computed over
/// exactly these bytes; every batch names the hash of the one before, so a stream that forked cannot be continued.
public struct CreditBatch: Hashable, Sendable {
    /// Bytes in front of the lines.
    public static let headerSize = 48
    /// Lines of one batch: 64 KiB, so that a batch fits in an entry's sections; what is over goes into the next one.
    public static let maximumLines = 2_046
    static let maximumBytes = headerSize + maximumLines * CreditLine.size

    public let source: ShardID
    public let destination: ShardID
    public let number: BatchNumber
    /// The entry of the source's log that closed the batch.
    public let sourceIndex: LogIndex
    public let sourceTerm: Term
    /// The destination applies the batch only once it has this version of the directory in full.
    public let directoryVersion: DirectoryVersion
    /// Hash of batch `number − 1`; 0 for the first.
    public let previousHash: UInt64
    public let lineCount: Int
    /// SipHash-1-3 of `bytes`, keyed by the cluster id.
    public let hash: UInt64
    /// The wire form.
    public let bytes: Slab

    public static func == (a: CreditBatch, b: CreditBatch) -> Bool { a.hash == b.hash && a.bytes == b.bytes }
    public func hash(into hasher: inout Hasher) { hasher.combine(hash) }

    /// Closes a batch over `lines`, which are in ascending order of (participant, scheme, window) without repetition.
    public init(
        source: ShardID, destination: ShardID, number: BatchNumber, sourceIndex: LogIndex, sourceTerm: Term,
        directoryVersion: DirectoryVersion, previousHash: UInt64, lines: [CreditLine], key: SipHash
    ) {
        precondition(lines.count <= Self.maximumLines, "a batch has at most \(Self.maximumLines) lines")
        var writer = WireWriter(reserving: Self.headerSize + lines.count * CreditLine.size)
        writer.id(source)
        writer.id(destination)
        writer.u32(UInt32(lines.count))
        writer.id(number)
        writer.id(sourceIndex)
        writer.id(sourceTerm)
        writer.id(directoryVersion)
        writer.u64(previousHash)
        lines.withUnsafeBytes { writer.raw($0) }
        bytes = Slab(writer.bytes)
        hash = key.hash(bytes)
        self.source = source
        self.destination = destination
        self.number = number
        self.sourceIndex = sourceIndex
        self.sourceTerm = sourceTerm
        self.directoryVersion = directoryVersion
        self.previousHash = previousHash
        lineCount = lines.count
    }

    /// Reads a batch that fills `bytes` and copies it; checks every field, so the result can be logged as it is.
    public init(decoding bytes: UnsafeRawBufferPointer, key: SipHash) throws(WireError) {
        var reader = WireReader(bytes)
        source = try reader.id()
        destination = try reader.id()
        lineCount = try Self.check(bytes)
        _ = try reader.u32()
        number = try reader.id()
        sourceIndex = try reader.id()
        sourceTerm = try reader.id()
        directoryVersion = try reader.id()
        previousHash = try reader.u64()
        self.bytes = Slab(copying: bytes)
        hash = key.hash(bytes)
    }

    /// Checks the structure of a batch without copying or hashing it; the number of lines.
    static func check(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Int {
        var reader = WireReader(bytes)
        let source = try reader.u16()
        guard (1...UInt16(Limits.maximumShards)).contains(source) else {
            throw .invalid(field: "source shard", value: UInt64(source))
        }
        let destination = try reader.u16()
        guard (1...UInt16(Limits.maximumShards)).contains(destination), destination != source else {
            throw .invalid(field: "destination shard", value: UInt64(destination))
        }
        let count = try reader.count("credit lines", atMost: maximumLines)
        let number = try reader.u64()
        guard number > 0, number >> 63 == 0 else { throw .invalid(field: "batch number", value: number) }
        _ = try reader.raw(headerSize - 16)
        guard reader.left == count * CreditLine.size else {
            throw reader.left < count * CreditLine.size
                ? .truncated(wanted: count * CreditLine.size, left: reader.left)
                : .trailingBytes(reader.left - count * CreditLine.size)
        }
        var before: CreditLine?
        for position in 0..<count {
            let line = bytes.loadUnaligned(
                fromByteOffset: headerSize + position * CreditLine.size, as: CreditLine.self)
            guard line.reserved0 == 0, line.reserved1 == 0 else {
                throw .invalid(field: "credit line reserved", value: 1)
            }
            guard line.participant != .none else { throw .invalid(field: "creditor", value: 0) }
            guard line.count > 0 else { throw .invalid(field: "credit count", value: 0) }
            if let before, !CreditLine.precedes(before, line) {
                throw .invalid(field: "credit line order", value: UInt64(line.participant.rawValue))
            }
            before = line
        }
        return count
    }

    /// The line at a position below `lineCount`.
    public subscript(position: Int) -> CreditLine {
        precondition(position >= 0 && position < lineCount, "a line beyond the batch")
        return bytes.bytes.loadUnaligned(
            fromByteOffset: Self.headerSize + position * CreditLine.size, as: CreditLine.self)
    }

    public var lines: [CreditLine] { (0..<lineCount).map { self[$0] } }

    /// The cursor of a destination that has applied this batch.
    public var cursor: CreditCursor {
        CreditCursor(number: number, sourceIndex: sourceIndex, sourceTerm: sourceTerm, hash: hash)
    }
}

/// How far a destination has applied the stream of one source: the last batch, and what it was.
public struct CreditCursor: Hashable, Sendable {
    public var number: BatchNumber
    public var sourceIndex: LogIndex
    public var sourceTerm: Term
    public var hash: UInt64

    public init(number: BatchNumber, sourceIndex: LogIndex, sourceTerm: Term, hash: UInt64) {
        self.number = number
        self.sourceIndex = sourceIndex
        self.sourceTerm = sourceTerm
        self.hash = hash
    }

    /// Before the first batch.
    public static let start = CreditCursor(number: .zero, sourceIndex: .zero, sourceTerm: .zero, hash: 0)
}

/// A destination's word, from applied state, that it has every batch up to its cursor.
public struct CreditConfirmation: Hashable, Sendable {
    public static let size = 40

    /// Whose batches are confirmed.
    public var source: ShardID
    /// Who confirms.
    public var destination: ShardID
    public var cursor: CreditCursor

    public init(source: ShardID, destination: ShardID, cursor: CreditCursor) {
        self.source = source
        self.destination = destination
        self.cursor = cursor
    }

    public func encode(into writer: inout WireWriter) {
        writer.id(source)
        writer.id(destination)
        writer.u32(0)
        writer.encode(cursor)
    }

    /// Reads a confirmation that fills `bytes`.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(WireError) {
        var reader = WireReader(bytes)
        source = try reader.id()
        destination = try reader.id()
        let reserved = try reader.u32()
        guard reserved == 0 else { throw .invalid(field: "confirmation reserved", value: UInt64(reserved)) }
        for shard in [source, destination] {
            guard (1...UInt16(Limits.maximumShards)).contains(shard.rawValue) else {
                throw .invalid(field: "confirmation shard", value: UInt64(shard.rawValue))
            }
        }
        cursor = try reader.cursor()
        try reader.expectEnd()
    }
}

extension WireWriter {
    mutating func encode(_ cursor: CreditCursor) {
        id(cursor.number)
        id(cursor.sourceIndex)
        id(cursor.sourceTerm)
        u64(cursor.hash)
    }
}

extension WireReader {
    mutating func cursor() throws(WireError) -> CreditCursor {
        let number = try u64()
        guard number >> 63 == 0 else { throw .invalid(field: "batch number", value: number) }
        return CreditCursor(
            number: BatchNumber(number), sourceIndex: try id(), sourceTerm: try id(), hash: try u64())
    }
}
