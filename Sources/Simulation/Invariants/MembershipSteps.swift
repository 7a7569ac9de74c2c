import ClearingModel
import Engine
import Raft

/// Majorities of two memberships next to each other overlap only under these rules.
struct MembershipSteps: Invariant {
    static let rule =
        "a leader changes the membership by one server at a time, after the change before is committed (Raft thesis §4.1)"
    private(set) var tally = Tally()

    /// A leader has put another membership into its log in this term.
    ///
    /// - Parameter before: the membership in force after the turn before, and where it stands.
    mutating func proposed(
        _ leader: ReplicaID, _ now: GroupInspection, _ membership: Membership,
        before: (index: LogIndex, membership: Membership)
    ) -> String? {
        tally.checks += 1
        let place =
            "shard \(now.shard): \(leader) leads term \(now.raft.term) and puts a membership into entry "
            + "\(now.raft.membershipIndex)"
        if before.index > now.raft.commit {
            return "\(place), while the one in entry \(before.index) is not committed"
        }
        let changed =
            membership.voters.filter { !before.membership.voters.contains($0) }.count
            + before.membership.voters.filter { !membership.voters.contains($0) }.count
        return changed <= 1 ? nil : "\(place): from \(before.membership) to \(membership)"
    }
}
