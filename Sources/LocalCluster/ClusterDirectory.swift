import ClearingModel
import Glibc

/// The directory of one local cluster and the names in it.
///
/// ```
/// DIR/cluster.json                 processes, addresses, ports (ClusterState)
/// DIR/topology.yaml                what nodes and clients read
/// DIR/certificates/ca.pem …        CA, nodes, participants, operator, regulator
/// DIR/node-N/node.yaml, data/, node.log
/// ```
public struct ClusterDirectory: Hashable, Sendable {
    /// Absolute, without a slash at the end.
    public let root: String

    /// - Parameter path: `--dir`; without one `$SUANPAN_DIR`, then `./.suanpan`.
    public init(path: String? = nil) {
        let named = path ?? getenv("SUANPAN_DIR").map { String(cString: $0) } ?? ".suanpan"
        root = Self.absolute(named.isEmpty ? ".suanpan" : named)
    }

    public var stateFile: String { "\(root)/cluster.json" }
    public var topologyFile: String { "\(root)/topology.yaml" }
    public var certificates: Certificates { Certificates(directory: "\(root)/certificates") }
    public func nodeDirectory(_ node: NodeID) -> String { "\(root)/node-\(node)" }
    public func nodeFile(_ node: NodeID) -> String { "\(nodeDirectory(node))/node.yaml" }
    public func dataDirectory(_ node: NodeID) -> String { "\(nodeDirectory(node))/data" }
    public func logFile(_ node: NodeID) -> String { "\(nodeDirectory(node))/node.log" }
    var lockFile: String { "\(root)/cluster.lock" }
    var requestDirectory: String { "\(root)/requests" }

    /// Whether a cluster was made here.
    public var hasCluster: Bool { FileStore.exists(stateFile) }

    public func state() throws(LaunchError) -> ClusterState {
        guard let text = FileStore.read(stateFile) else {
            if errno == ENOENT || errno == ENOTDIR { throw .noCluster(directory: root) }
            throw .file(path: stateFile, action: "read", code: errno)
        }
        return try ClusterState.decode(text, file: stateFile)
    }

    public func topology() throws(LaunchError) -> ClusterTopology {
        guard hasCluster else { throw .noCluster(directory: root) }
        do {
            return try TopologyFile.topology(path: topologyFile)
        } catch {
            throw .configuration("\(error)")
        }
    }

    /// Changes the state as one step, also against other commands on the same directory.
    @discardableResult
    public func update(_ change: (inout ClusterState) throws(LaunchError) -> Void) throws(LaunchError) -> ClusterState {
        let lock = try lock()
        defer { close(lock) }
        var state = try state()
        let before = state
        try change(&state)
        if state != before { try write(state) }
        return state
    }

    func write(_ state: ClusterState) throws(LaunchError) {
        try FileStore.replace(stateFile, with: try state.encoded(), mode: 0o600)
    }

    /// Waits for the directory's lock; closing the descriptor gives it back.
    private func lock() throws(LaunchError) -> Int32 {
        guard hasCluster else { throw .noCluster(directory: root) }
        let descriptor = open(lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .file(path: lockFile, action: "open", code: errno) }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else {
                let code = errno
                close(descriptor)
                throw .file(path: lockFile, action: "lock", code: code)
            }
        }
        return descriptor
    }

    /// The last lines that the process started last has written to its log.
    public func logTail(_ node: NodeID, lines: Int = 12) -> [String] {
        let descriptor = open(logFile(node), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        let start = (try? state())?.node(node)?.logOffset ?? 0
        lseek(descriptor, max(start, logSize(node) - 16_384), SEEK_SET)
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = read(descriptor, &buffer, buffer.count)
        let text = String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
        return text.split(separator: "\n").suffix(lines).map(String.init)
    }

    func logSize(_ node: NodeID) -> Int {
        var status = stat()
        return stat(logFile(node), &status) == 0 ? Int(status.st_size) : 0
    }

    static func absolute(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        if path.hasPrefix("/") { return path }
        while path.hasPrefix("./") { path.removeFirst(2) }
        guard let buffer = getcwd(nil, 0) else { return path }
        defer { free(buffer) }
        let current = String(cString: buffer)
        if path == "." || path.isEmpty { return current }
        return current == "/" ? "/\(path)" : "\(current)/\(path)"
    }
}
