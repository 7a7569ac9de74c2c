import ClearingModel

/// Cuts a byte stream into frames. Frames that arrive whole are read in place; only a frame split over two reads is
/// copied.
public struct FrameDecoder {
    private var pending: [UInt8] = []

    public init() {}

    /// Bytes of an unfinished frame that wait for their rest.
    public var pendingBytes: Int { pending.count }

    /// Feeds bytes as they came off the connection and calls `body` for each whole frame with its payload (header cut
    /// off).
    ///
    /// The payload is valid inside `body` only. After an error the stream cannot be read on.
    @inlinable
    public mutating func feed(
        _ bytes: UnsafeRawBufferPointer, _ body: (FrameHeader, UnsafeRawBufferPointer) -> Void
    ) -> FrameError? {
        var rest = bytes
        switch completePending(&rest) {
        case .failure(let error): return error
        case .success(nil): break
        case .success(let header?):
            withPending { body(header, UnsafeRawBufferPointer(rebasing: $0[FrameHeader.size...])) }
            clearPending()
        }
        while rest.count >= FrameHeader.size {
            switch FrameHeader.parse(rest) {
            case .failure(let error): return error
            case .success(let header):
                if rest.count < header.length {
                    keep(rest, total: header.length)
                    return nil
                }
                body(header, UnsafeRawBufferPointer(rebasing: rest[FrameHeader.size..<header.length]))
                rest = UnsafeRawBufferPointer(rebasing: rest[header.length...])
            }
        }
        if rest.count > 0 { keep(rest, total: FrameHeader.size) }
        return nil
    }

    @usableFromInline
    func withPending(_ body: (UnsafeRawBufferPointer) -> Void) { pending.withUnsafeBytes(body) }

    @usableFromInline
    mutating func clearPending() {
        // A rare large frame must not pin its memory to a quiet connection for ever.
        pending.removeAll(keepingCapacity: pending.capacity <= 256 << 10)
    }

    @usableFromInline
    mutating func keep(_ bytes: UnsafeRawBufferPointer, total: Int) {
        pending.reserveCapacity(total)
        pending.append(contentsOf: bytes)
    }

    /// Moves bytes from `rest` to the unfinished frame until it is whole; its header once it is.
    @usableFromInline
    mutating func completePending(_ rest: inout UnsafeRawBufferPointer) -> Result<FrameHeader?, FrameError> {
        guard !pending.isEmpty else { return .success(nil) }
        take(FrameHeader.size - pending.count, from: &rest)
        guard pending.count >= FrameHeader.size else { return .success(nil) }
        switch pending.withUnsafeBytes(FrameHeader.parse) {
        case .failure(let error): return .failure(error)
        case .success(let header):
            take(header.length - pending.count, from: &rest)
            return .success(pending.count == header.length ? header : nil)
        }
    }

    private mutating func take(_ wanted: Int, from rest: inout UnsafeRawBufferPointer) {
        let count = min(wanted, rest.count)
        guard count > 0 else { return }
        pending.append(contentsOf: rest.prefix(count))
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
}
