import ClearingModel

/// What is wrong with bytes from outside.
public enum WireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes end before the value does.
    case truncated(wanted: Int, left: Int)
    /// A length, count or enum holds a value that the format does not have.
    case invalid(field: StaticString, value: UInt64)
    /// Bytes remain after the last field.
    case trailingBytes(Int)

    public var description: String {
        switch self {
        case .truncated(let wanted, let left): "message ends early: \(wanted) bytes wanted, \(left) left"
        case .invalid(let field, let value): "\(field) holds \(value), which the format does not have"
        case .trailingBytes(let count): "\(count) bytes follow the last field"
        }
    }

    public static func == (a: WireError, b: WireError) -> Bool { a.description == b.description }
    public func hash(into hasher: inout Hasher) { hasher.combine(description) }
}

/// The one bounds-checked reader of bytes from outside: little endian, no alignment needed, never reads past the end.
///
/// It does not own the bytes: use it only while they live.
public struct WireReader {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    public private(set) var offset = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    @inlinable public var left: Int { bytes.count - offset }

    @inlinable
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(WireError) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.count - offset >= size else { throw .truncated(wanted: size, left: left) }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        advance(size)
        return T(littleEndian: value)
    }

    @usableFromInline mutating func advance(_ count: Int) { offset += count }

    @inlinable public mutating func u8() throws(WireError) -> UInt8 { try integer(UInt8.self) }
    @inlinable public mutating func u16() throws(WireError) -> UInt16 { try integer(UInt16.self) }
    @inlinable public mutating func u32() throws(WireError) -> UInt32 { try integer(UInt32.self) }
    @inlinable public mutating func u64() throws(WireError) -> UInt64 { try integer(UInt64.self) }

    /// Any id that wraps an integer.
    @inlinable
    public mutating func id<I: Identifier>(_: I.Type = I.self) throws(WireError) -> I
    where I.RawValue: BitwiseCopyable {
        I(rawValue: try integer(I.RawValue.self))
    }

    /// A count that must not exceed `limit`; checked before anything is sized by it.
    public mutating func count(_ field: StaticString, atMost limit: Int) throws(WireError) -> Int {
        let value = try u32()
        guard value <= limit else { throw .invalid(field: field, value: UInt64(value)) }
        return Int(value)
    }

    /// The next `count` bytes in place.
    @inlinable
    public mutating func raw(_ count: Int) throws(WireError) -> UnsafeRawBufferPointer {
        guard count >= 0, left >= count else { throw .truncated(wanted: count, left: left) }
        let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
        advance(count)
        return part
    }

    /// A fixed-size trivial value by its memory layout (`Instruction`, `Decision`).
    @inlinable
    public mutating func trivial<T: BitwiseCopyable>(_: T.Type) throws(WireError) -> T {
        let size = MemoryLayout<T>.size
        guard left >= size else { throw .truncated(wanted: size, left: left) }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        advance(size)
        return value
    }

    /// UTF-8 text behind a 16-bit length.
    public mutating func text() throws(WireError) -> String {
        String(decoding: try raw(Int(try u16())), as: UTF8.self)
    }

    public func expectEnd() throws(WireError) {
        if left != 0 { throw .trailingBytes(left) }
    }
}
