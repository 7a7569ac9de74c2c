import ClearingModel

/// What an outside check compares after every step of a replica: plain values, copied without an allocation.
public struct RaftInspection: Equatable, Sendable {
    public var role: Role
    public var fence: Fence
    public var isHalted: Bool
    public var term: Term
    /// Whom the replica voted for in `term`, durable or not.
    public var vote: ReplicaID?
    public var leader: ReplicaID?
    public var commit: LogIndex
    public var applied: LogIndex
    /// The last entry before the log's start: what a snapshot covers.
    public var start: LogIndex
    public var lastIndex: LogIndex
    public var lastTerm: Term
    /// The log is durable here up to this index.
    public var durableIndex: LogIndex
    public var hole: LogIndex?
    /// Where the membership in force stands in the log.
    public var membershipIndex: LogIndex

    /// Compares bare integers: this runs for every group after every turn of a simulated node.
    public static func == (a: RaftInspection, b: RaftInspection) -> Bool {
        a.role == b.role && a.term.rawValue == b.term.rawValue && a.commit.rawValue == b.commit.rawValue
            && a.applied.rawValue == b.applied.rawValue && a.lastIndex.rawValue == b.lastIndex.rawValue
            && a.lastTerm.rawValue == b.lastTerm.rawValue && a.durableIndex.rawValue == b.durableIndex.rawValue
            && a.start.rawValue == b.start.rawValue && a.membershipIndex.rawValue == b.membershipIndex.rawValue
            && a.fence.rawValue == b.fence.rawValue && a.isHalted == b.isHalted && a.vote == b.vote
            && a.leader == b.leader && a.hole == b.hole
    }
}

extension RaftReplica {
    /// The replica as it stands, for checks from outside. O(1).
    public var inspection: RaftInspection {
        RaftInspection(
            role: role, fence: fence, isHalted: halted != nil, term: term, vote: vote, leader: leader, commit: commit,
            applied: applied, start: log.startIndex, lastIndex: log.lastIndex, lastTerm: log.lastTerm,
            durableIndex: durability.index, hole: holeIndex, membershipIndex: memberships.currentIndex)
    }
}
