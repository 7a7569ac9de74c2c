import ClearingModel

/// Appends values to bytes, little endian: the mirror of `WireReader`.
public struct WireWriter {
    public var bytes: [UInt8] = []

    public init(reserving capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    @inlinable public var count: Int { bytes.count }

    @inlinable
    mutating func integer<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    @inlinable public mutating func u8(_ value: UInt8) { bytes.append(value) }
    @inlinable public mutating func u16(_ value: UInt16) { integer(value) }
    @inlinable public mutating func u32(_ value: UInt32) { integer(value) }
    @inlinable public mutating func u64(_ value: UInt64) { integer(value) }
    @inlinable public mutating func id<I: Identifier>(_ value: I) { integer(value.rawValue) }
    @inlinable public mutating func raw(_ value: UnsafeRawBufferPointer) { bytes.append(contentsOf: value) }

    /// A fixed-size trivial value by its memory layout.
    @inlinable
    public mutating func trivial<T: BitwiseCopyable>(_ value: T) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// UTF-8 text behind a 16-bit length; cut at 65,535 bytes.
    public mutating func text(_ value: String) {
        let utf8 = Array(value.utf8.prefix(Int(UInt16.max)))
        u16(UInt16(utf8.count))
        bytes.append(contentsOf: utf8)
    }

    /// Overwrites a 32-bit value written before, for lengths known only at the end.
    public mutating func patch(u32 value: UInt32, at offset: Int) {
        withUnsafeBytes(of: value.littleEndian) { source in
            for (i, byte) in source.enumerated() { bytes[offset + i] = byte }
        }
    }
}
