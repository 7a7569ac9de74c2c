import ClearingModel
import Engine

/// Two leaders that each change the membership as their logs have it may make majorities that do not meet.
struct MembershipAfterCommit: Invariant {
    static let rule =
        "a leader changes the membership only after it has committed in its own term (Raft thesis §4.1 with its correction "
        + "of 2015; DESIGN, Raft)"
    private(set) var tally = Tally()

    /// A leader ended a turn.
    ///
    /// - Parameter termAt: terms of its log.
    mutating func leads(_ replica: ReplicaID, _ now: GroupInspection, termAt: (LogIndex) -> Term?) -> String? {
        let index = now.raft.membershipIndex
        guard index > now.raft.commit, termAt(index) == now.raft.term else { return nil }
        tally.checks += 1
        if termAt(now.raft.commit) == now.raft.term { return nil }
        return "shard \(now.shard): \(replica) leads term \(now.raft.term), changed the membership at \(index), and "
            + "has committed \(now.raft.commit) only, of an earlier term"
    }
}
