import CPlatform
import Glibc

/// Why a data directory cannot be used.
public enum DataDirectoryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another process holds the directory's lock; its number if it left one.
    case inUse(path: String, pid: Int?)
    case failed(what: String, path: String, code: Int32)

    public var description: String {
        switch self {
        case .inUse(let path, let pid):
            "data directory \(path) is in use by process \(pid.map(String.init) ?? "(unknown)"): "
                + "two nodes must never share one; stop that process or use another directory"
        case .failed(let what, let path, let code):
            "\(what) \(path): \(errorText(code)) (errno \(code))"
        }
    }
}

/// A node's data directory, made if it is missing, and locked for as long as this object lives.
public final class DataDirectory: Sendable {
    public static let lockName = "lock"

    public let path: String
    let descriptor: Int32
    private let lock: Int32

    public init(path: String) throws(DataDirectoryError) {
        self.path = path
        try Self.make(path)
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .failed(what: "cannot open data directory", path: path, code: errno) }
        let lock = openat(descriptor, Self.lockName, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw .failed(what: "cannot open the lock file of", path: path, code: code)
        }
        let code = suanpan_lock_exclusively(lock)
        guard code == 0 else {
            let holder = Self.readPID(lock)
            Glibc.close(lock)
            Glibc.close(descriptor)
            throw code == EWOULDBLOCK
                ? .inUse(path: path, pid: holder) : .failed(what: "cannot lock", path: path, code: code)
        }
        // Only for whoever is refused: the lock itself is the kernel's and ends with the process.
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(lock, 0)
        _ = pwrite(lock, text, text.count, 0)
        self.descriptor = descriptor
        self.lock = lock
    }

    deinit {
        Glibc.close(lock)
        Glibc.close(descriptor)
    }

    /// Makes the directory and what is missing above it, mode 0700.
    private static func make(_ path: String) throws(DataDirectoryError) {
        if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw .failed(what: "cannot make data directory", path: path, code: errno)
        }
        try make(String(path[..<slash]))
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw .failed(what: "cannot make data directory", path: path, code: errno)
        }
    }

    private static func readPID(_ file: Int32) -> Int? {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = pread(file, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        return Int(String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self))
    }
}
