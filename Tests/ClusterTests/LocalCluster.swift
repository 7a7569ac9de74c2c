import ClearingModel
import Foundation
import Testing

/// A cluster of real processes in a directory of its own.
///
/// ```
/// let cluster = try LocalCluster.up(nodes: 3, shards: 4)
/// defer { cluster.end() }
/// try cluster.kill(.leader(of: 1))
/// ```
/// Whatever becomes of the test, nothing stays behind: a shell holds the other end of a pipe (the *leash*), and when that
/// closes, be it by `end` or with the test's own process, it ends the nodes and removes the directory.
final class LocalCluster {
    enum Target: CustomStringConvertible {
        case node(Int)
        case leader(of: Int)
        case all

        var description: String {
            switch self {
            case .node(let number): "\(number)"
            case .leader(let shard): "leader:\(shard)"
            case .all: "all"
            }
        }
    }

    let root: String
    /// `--dir`, as the commands see it.
    var directory: String { root + "/cluster" }
    /// The same place as the test sees it: commands may run in a mount namespace of their own.
    private(set) var path: String
    /// What stands in front of every command.
    private var prefix: [String] = []
    private var leash: Child!
    private var leashInput: Int32 = -1
    private var children: [Child] = []
    private var hasEnded = false

    /// The binary under test.
    static func binary() throws -> String {
        guard let binary = ProcessInfo.processInfo.environment["SUANPAN_BINARY"], !binary.isEmpty else {
            throw Failure("set SUANPAN_BINARY to the suanpan binary under test, as 'make test' does")
        }
        guard access(binary, X_OK) == 0 else { throw Failure("SUANPAN_BINARY: there is no program at \(binary)") }
        return binary
    }

    /// A directory without a cluster.
    ///
    /// - Parameter diskMegabytes: puts the cluster on a file system of its own of this size, in memory and seen by its
    ///   commands only.
    init(diskMegabytes: Int? = nil) throws {
        let binary = try Self.binary()
        root = "\(NSTemporaryDirectory())suanpan-\(UUID().uuidString)"
        path = root + "/cluster"
        let files = root + "/output"
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure("no pipe: \(String(cString: strerror(errno)))") }
        // No other child may hold the test's end, or the leash would not feel it go.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        leashInput = ends[1]
        let hold = """
            trap '' INT TERM HUP
            echo held
            cat >/dev/null
            "$0" cluster kill all --dir "$1/cluster" >/dev/null 2>&1
            if [ -n "$2" ]; then umount -l "$1/cluster"; fi
            rm -rf "$1"
            """
        var command = ["sh", "-c", hold, binary, root]
        if let diskMegabytes {
            let mount =
                "mkdir -p \"$1/cluster\" && mount -t tmpfs -o size=\(diskMegabytes)m none \"$1/cluster\" || exit 1"
            let user = geteuid() == 0 ? [] : ["--map-root-user"]
            command = ["unshare", "--mount"] + user + ["sh", "-c", mount + "\n" + hold, binary, root, "disk"]
        }
        leash = try Child(command, files: files, input: ends[0])
        try eventually("the leash of the cluster") { [leash] in
            guard leash!.isRunning else { throw Failure("\(try leash!.wait())") }
            return leash!.out.contains("held")
        }
        if diskMegabytes != nil {
            path = "/proc/\(leash.pid)/root\(directory)"
            let user = geteuid() == 0 ? [] : ["--user", "--preserve-credentials"]
            prefix = ["nsenter", "--target", "\(leash.pid)", "--mount"] + user + ["--"]
        }
    }

    /// A running cluster, every shard with a leader and every participant known.
    static func up(
        nodes: Int = 3, shards: Int = 4, participants: Int = 30, diskMegabytes: Int? = nil, _ flags: String...
    ) throws -> LocalCluster {
        let numbers = ["--nodes", "\(nodes)", "--shards", "\(shards)", "--participants", "\(participants)"]
        var attempts = 3
        while true {
            let cluster = try LocalCluster(diskMegabytes: diskMegabytes)
            do {
                let outcome = try cluster.run(["cluster", "up", "--detach"] + numbers + flags)
                if outcome.code == 0 { return cluster }
                attempts -= 1
                // Another cluster that starts at this moment may have taken the ports that were free.
                guard outcome.error.contains("cannot listen on"), attempts > 0 else { throw Failure("\(outcome)") }
                cluster.end()
            } catch {
                cluster.end()
                throw error
            }
        }
    }

    deinit { end() }

    /// Ends every process by its number and removes the directory; that one is left is the test's failure.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        for child in children { child.end() }
        close(leashInput)
        _ = try? leash.wait(seconds: 30)
        for pid in processes { Issue.record("process \(pid) of \(root) was left behind") }
    }

    // MARK: - Commands

    /// Runs a command of the program on this cluster to its end.
    func run(_ arguments: [String]) throws -> Outcome { try start(arguments).wait() }
    func run(_ arguments: String...) throws -> Outcome { try run(arguments) }

    /// Starts a command of the program on this cluster.
    func start(_ arguments: [String]) throws -> Child {
        try launch([Self.binary()] + arguments + ["--dir", directory])
    }
    func start(_ arguments: String...) throws -> Child { try start(arguments) }

    /// Starts any command beside this cluster.
    func launch(_ command: [String]) throws -> Child {
        let child = try Child(prefix + command, files: root + "/output")
        children.append(child)
        return child
    }

    /// A command that is expected to succeed.
    @discardableResult
    func mustRun(_ arguments: [String]) throws -> Outcome {
        let outcome = try run(arguments)
        guard outcome.code == 0 else { throw Failure("\(outcome)") }
        return outcome
    }

    func kill(_ target: Target) throws { try mustRun(["cluster", "kill", "\(target)"]) }
    func pause(_ target: Target) throws { try mustRun(["cluster", "pause", "\(target)"]) }
    func resume(_ target: Target) throws { try mustRun(["cluster", "resume", "\(target)"]) }
    func restart(_ target: Target) throws { try mustRun(["cluster", "restart", "\(target)"]) }
    func down() throws { try mustRun(["cluster", "down"]) }

    /// Starts a whole cluster again after it went down.
    func upAgain() throws { try mustRun(["cluster", "up", "--detach"]) }

    // MARK: - Processes

    /// Numbers of all processes that have this directory on their command line, the leash left out.
    var processes: [pid_t] {
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { pid_t($0) } ?? []
        return numbers.filter { pid in
            guard pid != leash.pid, let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
                return false
            }
            return String(decoding: line, as: UTF8.self).contains(root)
        }
    }

    /// A node's log.
    func log(of node: Int) -> String { text("node-\(node)/node.log") }

    /// A file of the cluster's directory; empty where there is none.
    func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(path)/\(name)") ?? Data(), as: UTF8.self)
    }

    /// Writes a file beside the cluster's directory and returns its path.
    func file(_ name: String, _ text: String) throws -> String {
        let path = "\(root)/\(name)"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }
}
