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
}
