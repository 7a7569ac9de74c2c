/// A reading of a node's monotonic clock, in nanoseconds from an arbitrary start. Time-outs count in it.
public struct MonotonicTime: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func + (a: MonotonicTime, b: Span) -> MonotonicTime {
        MonotonicTime(rawValue: a.rawValue &+ b.nanoseconds)
    }
    /// The span from `b` to `a`; zero where `b` is the later one.
    @inlinable public static func - (a: MonotonicTime, b: MonotonicTime) -> Span {
        Span(nanoseconds: a.rawValue > b.rawValue ? a.rawValue - b.rawValue : 0)
    }

    /// A length of time in nanoseconds.
    public struct Span: Hashable, Comparable, Sendable {
        public var nanoseconds: UInt64
        @inlinable public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
        @inlinable public static func < (a: Span, b: Span) -> Bool { a.nanoseconds < b.nanoseconds }
        @inlinable public static func milliseconds(_ count: UInt64) -> Span { Span(nanoseconds: count * 1_000_000) }
        @inlinable public static func seconds(_ count: UInt64) -> Span { .milliseconds(count * 1_000) }
        public var milliseconds: Double { Double(nanoseconds) / 1e6 }
        @inlinable public static func * (a: Span, factor: UInt64) -> Span { Span(nanoseconds: a.nanoseconds * factor) }
    }
}

/// A reading of the wall clock, or the ledger time that a leader derived from one: microseconds since
/// 1970-01-01T00:00Z.
///
/// Ledger time is `max(previous + 1, wall clock)`, stamped into the header of every entry; microseconds, so that
/// "previous + 1" does not run ahead of the clock at thousands of entries a second.
public struct WallTime: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = WallTime(rawValue: 0)
    @inlinable public init(milliseconds: UInt64) { self.init(rawValue: milliseconds * 1_000) }
    @inlinable public var milliseconds: UInt64 { rawValue / 1_000 }
}

extension BusinessDay {
    /// The day's first instant in a calendar whose zone is `offsetMinutes` east of UTC.
    public func start(offsetMinutes: Int) -> WallTime {
        WallTime(rawValue: UInt64(Int(rawValue) * 86_400_000_000 - offsetMinutes * 60_000_000))
    }

    /// The day that holds `time` in a calendar whose zone is `offsetMinutes` east of UTC.
    public init(at time: WallTime, offsetMinutes: Int) {
        self.init(rawValue: UInt16((Int(time.rawValue) + offsetMinutes * 60_000_000) / 86_400_000_000))
    }

    /// Year, month and day of the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
    /// algorithms").
    public var civil: (year: Int, month: Int, day: Int) {
        let z = Int(rawValue) + 719_468
        let era = z / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    /// The business day of a civil date; `nil` before 1970, after 2149, or for a date that does not exist.
    public init?(year: Int, month: Int, day: Int) {
        guard (1970...2149).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        guard let raw = UInt16(exactly: days) else { return nil }
        self.init(rawValue: raw)
        guard civil == (year, month, day) else { return nil }
    }

    /// `YYYYMMDD`, as in the text form of a transaction id.
    public var compactText: String {
        let (year, month, day) = civil
        return String(year * 10_000 + month * 100 + day)
    }
}
