import Wire

/// What waits to be encrypted on one connection: parts in order, slabs by reference, nothing copied.
public struct PlaintextQueue {
    private var parts: [OutputQueue.Part] = []
    /// Parts before this one are gone; bytes of it before `offset` too.
    private var head = 0
    private var offset = 0
    public private(set) var byteCount = 0

    public init() {}

    public var isEmpty: Bool { byteCount == 0 }

    public mutating func append(_ part: OutputQueue.Part) {
        guard part.count > 0 else { return }
        byteCount += part.count
        parts.append(part)
    }

    public mutating func append(_ more: [OutputQueue.Part]) {
        for part in more { append(part) }
    }

    public mutating func removeAll() { self = PlaintextQueue() }

    /// Bytes left of the first part.
    var firstCount: Int { isEmpty ? 0 : parts[head].count - offset }

    /// Shows what is left of the first part to `body`, which says how many bytes of it are done.
    mutating func consumeFirst(_ body: (UnsafeRawBufferPointer) -> Int) {
        let done: Int
        switch parts[head] {
        case .bytes(let bytes):
            done = bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
        case .slab(let slab):
            done = body(UnsafeRawBufferPointer(rebasing: slab.bytes[offset...]))
        }
        precondition(done >= 0 && done <= parts[head].count - offset)
        offset += done
        byteCount -= done
        guard offset == parts[head].count else { return }
        offset = 0
        // Lets go of the bytes now, not when the whole queue is done.
        parts[head] = .bytes([])
        head += 1
        if head == parts.count {
            parts.removeAll(keepingCapacity: parts.capacity <= 1_024)
            head = 0
        } else if head >= 1_024 {
            parts.removeFirst(head)
            head = 0
        }
    }
}
