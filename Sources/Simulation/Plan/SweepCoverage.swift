/// What the worlds of a sweep met, by name: silence about what was never met proves nothing.
public struct SweepCoverage: Sendable {
    public typealias Row = (name: String, count: UInt64)

    /// How often each invariant looked at something.
    public var checks: [Row] = []
    /// How often each rare place in the code was reached.
    public var sites: [Row] = []
    /// How often each kind of fault found something to break.
    public var faults: [Row] = []

    /// A sweep of this many seeds or more meets everything: the rarest site is met once or a few times in ten thousand.
    public static let completeFrom: UInt64 = 20_000

    public init() {}

    public mutating func add(_ more: SweepCoverage) {
        Self.add(more.checks, to: &checks)
        Self.add(more.sites, to: &sites)
        Self.add(more.faults, to: &faults)
    }

    private static func add(_ more: [Row], to sum: inout [Row]) {
        for (name, count) in more {
            if let place = sum.firstIndex(where: { $0.name == name }) {
                sum[place].count += count
            } else {
                sum.append((name, count))
            }
        }
    }

    /// For people, one line each: what was never met.
    public var missed: [String] {
        let lists = [("checked", checks), ("reached", sites), ("struck", faults)]
        return lists.compactMap { verb, rows in
            let names = rows.filter { $0.count == 0 }.map(\.name)
            return names.isEmpty ? nil : "never \(verb)        " + names.joined(separator: ", ")
        }
    }

    /// Whether a sweep of so many seeds has met less than it has to.
    public func isTooLittle(for seeds: UInt64) -> Bool { seeds >= Self.completeFrom && !missed.isEmpty }
}
