import ClearingModel
import LocalCluster
import Workload

/// What a run of the benchmark was asked for, checked.
public struct BenchPlan: Hashable, Sendable {
    public var cases: [BenchCase]
    /// Seconds of measurement of each case that has no end of its own.
    public var seconds: Double
    public var kills: Int
    public var shards: Int

    public static let fullKills = 10

    public init(cases: [String], seconds: String, kills: Int, shards: Int) throws(FlagError) {
        self.cases = try BenchCase.chosen(cases)
        guard let time = LoadPlan.seconds(seconds), time >= 1, time <= 3_000 else {
            throw FlagError("--seconds '\(seconds)': give 1 to 3000")
        }
        guard (1...100).contains(kills) else { throw FlagError("--kills \(kills): give 1 to 100") }
        guard (1...Limits.maximumShards).contains(shards) else {
            throw FlagError("--shards \(shards): give 1 to \(Limits.maximumShards)")
        }
        self.seconds = time
        self.kills = kills
        self.shards = shards
    }

    /// What makes the figures of a case weaker than they should be.
    public func shortcomings(of one: BenchCase) -> [String] {
        switch one.offer {
        case .payments: []
        case .kills:
            kills < Self.fullKills ? ["only \(kills) kills: \(Self.fullKills) are the standard"] : []
        default:
            seconds < BenchCase.fullSeconds
                ? ["measured for \(Figure.text(seconds)) s only: \(Int(BenchCase.fullSeconds)) s are the standard"] : []
        }
    }
}
