import ClearingModel

/// What was sent for the first time in the liveness phase, and what became of it.
public struct NewWork {
    private var sent: [Int]
    private var accepted: [Int]

    public init(shards: Int) {
        sent = Array(repeating: 0, count: shards + 1)
        accepted = sent
    }

    public mutating func sent(to shard: ShardID) { sent[Int(shard.rawValue)] += 1 }

    /// An answer to something sent in this phase.
    public mutating func answered(_ decision: Decision) {
        if decision.answer == .decided, decision.outcome == .accepted { accepted[Int(decision.shard.rawValue)] += 1 }
    }

    /// What a cluster that is well would have done with it by now, for people; empty when all is well.
    public var missing: [String] {
        sent.indices.filter { sent[$0] >= Self.enough && accepted[$0] == 0 }.map {
            "shard \($0) accepted none of \(sent[$0]) new payments"
        }
    }

    /// Of so many some are accepted: few ask for something that is refused for good.
    private static let enough = 10

    /// By how much a world's rate has to be multiplied for most shards to get enough in so many seconds.
    static func surge(_ parameters: WorldParameters, seconds: UInt64) -> UInt64 {
        let wanted = UInt64(3 * enough * parameters.shards)
        let usual = max(1, seconds * UInt64(parameters.rate))
        return (wanted + usual - 1) / usual
    }
}
