/// Bytes that stay where they are until the arena goes: payloads of entries, copied once.
final class Arena {
    private static let chunkBytes = 1 << 18
    private var chunks: [UnsafeMutableRawBufferPointer] = []
    private var room = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit {
        for chunk in chunks { chunk.deallocate() }
    }

    /// A copy of `bytes`.
    func keep(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard bytes.count > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        // Eight bytes apart, so that words of one payload share no line more than they must.
        let wanted = (bytes.count + 7) & ~7
        if wanted > room.count {
            let chunk = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(wanted, Self.chunkBytes), alignment: 64)
            chunks.append(chunk)
            room = chunk
        }
        let place = UnsafeMutableRawBufferPointer(rebasing: room[..<bytes.count])
        place.copyMemory(from: bytes)
        room = UnsafeMutableRawBufferPointer(rebasing: room[wanted...])
        return UnsafeRawBufferPointer(place)
    }
}
