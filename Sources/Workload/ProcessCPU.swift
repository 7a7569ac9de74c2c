import Glibc

/// User and system time that a process has used, in nanoseconds.
public struct ProcessCPU: Hashable, Sendable {
    public var user: UInt64
    public var system: UInt64
    public var total: UInt64 { user + system }

    public init(user: UInt64 = 0, system: UInt64 = 0) {
        self.user = user
        self.system = system
    }

    /// Of this process, all threads.
    public static var own: ProcessCPU {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let nanoseconds = { (time: timeval) in UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_usec) * 1_000 }
        return ProcessCPU(user: nanoseconds(usage.ru_utime), system: nanoseconds(usage.ru_stime))
    }

    /// Of another process, in steps of 10 ms; `nil` where it is gone.
    public static func of(_ process: Int32) -> ProcessCPU? {
        guard let file = fopen("/proc/\(process)/stat", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1_024)
        let count = fread(&bytes, 1, bytes.count, file)
        return parse(bytes[..<count])
    }

    /// Reads a line of `/proc/PID/stat`.
    static func parse(_ bytes: ArraySlice<UInt8>) -> ProcessCPU? {
        // The command's name, in parentheses, may hold spaces: fields count from behind the last one.
        guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = String(decoding: bytes[(end + 1)...], as: UTF8.self).split(separator: " ")
        guard fields.count > 12, let user = UInt64(fields[11]), let system = UInt64(fields[12]) else { return nil }
        let tick = 1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK)))
        return ProcessCPU(user: user * tick, system: system * tick)
    }
}
