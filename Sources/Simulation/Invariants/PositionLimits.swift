import Audit
import ClearingModel
import Engine

/// A position below zero available was once above: only a lowered limit or funding may bring it there.
struct PositionLimits: Invariant {
    static let rule =
        "no accepted debit takes a position past what it may use (DOMAIN, invariant 2; FAULTS, no position past its limit)"
    private(set) var tally = Tally()

    /// What a replica says that a participant may still pay.
    mutating func available(
        _ replica: ReplicaID, _ shard: ShardID, _ participant: ParticipantID, _ available: Int128, wasLowered: Bool
    ) -> String? {
        tally.checks += 1
        if available >= 0 { return nil }
        if wasLowered {
            tally.unknown += 1
            return nil
        }
        return "shard \(shard), \(replica): participant \(participant) is \(-available) past its limit"
    }
}
