/// Open segment files, few at a time, and blocks of them for reads here and there.
final class FileCache {
    private static let maximumFiles = 64
    private static let blockBytes = 32 << 10
    private static let blockCount = 2_048

    private struct Key: Hashable {
        var node: UInt32
        var segment: UInt32
    }

    private var open: [Key: (file: DataFile, used: UInt64)] = [:]
    private var clock: UInt64 = 0

    /// A segment of a node, opened if it is not; `nil` where it is gone.
    func file(_ reader: NodeReader, _ segment: UInt32) -> DataFile? {
        let key = Key(node: reader.node.rawValue, segment: segment)
        clock += 1
        if let found = open[key] {
            open[key]!.used = clock
            return found.file
        }
        guard let file = reader.segment(UInt64(segment)) else { return nil }
        if open.count >= Self.maximumFiles, let oldest = open.min(by: { $0.value.used < $1.value.used }) {
            open[oldest.key] = nil
        }
        open[key] = (file, clock)
        return file
    }

    // MARK: - Blocks

    private var tags = [UInt64](repeating: 0, count: blockCount)
    private let blocks = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes * blockCount, alignment: 64)

    deinit { blocks.deallocate() }

    /// Copies `target.count` bytes from a segment; `false` where the file does not have them.
    func read(_ reader: NodeReader, _ segment: UInt32, _ offset: Int, into target: UnsafeMutableRawBufferPointer)
        -> Bool
    {
        var done = 0
        while done < target.count {
            let number = (offset + done) / Self.blockBytes
            guard let block = block(reader, segment, number) else { return false }
            let within = (offset + done) % Self.blockBytes
            let count = min(target.count - done, Self.blockBytes - within)
            (target.baseAddress! + done).copyMemory(from: block + within, byteCount: count)
            done += count
        }
        return true
    }

    private func block(_ reader: NodeReader, _ segment: UInt32, _ number: Int) -> UnsafeMutableRawPointer? {
        // A file has at most 2³¹ bytes, so a block number fits in 16 bits; the top bit marks a used tag.
        let tag = 1 << 63 | UInt64(reader.node.rawValue & 0x7FFF) << 48 | UInt64(segment) << 16 | UInt64(number)
        let slot = Int((tag &* 0x9E37_79B9_7F4A_7C15) >> 53)
        let start = blocks.baseAddress! + slot * Self.blockBytes
        if tags[slot] == tag { return start }
        tags[slot] = 0
        guard let file = file(reader, segment) else { return nil }
        let target = UnsafeMutableRawBufferPointer(start: start, count: Self.blockBytes)
        guard file.read(number * Self.blockBytes, into: target) > 0 else { return nil }
        tags[slot] = tag
        return start
    }
}
