import ClearingModel
import Raft

/// What a candidate believes does not count here: only votes that disks were told to sync.
struct ElectedByMajority: Invariant {
    static let rule =
        "a leader has the votes of a majority of the voters, each durable before it was told (Raft §5.2, figure 2: "
        + "persistent state; FAULTS, forget the vote)"
    private(set) var tally = Tally()

    enum Ballot {
        case granted
        case none
        /// The voter's disk was harmed, or knows a later term by now.
        case unknown
    }

    /// A replica begins to lead.
    mutating func elected(
        _ replica: ReplicaID, _ shard: ShardID, _ term: Term, _ membership: Membership, ballot: (ReplicaID) -> Ballot
    ) -> String? {
        tally.checks += 1
        var (granted, unknown) = (0, 0)
        for voter in membership.voters {
            switch ballot(voter) {
            case .granted: granted += 1
            case .unknown: unknown += 1
            case .none: break
            }
        }
        let majority = membership.voters.count / 2 + 1
        if granted >= majority { return nil }
        if granted + unknown >= majority {
            tally.unknown += 1
            return nil
        }
        return "shard \(shard): \(replica) leads term \(term) with \(granted) durable votes of "
            + "\(membership.voters.count) voters"
    }
}
