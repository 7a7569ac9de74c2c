import Glibc

/// A process that cannot be mistaken for another: its number and when it started, in clock ticks since boot.
///
/// Numbers are used again; with the start time beside it a command never signals a stranger.
public struct ProcessIdentity: Codable, Hashable, Sendable {
    public var pid: Int32
    public var startTime: UInt64

    public init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }

    /// The process with this number now; `nil` where there is none or it only waits to be reaped.
    public init?(pid: Int32) {
        guard let stat = Self.stat(pid), !stat.isGone else { return nil }
        self.init(pid: pid, startTime: stat.startTime)
    }

    /// This process.
    public static var current: ProcessIdentity? { ProcessIdentity(pid: getpid()) }

    public var isAlive: Bool {
        guard let stat = Self.stat(pid) else { return false }
        return stat.startTime == startTime && !stat.isGone
    }

    /// Alive and stopped by a signal (`cluster pause`).
    public var isPaused: Bool {
        guard let stat = Self.stat(pid) else { return false }
        return stat.startTime == startTime && stat.state == "T"
    }

    /// Sends a signal if the process is still the same one; tells whether it was.
    @discardableResult
    public func signal(_ number: Int32) -> Bool { isAlive && kill(pid, number) == 0 }

    private struct Stat {
        var state: Character
        var startTime: UInt64
        var isGone: Bool { state == "Z" || state == "X" }
    }

    /// Fields 3 and 22 of `/proc/PID/stat` (proc(5)); the name before them may hold anything, so they are counted from its
    /// closing bracket.
    private static func stat(_ pid: Int32) -> Stat? {
        guard pid > 0, let text = FileStore.read("/proc/\(pid)/stat"), let bracket = text.lastIndex(of: ")") else {
            return nil
        }
        let fields = text[text.index(after: bracket)...].split(separator: " ")
        guard fields.count > 19, let state = fields[0].first, let start = UInt64(fields[19]) else { return nil }
        return Stat(state: state, startTime: start)
    }
}
