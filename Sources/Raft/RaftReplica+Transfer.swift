import ClearingModel

// Handing leadership over (Raft thesis §3.10), and the reasons for which a leader does so by itself: a log thread that has
// not synced for long, and a clock that its voters do not agree with (RaftReplica+Clocks.swift).

/// A transfer under way: the leader takes no proposals until the target leads or the deadline passes.
struct Transfer: Sendable {
    var target: ReplicaID
    var deadline: MonotonicTime
    var asked = false
}

/// What became of a request to hand leadership over.
public enum TransferStart: Hashable, Sendable {
    /// Under way to this replica; `becameFollower` comes if it succeeds.
    case started(ReplicaID)
    case notLeader(ReplicaID?)
    /// One is under way already.
    case alreadyTransferring(ReplicaID)
    /// No voter was heard lately, or the one asked for is none.
    case noTarget
}

extension RaftReplica {
    /// Hands leadership to a voter, or to the one that has most of the log.
    @discardableResult
    public mutating func transferLeadership(
        to target: ReplicaID?, now: MonotonicTime, _ effects: inout [RaftEffect]
    ) -> TransferStart {
        guard role == .leader, halted == nil else { return .notLeader(leader) }
        observe(now, wall)
        if let transfer { return .alreadyTransferring(transfer.target) }
        guard let chosen = transferTarget(target) else { return .noTarget }
        transfer = Transfer(target: chosen, deadline: self.now + Limits.leadershipTransferTimeout)
        continueTransfer(&effects)
        finish(&effects)
        return .started(chosen)
    }

    /// A transfer is under way; proposals are answered `.transferring`.
    public var isTransferring: Bool { transfer != nil }

    /// The replica to hand over to because its node is preferred: set once both have been stable and matched for
    /// `Limits.preferredLeaderStable`. When, and how many shards at once, is the caller's to decide.
    public var wantsPreferredTransfer: ReplicaID? {
        guard role == .leader, transfer == nil, let since = preferredStableSince,
            now - since >= Limits.preferredLeaderStable
        else { return nil }
        return preferredVoter
    }

    private var preferredVoter: ReplicaID? {
        guard let preferred, preferred != me.node else { return nil }
        return memberships.current.voters.first { $0.node == preferred }
    }

    /// A voter that answers and is not behind in kind, with the most of the log.
    private func transferTarget(_ wanted: ReplicaID?) -> ReplicaID? {
        var best: FollowerProgress?
        for follower in followers {
            guard memberships.current.isVoter(follower.replica), wanted == nil || wanted == follower.replica,
                follower.state == .probe || follower.state == .replicate, !follower.isInDoubt,
                follower.stateWantedAt.map({ now - $0 >= .seconds(3) }) ?? true,
                now - follower.lastHeard < Limits.electionTimeoutMinimum, hasFitClock(follower)
            else { continue }
            if best.map({ follower.match > $0.match }) ?? true { best = follower }
        }
        return best?.replica
    }

    /// Asks the target to campaign as soon as it has the whole log.
    mutating func continueTransfer(_ effects: inout [RaftEffect]) {
        guard role == .leader, let under = transfer, !under.asked, let position = follower(under.target),
            followers[position].match == log.lastIndex
        else { return }
        transfer?.asked = true
        send(.timeoutNow, to: under.target, &effects)
    }

    mutating func tickTransfer(_ effects: inout [RaftEffect]) {
        if let under = transfer, now >= under.deadline || follower(under.target) == nil {
            Site.transferFailed.reached()
            transfer = nil
        }
        notePreferred()
        if transfer == nil, now >= nextForcedTransfer, clockUnfit || syncAge > Limits.leaderSyncWarning {
            nextForcedTransfer = now + Limits.leaderSyncFailure
            transferLeadership(to: nil, now: now, &effects)
        }
    }

    private mutating func notePreferred() {
        guard let voter = preferredVoter, let position = follower(voter) else { return preferredStableSince = nil }
        let follower = followers[position]
        let isStable =
            follower.state == .replicate && now - follower.lastHeard < Limits.electionTimeoutMinimum
            && log.lastIndex - follower.match <= Limits.maximumUncommittedEntries
        if !isStable { preferredStableSince = nil } else if preferredStableSince == nil { preferredStableSince = now }
    }

    /// The leader hands over: campaign at once, without asking whether a leader lives.
    mutating func handleTimeoutNow(_ from: ReplicaID, _ effects: inout [RaftEffect]) {
        guard role != .leader, mayCampaign else { return }
        becomeCandidate(transfer: true, &effects)
        if hardStateIsDurable { askForVotes(&effects) }
    }

    // MARK: - Disk

    /// Tells the age of the node's oldest write that is not durable yet; call it about as often as `tick`.
    ///
    /// Above 500 ms a leader hands over, from 1 s on it steps down; a replica does not campaign meanwhile.
    public mutating func logSyncAge(_ age: MonotonicTime.Span, now: MonotonicTime, _ effects: inout [RaftEffect]) {
        guard halted == nil else { return }
        observe(now, wall)
        syncAge = age
        if role == .leader { checkSyncAge(&effects) }
        finish(&effects)
    }

    mutating func checkSyncAge(_ effects: inout [RaftEffect]) {
        guard syncAge >= Limits.leaderSyncFailure else { return }
        if memberships.current.voters == [me] { return }  // Nobody else could do better.
        Site.steppedDownForDisk.reached()
        stepDown(&effects)
    }

    /// Gives leadership up at once, waking the best follower so that nobody waits for a time-out.
    mutating func stepDown(_ effects: inout [RaftEffect]) {
        if let target = transferTarget(nil) { send(.timeoutNow, to: target, &effects) }
        becomeFollower(term: term, leader: nil, &effects)
    }
}
