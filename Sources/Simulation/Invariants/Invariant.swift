/// A rule of the system, and how often it was looked at. Each has a file of its own, named after it.
///
/// A check returns what contradicts the rule, or `nil`.
protocol Invariant {
    /// The rule in one sentence, with where it comes from.
    static var rule: String { get }
    var tally: Tally { get }
}

/// How often an invariant met something to check, and how often that something could not be decided.
struct Tally {
    var checks: UInt64 = 0
    var unknown: UInt64 = 0
}

extension Invariant {
    static var name: String { "\(Self.self)" }
    var coverage: Coverage.Row { Coverage.Row(invariant: Self.name, checks: tally.checks, unknown: tally.unknown) }
}
