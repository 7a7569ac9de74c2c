import ClearingModel

// Membership, one server at a time (Raft §6, thesis §4.1 to §4.2): a membership is in force from the moment it stands in
// the log. A leader proposes one only after it has committed in its own term and the one before is committed.
extension RaftReplica {
    /// Puts the membership after `change` into the log.
    public mutating func propose(membership change: MembershipChange, _ effects: inout [RaftEffect])
        -> MembershipProposal
    {
        guard role == .leader, halted == nil else { return .refused(.notLeader(leader)) }
        if transfer != nil { return .refused(.transferring) }
        guard mayChangeMembership else { return .refused(.termNotCommitted) }
        guard memberships.currentIndex <= commit else { return .refused(.changeInProgress(memberships.currentIndex)) }
        if let refusal = refusal(of: change) { return .refused(refusal) }
        switch membership.applying(change) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let after):
            let index = appendOwn(.configuration, after.encoded(), &effects)
            // A group of one voter commits when its own write is done; smaller quorums may be reached already.
            advanceCommit(&effects)
            return .accepted(index, term)
        }
    }

    /// What only a leader knows about the replicas in question.
    private func refusal(of change: MembershipChange) -> MembershipRefusal? {
        switch change {
        case .addLearner(let replica):
            let newest = incarnations.first { $0.node == replica.node }
            if let newest, newest.incarnation > replica.incarnation { return .oldIncarnation(newest) }
            return nil
        case .promote(let replica):
            guard membership.isLearner(replica) else { return .notLearner }
            guard let position = follower(replica), followers[position].state == .replicate else {
                return .behind(log.lastIndex - (follower(replica).map { followers[$0].match } ?? .zero))
            }
            let lag = log.lastIndex - followers[position].match
            return lag > Limits.maximumUncommittedEntries ? .behind(lag) : nil
        case .remove: return nil
        }
    }

    /// Brings the leader's books in line with the membership in force.
    mutating func membershipChanged() {
        let membership = memberships.current
        for replica in membership.voters + membership.learners {
            _ = noteIncarnation(replica)
            guard role == .leader, replica != me else { continue }
            if let position = follower(replica) {
                followers[position].departing = nil
                followers[position].departSequence = nil
            } else {
                followers.append(FollowerProgress(replica: replica, next: log.lastIndex.next, now: now))
            }
        }
        for position in followers.indices where !membership.contains(followers[position].replica) {
            depart(position, at: memberships.currentIndex)
        }
    }

    /// Goes on sending to a replica that was removed until it has learned so: then it no longer asks for votes.
    private mutating func depart(_ position: Int, at index: LogIndex) {
        guard followers[position].departing == nil else { return }
        followers[position].departing = index
        followers[position].departSequence = nil
        followers[position].departBy = now + Limits.preferredLeaderStable
    }

    /// A replica that is no member asks for votes: it was removed without having learned so.
    mutating func teachRemoved(
        _ replica: ReplicaID, _ candidacy: RaftMessage.Candidacy, _ effects: inout [RaftEffect]
    ) {
        guard !membership.contains(replica), follower(replica) == nil,
            followers.count < Limits.maximumReplicas * 2
        else { return }
        followers.append(
            FollowerProgress(replica: replica, next: min(candidacy.lastIndex, log.lastIndex).next, now: now))
        depart(followers.count - 1, at: memberships.currentIndex)
        sendAppends(followers.count - 1, &effects)
    }

    /// The entry that removed this leader is committed: it was the last thing to do.
    mutating func leaveAfterRemoval(_ effects: inout [RaftEffect]) {
        // The others learn the commit from whoever leads next; so that nobody waits for a time-out, one is woken.
        stepDown(&effects)
    }
}
