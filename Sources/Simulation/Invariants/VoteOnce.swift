import Audit
import ClearingModel
import Engine

/// Votes as the hard state shows them after each turn, and as the disk was made to remember them.
struct VoteOnce: Invariant {
    static let rule =
        "a replica votes at most once in a term, over restarts of its incarnation too (Raft §5.2; FAULTS, vote once)"
    private(set) var tally = Tally()

    /// - Parameters:
    ///   - known: the last term and vote of this replica; becomes what it shows now.
    ///   - isDamaged: its disk was harmed, so that it may have forgotten, as long as it does not vote.
    mutating func turned(
        _ replica: ReplicaID, _ now: GroupInspection, known: inout DurableVote, isDamaged: Bool
    ) -> String? {
        let (term, vote) = (now.raft.term, now.raft.vote)
        defer {
            if term > known.term || (term == known.term && vote != nil) {
                known.term = term
                known.vote = vote
            }
        }
        if vote != nil { tally.checks += 1 }
        guard term <= known.term, let before = known.vote else { return nil }
        guard term == known.term else {
            // Back in an older term, which `NothingGoesBack` judges: a vote there may be a second one.
            guard vote != nil else { return nil }
            return "shard \(now.shard), \(replica) votes in term \(term) after it was in term \(known.term)"
        }
        if vote == before { return nil }
        if vote == nil, isDamaged, now.raft.fence.contains(.noVote) {
            tally.unknown += 1
            return nil
        }
        return "shard \(now.shard), \(replica) voted for \(before) in term \(term), "
            + (vote.map { "and then for \($0)" } ?? "and has forgotten it")
    }
}
