import Glibc

/// Waiting for a condition, with an end.
public struct Deadline: Sendable {
    private let end: UInt64
    public let seconds: Int

    public init(seconds: Int) {
        self.seconds = seconds
        end = Self.now() + UInt64(seconds) * 1_000_000_000
    }

    public var hasPassed: Bool { Self.now() >= end }

    /// Nanoseconds of the monotonic clock.
    public static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    public static func pause(milliseconds: Int) {
        var time = timespec(tv_sec: milliseconds / 1_000, tv_nsec: milliseconds % 1_000 * 1_000_000)
        var rest = timespec()
        while nanosleep(&time, &rest) != 0 && errno == EINTR { time = rest }
    }

    /// Asks again every `every` milliseconds until the answer is not `nil`; `nil` once the time is over.
    public func await<T>(every: Int = 50, _ condition: () throws -> T?) rethrows -> T? {
        while true {
            if let value = try condition() { return value }
            if hasPassed { return nil }
            Self.pause(milliseconds: every)
        }
    }
}
