import Glibc

/// A file opened for reading only; nothing here ever writes, locks or creates.
final class DataFile {
    let path: String
    private let descriptor: Int32

    /// `nil` with `errno` set where it cannot be opened.
    init?(_ path: String) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Bytes of the file now; it may grow.
    var size: Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Fills `buffer` from `offset` on; the bytes read, fewer at the end of the file or where the disk refuses.
    func read(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            done += count
        }
        return done
    }

    /// `count` bytes at `offset`; `nil` where the file has fewer.
    func bytes(_ offset: Int, _ count: Int) -> [UInt8]? {
        guard offset >= 0, count >= 0 else { return nil }
        var isWhole = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = read(offset, into: UnsafeMutableRawBufferPointer(buffer))
            isWhole = filled == count
        }
        return isWhole ? bytes : nil
    }

    /// Names in a directory; `nil` with `errno` set where there is none.
    static func names(in path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names.sorted()
    }
}

/// A buffer that grows to the largest read and is kept.
final class ScratchBuffer {
    private(set) var raw: UnsafeMutableRawBufferPointer

    init(_ capacity: Int = 64 << 10) {
        raw = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit { raw.deallocate() }

    /// The first `count` bytes, whose content is undefined where the buffer had to grow.
    func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if count > raw.count {
            raw.deallocate()
            raw = .allocate(byteCount: max(count, raw.count * 2), alignment: 64)
        }
        return UnsafeMutableRawBufferPointer(rebasing: raw[..<count])
    }
}
