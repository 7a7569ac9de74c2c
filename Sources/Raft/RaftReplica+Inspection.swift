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
    ///
    /// Changes nothing. It is `mutating` so that it works in place: a getter called through a class's property would have
    /// the whole replica copied first, with a retain for each of its arrays.
    public mutating func inspect() -> RaftInspection {
        RaftInspection(
            role: role, fence: fence, isHalted: halted != nil, term: term, vote: vote, leader: leader, commit: commit,
            applied: applied, start: log.startIndex, lastIndex: log.lastIndex, lastTerm: log.lastTerm,
            durableIndex: durability.index, hole: holeIndex, membershipIndex: memberships.currentIndex)
    }

    /// Mixes everything that `inspect` shows into 64 bits: as long as they stay the same, so does the inspection.
    public mutating func inspectStamp() -> UInt64 {
        var stamp = term.rawValue
        func mix(_ word: UInt64) { stamp = (stamp ^ word) &* 0x9E37_79B9_7F4A_7C15 ^ stamp >> 29 }
        func mix(_ replica: ReplicaID?) {
            mix(replica.map { UInt64($0.node.rawValue) | UInt64($0.incarnation.rawValue) << 32 } ?? 0)
        }
        let role: UInt64 = isLeader ? 1 : self.role == .follower ? 0 : self.role == .candidate ? 2 : 3
        mix(role | UInt64(fence.rawValue) << 8 | (halted == nil ? 0 : 1 << 16))
        mix(commit.rawValue)
        mix(applied.rawValue)
        mix(log.lastIndex.rawValue)
        mix(log.lastTerm.rawValue)
        mix(log.startIndex.rawValue)
        mix(durability.index.rawValue)
        mix(memberships.currentIndex.rawValue)
        mix(holeIndex?.rawValue ?? 0)
        mix(vote)
        mix(leader)
        return stamp
    }

    /// As `membership`, in place.
    public mutating func inspectMembership() -> Membership { memberships.current }

    /// Entries that this leader proposed in its term and that it does not know to be committed; 0 on others. What earlier
    /// leaders left undecided it has not taken, and bounds nowhere.
    public mutating func inspectProposals() -> Int {
        isLeader ? log.lastIndex - min(log.lastIndex, max(commit, firstIndexOfTerm.previous)) : 0
    }

    /// As `term(at:)`, in place.
    public mutating func inspectTerm(at index: LogIndex) -> Term? { log.term(at: index) }
}
