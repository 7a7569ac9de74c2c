import ClearingModel

// What others may see of a replica.
extension RaftReplica {
    public var lastIndex: LogIndex { log.lastIndex }
    public var lastTerm: Term { log.lastTerm }
    /// The first entry that the log still has; `lastIndex + 1` where it is empty.
    public var firstIndex: LogIndex { log.startIndex.next }
    /// The membership in force: the newest in the log, committed or not.
    public var membership: Membership { memberships.current }
    public var committedMembership: Membership { memberships.committed }
    public var isLeader: Bool { role == .leader }
    public var isFenced: Bool { !fence.isEmpty || halted != nil }
    /// The log is durable here up to this index.
    public var durableIndex: LogIndex { durability.index }
    /// Term, vote and commit as a new log segment would open with them.
    public var hardState: HardState { HardState(term: term, vote: vote, commit: commit) }
    /// This leader has committed in its own term: it may serve reads and change the membership.
    public var hasCommittedInTerm: Bool { role == .leader && commit >= firstIndexOfTerm }
    /// Thesis §4.1, as corrected in 2015: a change before that could meet one that an earlier leader began.
    public var mayChangeMembership: Bool {
        #if SUANPAN_MUTATIONS
            if Mutation.active == .changeMembershipEarly { return role == .leader }
        #endif
        return hasCommittedInTerm
    }
    /// Bytes of entries held in memory.
    public var cachedBytes: Int { log.cacheBytes }

    /// The term of an entry; `nil` outside `firstIndex - 1 ... lastIndex`.
    public func term(at index: LogIndex) -> Term? { log.term(at: index) }

    /// An entry from memory; every one above the applied index that came since start is there. `nil`: read the log.
    public func entry(at index: LogIndex) -> RaftEntry? { log.entry(at: index) }

    /// The members that the leader sends to, in a fixed order; empty on others.
    public var followerStatus: [FollowerStatus] {
        followers.filter { $0.departing == nil }.map {
            FollowerStatus(
                replica: $0.replica, state: $0.state, match: $0.match, lag: max(0, log.lastIndex - $0.match),
                lastHeard: $0.lastHeard, isVoter: membership.isVoter($0.replica))
        }
    }

    /// When the next `tick` could do something: calling it just after this saves waiting for the regular one.
    public var nextDeadline: MonotonicTime {
        if role == .leader { return heartbeatDue }
        return max(electionDeadline, judgeAfter)
    }
}
