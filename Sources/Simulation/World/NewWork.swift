import ClearingModel

/// What was sent for the first time in the liveness phase, and what became of it.
public struct NewWork {
    private var sent: [Int]
    private var decided: [Int]
    private var accepted = 0

    public init(shards: Int) {
        sent = Array(repeating: 0, count: shards + 1)
        decided = sent
    }

    public mutating func sent(to shard: ShardID) { sent[Int(shard.rawValue)] += 1 }

    /// An answer to something sent in this phase.
    public mutating func answered(_ decision: Decision) {
        guard decision.answer == .decided else { return }
        decided[Int(decision.shard.rawValue)] += 1
        if decision.outcome == .accepted { accepted += 1 }
    }

    /// What a cluster that is well would have done with it by now, for people; empty when all is well.
    public var missing: [String] {
        var list = sent.indices.filter { sent[$0] >= Self.enough && decided[$0] == 0 }.map {
            "shard \($0) decided none of \(sent[$0]) new payments"
        }
        if sent.reduce(0, +) >= Self.enough, accepted == 0 { list.append("no new payment was accepted") }
        return list
    }

    /// A few may be refused for good: their sequence number is taken, by its fingerprint.
    private static let enough = 10
}
