import Glibc

/// A data directory that is no directory of this machine: a simulated node's.
public protocol DataFiles: AnyObject {
    /// Names of the files, in any order.
    var names: [String] { get }
    /// Bytes of a file; `nil` where there is none.
    func size(of name: String) -> Int?
    /// Fills `buffer` from `offset` on; the bytes read, fewer at the end of the file.
    func read(_ name: String, _ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int
    /// All bytes of a file where they stand, valid until it is next changed; `nil` where they have no such place.
    func contents(of name: String) -> UnsafeRawBufferPointer?
}

extension DataFiles {
    public func contents(of name: String) -> UnsafeRawBufferPointer? { nil }
}

/// A file opened for reading only; nothing here ever writes, locks or creates.
final class DataFile {
    let path: String
    private let descriptor: Int32
    private let memory: (any DataFiles)?

    /// `nil` with `errno` set where it cannot be opened.
    init?(_ path: String) {
        self.path = path
        memory = nil
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
    }

    /// A file of a simulated directory; `nil` where there is none of the name.
    init?(_ name: String, in files: any DataFiles) {
        path = name
        memory = files
        descriptor = -1
        guard files.size(of: name) != nil else { return nil }
    }

    /// How much is read ahead: calls to the system are dear, copies of memory are not free either.
    var windowBytes: Int { memory == nil ? 1 << 20 : 1 << 15 }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Bytes of the file now; it may grow.
    var size: Int {
        if let memory { return memory.size(of: path) ?? 0 }
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
    }

    /// The bytes of a file in memory, which need no copy; `nil` where there are none.
    var contents: UnsafeRawBufferPointer? { memory?.contents(of: path) }

    /// Fills `buffer` from `offset` on; the bytes read, fewer at the end of the file or where the disk refuses.
    func read(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        if let memory {
            guard let contents else { return memory.read(path, offset, into: buffer) }
            let count = max(0, min(buffer.count, contents.count - offset))
            if count > 0 { buffer.copyMemory(from: contents.slice(offset, count)) }
            return count
        }
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
