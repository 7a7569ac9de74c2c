import CChecksum

/// CRC-32C of bytes, continuing from `crc` (0 to start).
@inlinable
public func crc32c(_ bytes: UnsafeRawBufferPointer, from crc: UInt32 = 0) -> UInt32 {
    suanpan_crc32c(crc, bytes.baseAddress, bytes.count)
}

/// Immutable bytes that the event loop, the log thread and every follower's connection share without copying.
///
/// Made once by `SlabBuilder.seal` and never changed after: that, and nothing else, is why it may cross threads.
public final class Slab: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    public let count: Int
    /// CRC-32C of the bytes, computed when the slab was sealed.
    public let checksum: UInt32

    /// Takes over `base`, which was allocated by `SlabBuilder`.
    fileprivate init(adopting base: UnsafeMutableRawPointer, count: Int) {
        self.base = base
        self.count = count
        checksum = crc32c(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// A copy of `bytes`.
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        let base = SlabBuilder.allocate(bytes.count)
        if bytes.count > 0 { base.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count) }
        self.init(adopting: base, count: bytes.count)
    }

    public convenience init(_ bytes: [UInt8]) {
        let base = SlabBuilder.allocate(bytes.count)
        bytes.withUnsafeBytes { if $0.count > 0 { base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
        self.init(adopting: base, count: bytes.count)
    }

    deinit { base.deallocate() }

    public static let empty = Slab([UInt8]())

    /// The bytes; valid while the slab is alive.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
}

extension Slab: Equatable {
    public static func == (a: Slab, b: Slab) -> Bool {
        a === b || (a.count == b.count && a.checksum == b.checksum && a.bytes.elementsEqual(b.bytes))
    }
}

/// A slab that is being filled: one owner, fixed capacity, sealed once.
public struct SlabBuilder: ~Copyable {
    private var base: UnsafeMutableRawPointer
    public let capacity: Int
    public private(set) var count = 0

    /// As malloc aligns: page alignment would cost every small slab a page's neighbourhood and a slow path.
    fileprivate static func allocate(_ capacity: Int) -> UnsafeMutableRawPointer {
        .allocate(byteCount: max(capacity, 64), alignment: 16)
    }

    public init(capacity: Int) {
        base = Self.allocate(capacity)
        self.capacity = capacity
    }

    deinit { base.deallocate() }

    public var room: Int { capacity - count }

    /// Appends a copy of `bytes`.
    /// - Precondition: there is room.
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= capacity - count, "slab overflow")
        if bytes.count > 0 { (base + count).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count) }
        count += bytes.count
    }

    /// Appends `count` zero bytes, to be overwritten later.
    public mutating func appendZeros(_ zeros: Int) {
        precondition(zeros <= capacity - count, "slab overflow")
        (base + count).initializeMemory(as: UInt8.self, repeating: 0, count: zeros)
        count += zeros
    }

    /// Overwrites bytes that are already there.
    public mutating func overwrite(at offset: Int, _ bytes: UnsafeRawBufferPointer) {
        precondition(offset >= 0 && offset + bytes.count <= count, "overwrite outside the slab")
        if bytes.count > 0 { (base + offset).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count) }
    }

    /// The bytes so far; valid until the next mutation.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// A slab of exactly these bytes; the builder is empty after and can be filled again.
    ///
    /// For small contents: the copy is cheaper than a large allocation, and a cached small slab does not pin a large
    /// one.
    public mutating func sealCopy() -> Slab {
        defer { count = 0 }
        return Slab(copying: bytes)
    }

    /// A slab of these bytes, which never change from here; the builder gets new memory and can be filled again.
    public mutating func sealRenewing() -> Slab {
        let (sealed, count) = (base, self.count)
        base = Self.allocate(capacity)
        self.count = 0
        return Slab(adopting: sealed, count: count)
    }

    /// Ends the filling: from here the bytes never change.
    public consuming func seal() -> Slab {
        let (base, count) = (self.base, self.count)
        discard self
        return Slab(adopting: base, count: count)
    }
}
