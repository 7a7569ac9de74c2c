import ClearingModel

/// An invariant that does not hold: which, what it says, and what was seen instead.
public struct Violation: Error, Hashable, Sendable, CustomStringConvertible {
    /// Name of the invariant, which is its type and file.
    public var invariant: String
    /// The rule in one sentence, with where it comes from.
    public var rule: String
    /// Who, where, which values.
    public var details: String
    /// Virtual time of the event after which it was seen.
    public var at: MonotonicTime

    public init(invariant: String, rule: String, details: String, at: MonotonicTime) {
        self.invariant = invariant
        self.rule = rule
        self.details = details
        self.at = at
    }

    public var description: String { "\(invariant): \(details). The rule: \(rule)" }
}

/// What a run proves.
public enum Verdict: String, Sendable {
    case valid
    case invalid
    /// Nothing was violated, but something that was acknowledged could not be looked at.
    case unknown
}

/// How often each invariant was checked: one that never met work proves nothing.
public struct Coverage: Sendable, CustomStringConvertible {
    public struct Row: Hashable, Sendable {
        public var invariant: String
        /// Looks at something that could have violated it.
        public var checks: UInt64
        /// Looks that could not decide, as what they needed was damaged.
        public var unknown: UInt64
    }

    /// One per invariant, in a fixed order.
    public var rows: [Row]

    /// Invariants that met nothing to check.
    public var idle: [String] { rows.filter { $0.checks == 0 }.map(\.invariant) }

    public var description: String {
        rows.map { row in
            "\(row.invariant) \(row.checks)" + (row.unknown > 0 ? " (\(row.unknown) unknown)" : "")
        }.joined(separator: ", ")
    }
}
