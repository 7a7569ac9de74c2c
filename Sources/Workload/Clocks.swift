import ClearingModel
import Glibc

/// Readings of this machine's clocks.
enum Clocks {
    static func monotonic() -> MonotonicTime { MonotonicTime(nanoseconds(CLOCK_MONOTONIC)) }
    static func wall() -> WallTime { WallTime(nanoseconds(CLOCK_REALTIME) / 1_000) }
    /// User and system time of the calling thread, in nanoseconds.
    static func threadCPU() -> UInt64 { nanoseconds(CLOCK_THREAD_CPUTIME_ID) }
    /// User and system time of this process, in nanoseconds.
    static func processCPU() -> UInt64 { nanoseconds(CLOCK_PROCESS_CPUTIME_ID) }

    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// User and system time of another process, in nanoseconds (10 ms steps); `nil` where it is gone.
    static func cpu(of process: Int32) -> UInt64? {
        guard let file = fopen("/proc/\(process)/stat", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1_024)
        let count = fread(&bytes, 1, bytes.count, file)
        // The command's name, in parentheses, may hold spaces: fields count from behind the last one.
        guard let end = bytes[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = String(decoding: bytes[(end + 1)..<count], as: UTF8.self).split(separator: " ")
        guard fields.count > 12, let user = UInt64(fields[11]), let system = UInt64(fields[12]) else { return nil }
        return (user + system) * 1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK)))
    }
}
