import ClearingModel
import Glibc

/// Why a local cluster could not do what was asked. Every text says what to do next.
public enum LaunchError: Error, Sendable, CustomStringConvertible {
    /// There is no cluster in the directory (exit code 69).
    case noCluster(directory: String)
    /// What was asked needs a running cluster, and none runs (exit code 69).
    case notRunning(directory: String)
    /// A file that is wrong, or flags that contradict what is there (exit code 78).
    case configuration(String)
    /// A target or flag that cannot be (exit code 64).
    case usage(String)
    case file(path: String, action: String, code: Int32)
    /// A node process ended while it was waited for; the end of its log says why.
    case nodeDied(NodeID, how: String, log: String, tail: [String])
    /// A condition did not come about in time.
    case timeout(waitingFor: String, seconds: Int, state: String)
    case failed(String)
    /// The user ended the command (exit code 130).
    case interrupted

    public var description: String {
        switch self {
        case .noCluster(let directory):
            "there is no cluster in \(directory): 'suanpan cluster up' makes one, --dir or SUANPAN_DIR names another place"
        case .notRunning(let directory):
            "the cluster in \(directory) does not run: start it with 'suanpan cluster up'"
        case .configuration(let text), .usage(let text), .failed(let text): text
        case .file(let path, let action, let code):
            "cannot \(action) \(path): \(String(cString: strerror(code)))"
        case .nodeDied(let node, let how, let log, let tail):
            "node \(node) \(how) while starting; the end of \(log):\n"
                + (tail.isEmpty ? "    (empty)" : tail.map { "    \($0)" }.joined(separator: "\n"))
        case .interrupted: "interrupted"
        case .timeout(let what, let seconds, let state):
            "\(what) did not happen within \(seconds) s: \(state)"
        }
    }

    /// The exit code that DESIGN gives to this error.
    public var exitCode: Int32 {
        switch self {
        case .noCluster, .notRunning: 69
        case .configuration: 78
        case .usage: 64
        case .interrupted: 130
        case .nodeDied(_, let how, _, _) where how == NodeProcess.Ending.exited(78).description: 78
        default: 1
        }
    }
}
