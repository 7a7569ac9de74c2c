/// Bytes that wait to be sent on one connection: small frames copied into one buffer, slabs by reference.
public struct OutputQueue {
    public enum Part: Sendable {
        case bytes([UInt8])
        case slab(Slab)

        public var count: Int {
            switch self {
            case .bytes(let bytes): bytes.count
            case .slab(let slab): slab.count
            }
        }
    }

    private var closed: [Part] = []
    private var open = WireWriter()
    public private(set) var byteCount = 0
    private static let firstBytes = 480

    public init() {}

    public var isEmpty: Bool { byteCount == 0 }

    /// Appends what `body` writes.
    @inlinable
    public mutating func write(_ body: (inout WireWriter) -> Void) {
        var writer = takeOpen()
        let before = writer.count
        body(&writer)
        putBack(writer, grownBy: writer.count - before)
    }

    /// Appends a slab without copying it.
    public mutating func write(_ slab: Slab) {
        closeOpen()
        closed.append(.slab(slab))
        byteCount += slab.count
    }

    /// Appends parts that another queue gave up.
    public mutating func write(contentsOf parts: [Part]) {
        for part in parts {
            switch part {
            case .slab(let slab): write(slab)
            case .bytes(let bytes): write { writer in bytes.withUnsafeBytes { writer.raw($0) } }
            }
        }
    }

    /// Everything in order; the queue is empty after.
    public mutating func drain() -> [Part] {
        closeOpen()
        byteCount = 0
        var parts: [Part] = []
        swap(&parts, &closed)
        return parts
    }

    @usableFromInline
    mutating func takeOpen() -> WireWriter {
        var writer = WireWriter()
        swap(&writer, &open)
        // Most frames are small: one allocation instead of one per doubling.
        if writer.bytes.capacity == 0 { writer.bytes.reserveCapacity(Self.firstBytes) }
        return writer
    }

    @usableFromInline
    mutating func putBack(_ writer: WireWriter, grownBy count: Int) {
        open = writer
        byteCount += count
    }

    private mutating func closeOpen() {
        guard open.count > 0 else { return }
        closed.append(.bytes(open.bytes))
        open = WireWriter()
    }
}
