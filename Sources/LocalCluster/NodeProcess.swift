import CPlatform
import ClearingModel
import Glibc

/// Starting and ending node processes.
enum NodeProcess {
    /// How a process ended.
    enum Ending: Hashable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        init(waitStatus: Int32) {
            let signal = waitStatus & 0x7f
            self = signal == 0 ? .exited(waitStatus >> 8 & 0xff) : .signalled(signal)
        }

        var description: String {
            switch self {
            case .exited(let code): "exited with code \(code)"
            case .signalled(SIGKILL): "was killed (SIGKILL)"
            case .signalled(let signal): "ended by signal \(signal) (\(String(cString: strsignal(signal))))"
            }
        }
    }

    /// The program that runs now, also after it was built anew.
    static var ownBinary: String {
        var buffer = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0 else { return CommandLine.arguments[0] }
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let deleted = " (deleted)"
        return path.hasSuffix(deleted) ? String(path.dropLast(deleted.count)) : path
    }

    /// Starts `suanpan node --config …` in a session of its own, with its output appended to its log.
    ///
    /// - Parameter parent: the launcher that the node is to die with; `nil` for a node that outlives it. The launcher's
    ///   *thread* counts there, so this is called on its main thread.
    static func spawn(
        _ node: NodeID, in directory: ClusterDirectory, binary: String, parent: Int32?
    ) throws(LaunchError) -> ProcessIdentity {
        var arguments = [binary, "node", "--config", directory.nodeFile(node)]
        if let parent { arguments += ["--parent", String(parent)] }

        var pid: pid_t = 0
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        let code = suanpan_spawn(binary, argv, directory.logFile(node), &pid)
        guard code == 0 else { throw .file(path: binary, action: "start", code: code) }
        guard let identity = ProcessIdentity(pid: pid) else {
            let ending = reap(pid)?.description ?? "ended"
            throw .nodeDied(node, how: ending, log: directory.logFile(node), tail: directory.logTail(node))
        }
        return identity
    }

    /// Kills a child and waits until it is gone.
    static func end(_ pid: Int32) {
        kill(pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }

    /// How a child ended, once it has; `nil` while it runs, or if it is nobody's child of ours.
    static func reap(_ pid: Int32) -> Ending? {
        var status: Int32 = 0
        return waitpid(pid, &status, WNOHANG) == pid ? Ending(waitStatus: status) : nil
    }
}
