import Glibc

/// Finding bytes in bytes.
enum ByteSearch {
    /// Offset of the first place where `wanted` stands; `nil` where it does not.
    static func first(_ wanted: [UInt8], in bytes: UnsafeRawBufferPointer) -> Int? {
        guard let head = wanted.first, let base = bytes.baseAddress else { return nil }
        var start = 0
        while start + wanted.count <= bytes.count {
            guard let hit = memchr(base + start, Int32(head), bytes.count - wanted.count + 1 - start) else {
                return nil
            }
            let offset = UnsafeRawPointer(hit) - base
            if memcmp(hit, wanted, wanted.count) == 0 { return offset }
            start = offset + 1
        }
        return nil
    }
}
