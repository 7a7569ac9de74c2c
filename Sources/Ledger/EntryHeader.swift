import ClearingModel
import Wire

/// The 64 bytes in front of every data entry's payload: what the shard adds to the records that were submitted.
///
/// Little endian; docs/ENTRIES.md has the table. After the header stand `recordCount` records of 128 bytes, then
/// `sectionCount` sections of `sectionBytes` bytes together, and nothing else.
public struct EntryHeader: Hashable, Sendable {
    /// Bytes of a header.
    public static let size = 64
    /// The version of the layout that this code writes and reads.
    public static let schema: UInt16 = 1

    /// Set where the entry closes the open credit batches after its records.
    public static let flushFlag: UInt32 = 1

    public var recordCount: Int
    /// When the entry was stamped: later than every earlier entry of the shard.
    public var ledgerTime: WallTime
    /// Ordinal of the first record; for an entry without records, of the next one.
    public var firstOrdinal: Ordinal
    public var sectionBytes: Int
    public var sectionCount: Int
    public var flags: UInt32
    /// Settlement window that the records book in: the one open at this place of the shard's log.
    public var window: WindowID

    public init(
        recordCount: Int, ledgerTime: WallTime, firstOrdinal: Ordinal, sectionBytes: Int, sectionCount: Int,
        flags: UInt32, window: WindowID
    ) {
        self.recordCount = recordCount
        self.ledgerTime = ledgerTime
        self.firstOrdinal = firstOrdinal
        self.sectionBytes = sectionBytes
        self.sectionCount = sectionCount
        self.flags = flags
        self.window = window
    }

    @inlinable public var isFlush: Bool { flags & Self.flushFlag != 0 }

    /// Bytes of the whole payload that this header promises.
    @inlinable public var payloadBytes: Int { Self.size + recordCount * Instruction.size + sectionBytes }

    /// Where record `slot` starts in the payload.
    @inlinable public static func recordOffset(_ slot: Int) -> Int { size + slot * Instruction.size }
}

/// Why bytes are not an entry. A follower refuses the message, a reader of the log reports damage.
public enum EntryError: Error, Hashable, Sendable, CustomStringConvertible {
    case truncated(wanted: Int, found: Int)
    case unsupportedSchema(UInt16)
    case recordSize(UInt16)
    case tooManyRecords(Int)
    case sectionsTooLong(Int)
    case unknownFlags(UInt32)
    case reservedNotZero
    case ordinalTooLarge(UInt64)
    case length(promised: Int, found: Int)
    /// A section's type is unknown, or has no place in this kind of group.
    case sectionType(UInt16)
    case sectionCount(promised: Int, found: Int)
    /// A section's body does not follow its format.
    case section(type: UInt16, WireError)

    public var description: String {
        switch self {
        case .truncated(let wanted, let found): "entry of \(found) bytes ends before byte \(wanted)"
        case .unsupportedSchema(let schema): "entry schema \(schema); this version reads \(EntryHeader.schema)"
        case .recordSize(let size): "records of \(size) bytes; this version reads \(Instruction.size)"
        case .tooManyRecords(let count): "\(count) records; an entry has at most \(Limits.maximumRecords)"
        case .sectionsTooLong(let bytes): "\(bytes) section bytes; the limit is \(Limits.maximumSectionBytes)"
        case .unknownFlags(let flags): "unknown entry flags \(flags)"
        case .reservedNotZero: "reserved bytes of the entry header are not zero"
        case .ordinalTooLarge(let ordinal): "ordinal \(ordinal) does not fit in \(Ordinal.bits) bits"
        case .length(let promised, let found): "the header promises \(promised) bytes, the entry has \(found)"
        case .sectionType(let type): "section type \(type) has no place here"
        case .sectionCount(let promised, let found): "the header promises \(promised) sections, \(found) were found"
        case .section(let type, let error): "section of type \(type): \(error)"
        }
    }
}

extension EntryHeader {
    /// Reads and checks a header from the first 64 bytes of a payload, of which the rest need not be there.
    ///
    /// Never traps, whatever the bytes are.
    public static func parse(_ payload: UnsafeRawBufferPointer) -> Result<EntryHeader, EntryError> {
        guard payload.count >= size else { return .failure(.truncated(wanted: size, found: payload.count)) }
        func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: T.Type) -> T {
            T(littleEndian: payload.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        let schema = load(0, UInt16.self)
        guard schema == Self.schema else { return .failure(.unsupportedSchema(schema)) }
        let recordSize = load(2, UInt16.self)
        guard recordSize == Instruction.size else { return .failure(.recordSize(recordSize)) }
        let recordCount = Int(load(4, UInt32.self))
        guard recordCount <= Limits.maximumRecords else { return .failure(.tooManyRecords(recordCount)) }
        let firstOrdinal = load(16, UInt64.self)
        guard firstOrdinal <= Ordinal.count - UInt64(recordCount) else {
            return .failure(.ordinalTooLarge(firstOrdinal))
        }
        let sectionBytes = Int(load(24, UInt32.self))
        guard sectionBytes <= Limits.maximumSectionBytes else { return .failure(.sectionsTooLong(sectionBytes)) }
        let flags = load(28, UInt32.self)
        guard flags & ~flushFlag == 0 else { return .failure(.unknownFlags(flags)) }
        guard load(40, UInt64.self) | load(48, UInt64.self) | load(56, UInt64.self) == 0 else {
            return .failure(.reservedNotZero)
        }
        return .success(
            EntryHeader(
                recordCount: recordCount, ledgerTime: WallTime(load(8, UInt64.self)),
                firstOrdinal: Ordinal(firstOrdinal), sectionBytes: sectionBytes,
                sectionCount: Int(load(34, UInt16.self)), flags: flags,
                window: WindowID(scheme: SchemeID(load(32, UInt16.self)), number: load(36, UInt32.self))))
    }

    /// The header of a payload, or `nil` where the bytes hold none; for readers of the log that need ordinals and
    /// times only.
    public static func peek(_ payload: UnsafeRawBufferPointer) -> EntryHeader? { try? parse(payload).get() }

    /// Appends the 64 bytes of the header.
    public func encode(into writer: inout WireWriter) {
        writer.u16(Self.schema)
        writer.u16(UInt16(Instruction.size))
        writer.u32(UInt32(recordCount))
        writer.id(ledgerTime)
        writer.id(firstOrdinal)
        writer.u32(UInt32(sectionBytes))
        writer.u32(flags)
        writer.id(window.scheme)
        writer.u16(UInt16(sectionCount))
        writer.u32(window.number)
        for _ in 0..<3 { writer.u64(0) }
    }
}
