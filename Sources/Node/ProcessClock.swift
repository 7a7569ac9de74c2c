import CPlatform
import ClearingModel

/// The clocks of this process. A value, so that a node started for fault tests can set its wall clock wrong on purpose.
public struct ProcessClock: Sendable {
    /// Added to the wall clock, in microseconds.
    public var wallOffset: Int64 = 0

    public init() {}

    /// Nanoseconds of the monotonic clock.
    public var monotonic: MonotonicTime { MonotonicTime(suanpan_monotonic_nanoseconds()) }

    /// Microseconds since 1970-01-01T00:00Z, offset included.
    public var wall: WallTime {
        WallTime(UInt64(clamping: Int64(clamping: suanpan_wall_microseconds()) &+ wallOffset))
    }

    /// User and system time of the process, in nanoseconds.
    public static var cpu: UInt64 { suanpan_process_cpu_nanoseconds() }

    /// User and system time of the calling thread, in nanoseconds.
    public static var threadCPU: UInt64 { suanpan_thread_cpu_nanoseconds() }

    /// Bytes of the process in memory.
    public static var residentBytes: UInt64 { suanpan_resident_bytes() }
}

/// The text of an `errno`.
public func errorText(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        suanpan_error_text(code, buffer.baseAddress!, buffer.count)
        return String(cString: buffer.baseAddress!)
    }
}
