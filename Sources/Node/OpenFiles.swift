import CPlatform
import Glibc
import LogFormat

/// The open descriptors of one disk thread. The least recently used one goes where there would be too many.
struct OpenFiles: ~Copyable {
    private struct Entry {
        var file: Int32
        /// Descriptor that passes the page cache by; `nil` until it is asked for, −1 where the file system has none.
        var direct: Int32?
        var lastUse: UInt64
    }

    static let limit = 128

    private let directory: Int32
    private var entries: [FileName: Entry] = [:]
    private var uses: UInt64 = 0

    init(directory: Int32) { self.directory = directory }

    deinit {
        for entry in entries.values { Self.close(entry) }
    }

    /// The descriptor of a file, opened if it is not; the errno where that fails.
    mutating func descriptor(_ name: FileName, create: Bool = false) -> Result<Int32, Failure> {
        uses += 1
        if let entry = entries[name] {
            entries[name]!.lastUse = uses
            return .success(entry.file)
        }
        let file = openat(directory, name.description, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0o600)
        guard file >= 0 else { return .failure(Failure(code: errno)) }
        // After a failed sync the page cache may hold what the device never got, as pages that count as written: a start that read them
        // would vouch for what the next power cut takes. What is dirty stays, and is synced.
        if !create { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }
        if entries.count >= Self.limit, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            close(oldest.key)
        }
        entries[name] = Entry(file: file, lastUse: uses)
        return .success(file)
    }

    /// A second descriptor of the file, for whole blocks that go straight to the device; `nil` where its file system cannot
    /// do that.
    mutating func directDescriptor(_ name: FileName) -> Int32? {
        guard case .success = descriptor(name) else { return nil }
        if entries[name]!.direct == nil {
            entries[name]!.direct = openat(directory, name.description, O_RDWR | O_CLOEXEC | suanpan_direct_io)
        }
        return entries[name]!.direct.flatMap { $0 < 0 ? nil : $0 }
    }

    /// The device refused a direct write, which changed nothing: the file is written through the page cache from now on.
    mutating func giveUpDirect(_ name: FileName) {
        if let direct = entries[name]?.direct, direct >= 0 { Glibc.close(direct) }
        entries[name]?.direct = -1
    }

    mutating func close(_ name: FileName) {
        if let entry = entries.removeValue(forKey: name) { Self.close(entry) }
    }

    private static func close(_ entry: Entry) {
        Glibc.close(entry.file)
        if let direct = entry.direct, direct >= 0 { Glibc.close(direct) }
    }

    struct Failure: Error {
        var code: Int32
    }
}
