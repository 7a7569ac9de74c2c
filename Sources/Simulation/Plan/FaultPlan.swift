import ClearingModel

/// Everything that goes wrong on purpose (FAULTS.md).
public enum FaultKind: String, CaseIterable, Sendable {
    case kill, killAll, powerCut, powerCutAll, crashPoint
    case pause, slowNode
    case isolate, split, ring, oneWay, pair, dataCentre, hunt
    case resetLinks, halfOpen, slowLink
    case clockJump, clockDrift
    case diskStall, slowDisk, failWrite, failSync, diskFull
    case damage, wipe
    case restartAll, transfer
    case burst, garbage, days
    case slowReader
}

/// One planned fault: everything about it that is drawn is drawn here, so that a run without it is the same run otherwise.
public struct PlannedFault: Sendable, CustomStringConvertible {
    public var number: Int
    public var kind: FaultKind
    /// Simulated microseconds from the start of the safety phase.
    public var at: UInt64
    public var lasts: UInt64
    /// The node it begins with, by position.
    public var node: Int
    /// For whatever else the kind needs.
    public var seed: UInt64

    public init(number: Int, kind: FaultKind, at: UInt64, lasts: UInt64, node: Int, seed: UInt64 = 1) {
        self.number = number
        self.kind = kind
        self.at = at
        self.lasts = lasts
        self.node = node
        self.seed = seed
    }

    public var description: String {
        "#\(number) \(kind.rawValue) of node \(node + 1) at \(Double(at) / 1e6) s for \(Double(lasts) / 1e6) s"
    }
}

extension WorldParameters {
    /// The faults of this world, in order of time.
    func plan() -> [PlannedFault] {
        var random = SeededRandom(seed: seed ^ 0xFA17_5C4E_D01E_0002)
        guard !faultKinds.isEmpty else { return [] }
        var plan = (0..<faults).map { _ in
            PlannedFault(
                number: 0, kind: random.pick(faultKinds), at: random.below(UInt64(seconds) * 1_000_000),
                // Most are short against an election, some longer than anybody's patience.
                lasts: random.pick([20_000, 200_000, 1_000_000, 3_000_000, 10_000_000]) / 2
                    + random.below(1_000_000),
                node: Int(random.below(UInt64(nodes))), seed: random.next())
        }
        plan.sort { ($0.at, $0.seed) < ($1.at, $1.seed) }
        for index in plan.indices { plan[index].number = index }
        return plan
    }
}
