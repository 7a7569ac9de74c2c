import ClearingModel
import Raft

/// What a leader believes does not count here: only what disks were told to sync.
struct CommittedOnMajority: Invariant {
    static let rule =
        "an entry is on the durable logs of a majority of the voters before anybody learns that it is committed "
        + "(Raft §5.3, §3.8 of the thesis; FAULTS, durable when acknowledged)"
    private(set) var tally = Tally()

    enum Holding {
        case durable
        case absent
        /// The replica's disk was harmed: it may have held the entry when it said so.
        case unknown
    }

    mutating func committed(
        _ shard: ShardID, _ index: LogIndex, _ term: Term, by replica: ReplicaID, _ membership: Membership,
        holding: (ReplicaID) -> Holding
    ) -> String? {
        tally.checks += 1
        var (durable, unknown) = (0, 0)
        for voter in membership.voters {
            switch holding(voter) {
            case .durable: durable += 1
            case .unknown: unknown += 1
            case .absent: break
            }
        }
        let majority = membership.voters.count / 2 + 1
        if durable >= majority { return nil }
        if durable + unknown >= majority {
            tally.unknown += 1
            return nil
        }
        let holders = membership.voters.map { voter in
            switch holding(voter) {
            case .durable: "\(voter) has it"
            case .unknown: "\(voter) may have had it"
            case .absent: "\(voter) has not"
            }
        }
        return "shard \(shard): \(replica) takes entry \(index) of term \(term) for committed; durable: "
            + (holders.isEmpty ? "nobody votes" : holders.joined(separator: ", "))
    }
}
