import Glibc
import LocalCluster

/// The file system that holds a directory.
public struct FileSystem: Hashable, Sendable {
    public var type: String
    public var device: String
    public var options: String

    public init(type: String, device: String, options: String) {
        self.type = type
        self.device = device
        self.options = options
    }

    /// The file system of a directory that is there; `nil` where the system does not say.
    public static func of(_ path: String) -> FileSystem? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return find(String(cString: resolved), mounts: SmallFile.text("/proc/self/mounts"))
    }

    /// The mount with the longest path above `path`; of two on one path the later one, which hides the other.
    public static func find(_ path: String, mounts: String) -> FileSystem? {
        var best: (length: Int, found: FileSystem)?
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ").map(String.init)
            guard fields.count >= 4 else { continue }
            let point = unescaped(fields[1])
            let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
            guard isAbove, point.utf8.count >= best?.length ?? 0 else { continue }
            best = (point.utf8.count, FileSystem(type: fields[2], device: fields[0], options: fields[3]))
        }
        return best?.found
    }

    /// Spaces and the like stand as `\040` in a list of mounts.
    private static func unescaped(_ text: String) -> String {
        var result: [UInt8] = []
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let code = bytes[index...].dropFirst().prefix(3)
            if bytes[index] == UInt8(ascii: "\\"), code.count == 3,
                let value = UInt8(String(decoding: code, as: UTF8.self), radix: 8)
            {
                result.append(value)
                index += 4
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    public var isInMemory: Bool { type == "tmpfs" || type == "ramfs" }

    /// Refuses a directory whose syncs cost nothing.
    public func check(_ directory: String) throws(LaunchError) {
        guard isInMemory else { return }
        throw .configuration(
            "\(directory) is on \(type), in memory: a sync costs nothing there, and the figures would say nothing of a "
                + "disk. Name a directory on a disk with --dir")
    }
}
