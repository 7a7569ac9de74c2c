import CChecksum
import ClearingModel

/// Why bytes do not follow their format; the text says which field of what.
struct DecodeError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Little-endian loads from bytes whose length the caller has checked; every load checks again and stops the process.
extension UnsafeRawBufferPointer {
    @inline(__always)
    func little<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: T.Type = T.self) -> T {
        precondition(offset >= 0 && offset &+ MemoryLayout<T>.size <= count, "a load beyond the bytes")
        return T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    func slice(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[offset..<offset + count])
    }

    /// CRC-32C of these bytes, continuing from `seed`.
    func crc(_ seed: UInt32 = 0) -> UInt32 { suanpan_crc32c(seed, baseAddress, count) }

    /// A cluster id: the high half first.
    func cluster(_ offset: Int) -> ClusterID { ClusterID(high: little(offset), low: little(offset + 8)) }

    /// A replica id: node, incarnation.
    func replica(_ offset: Int) -> ReplicaID {
        ReplicaID(node: NodeID(little(offset)), incarnation: Incarnation(little(offset + 4)))
    }
}

/// Reads fields one after the other; the first that is not there throws.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var left: Int { bytes.count - offset }

    mutating func take<T: FixedWidthInteger & BitwiseCopyable>(
        _ what: StaticString, _: T.Type = T.self
    ) throws(DecodeError) -> T {
        guard left >= MemoryLayout<T>.size else { throw DecodeError("\(what) is cut off") }
        defer { offset += MemoryLayout<T>.size }
        return bytes.little(offset)
    }

    mutating func take(_ count: Int, _ what: StaticString) throws(DecodeError) -> UnsafeRawBufferPointer {
        guard count >= 0, left >= count else { throw DecodeError("\(what) is cut off") }
        defer { offset += count }
        return bytes.slice(offset, count)
    }

    /// A count that must not exceed `limit`.
    mutating func count(_ what: StaticString, atMost limit: Int) throws(DecodeError) -> Int {
        let value = Int(try take(what, UInt32.self))
        guard value <= limit else { throw DecodeError("\(what) is \(value), above \(limit)") }
        return value
    }

    mutating func zero<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type, _ what: StaticString) throws(DecodeError) {
        let value = try take(what, T.self)
        guard value == 0 else { throw DecodeError("\(what) is \(value), not zero") }
    }

    func end(_ what: StaticString) throws(DecodeError) {
        guard left == 0 else { throw DecodeError("\(left) bytes behind the end of \(what)") }
    }
}

extension [UInt8] {
    /// Lends the bytes to a decoder.
    func decode(_ body: (UnsafeRawBufferPointer) throws(DecodeError) -> Void) throws(DecodeError) {
        let result = withUnsafeBytes { bytes -> Result<Void, DecodeError> in
            do throws(DecodeError) {
                return .success(try body(bytes))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }
}
