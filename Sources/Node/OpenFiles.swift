import Glibc
import LogFormat

/// The open descriptors of one disk thread. The least recently used one goes where there would be too many.
struct OpenFiles: ~Copyable {
    private struct Entry {
        var file: Int32
        var lastUse: UInt64
    }

    static let limit = 128

    private let directory: Int32
    private var entries: [FileName: Entry] = [:]
    private var uses: UInt64 = 0

    init(directory: Int32) { self.directory = directory }

    deinit {
        for entry in entries.values { Glibc.close(entry.file) }
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
        if entries.count >= Self.limit, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            close(oldest.key)
        }
        entries[name] = Entry(file: file, lastUse: uses)
        return .success(file)
    }

    mutating func close(_ name: FileName) {
        if let entry = entries.removeValue(forKey: name) { Glibc.close(entry.file) }
    }

    struct Failure: Error {
        var code: Int32
    }
}
