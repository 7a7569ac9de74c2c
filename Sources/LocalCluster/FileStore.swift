import Glibc

/// Small files of the cluster's directory, read and written as a whole.
enum FileStore {
    /// The file's text; `nil` with `errno` set where it cannot be read.
    static func read(_ path: String) -> String? {
        readBytes(path).map { String(decoding: $0, as: UTF8.self) }
    }

    /// At most `limit` bytes of a file; `nil` with `errno` set where it cannot be read.
    static func readBytes(_ path: String, limit: Int = 64 << 20) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < limit {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            bytes.append(contentsOf: buffer[..<count])
        }
        return bytes
    }

    /// Replaces a file as one step: whoever reads it sees the old text or the new one.
    static func replace(_ path: String, with text: String, mode: mode_t = 0o644) throws(LaunchError) {
        let temporary = "\(path).\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw .file(path: temporary, action: "create", code: errno) }
        var text = text
        let written = text.withUTF8 { bytes -> Bool in
            var offset = 0
            while offset < bytes.count {
                let count = write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
                if count < 0 && errno != EINTR { return false }
                offset += max(count, 0)
            }
            return fsync(descriptor) == 0
        }
        let code = errno
        close(descriptor)
        guard written else {
            unlink(temporary)
            throw .file(path: path, action: "write", code: code)
        }
        guard rename(temporary, path) == 0 else { throw .file(path: path, action: "replace", code: errno) }
    }

    /// Makes a directory and those above it; one that is there already is fine.
    static func makeDirectory(_ path: String, mode: mode_t = 0o755) throws(LaunchError) {
        if mkdir(path, mode) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw .file(path: path, action: "make the directory", code: errno)
        }
        try makeDirectory(String(path[..<slash]), mode: mode)
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            throw .file(path: path, action: "make the directory", code: errno)
        }
    }

    /// Names in a directory, in order; `nil` where there is none.
    static func names(_ path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file or a directory with everything in it; follows no links.
    static func removeAll(_ path: String) throws(LaunchError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in names(path) ?? [] { try removeAll("\(path)/\(name)") }
            guard rmdir(path) == 0 else { throw .file(path: path, action: "remove", code: errno) }
        } else if unlink(path) != 0 {
            throw .file(path: path, action: "remove", code: errno)
        }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
