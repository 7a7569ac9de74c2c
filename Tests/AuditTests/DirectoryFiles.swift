import ClearingModel
import Glibc

/// Hands of an adversary on a data directory.
enum DataFiles {
    static func read(_ path: String) -> [UInt8] {
        let file = open(path, O_RDONLY)
        precondition(file >= 0, "open \(path)")
        defer { close(file) }
        var status = stat()
        fstat(file, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        precondition(pread(file, &bytes, bytes.count, 0) == bytes.count)
        return bytes
    }

    static func write(_ path: String, _ bytes: [UInt8]) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        precondition(file >= 0, "open \(path)")
        defer { close(file) }
        precondition(Glibc.write(file, bytes, bytes.count) == bytes.count)
    }

    static func edit(_ path: String, _ body: (inout [UInt8]) -> Void) {
        var bytes = read(path)
        body(&bytes)
        write(path, bytes)
    }

    static func segments(_ directory: String) -> [String] {
        TemporaryDirectory.names(directory).filter { $0.hasPrefix("segment-") }.map { "\(directory)/\($0)" }
    }

    /// Where a record's id stands first in the logs of a directory.
    static func find(_ id: TransactionID, in directory: String) -> (path: String, offset: Int)? {
        let wanted = withUnsafeBytes(of: id) { Array($0) }
        for path in segments(directory) {
            let bytes = read(path)
            var at = 0
            while at + 16 <= bytes.count {
                if bytes[at] == wanted[0], bytes[at..<at + 16].elementsEqual(wanted) { return (path, at) }
                at += 1
            }
        }
        return nil
    }
}
