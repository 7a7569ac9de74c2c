import ClearingModel

// Elections: Raft §5.2 and §5.4.1, with pre-vote (thesis §9.6) and live leaders left alone (thesis §4.2.3).
//
// The death of a process is seen as the end of its connections, by its peers at slightly different moments. Whoever sees
// it forgets that leader and asks for pre-votes within 15 ms; a peer that has not seen it yet refuses, so the first rounds
// are short and repeated. A peer that grants a pre-vote holds its own timer back, one that has the better log pulls it forward.
extension RaftReplica {
    private static let quickRoundCount = 6

    // MARK: - Time

    /// The preferred leader's time-outs end where those of the others begin: a group that starts, or whose leader falls
    /// silent, is led by it at once where it can, and needs no transfer later. Whether a group is safe does not depend on
    /// time-outs (Raft §5.6).
    mutating func resetElectionDeadline() {
        let width = Limits.electionTimeoutMaximum.nanoseconds - Limits.electionTimeoutMinimum.nanoseconds
        let split = preferred == nil ? 0 : width / 4
        let range = preferred == me.node ? 0...split : split...width
        electionDeadline =
            now + Limits.electionTimeoutMinimum
            + .init(nanoseconds: random.below(range.upperBound - range.lowerBound + 1) + range.lowerBound)
    }

    func tickElectionIsDue() -> Bool { now >= electionDeadline && now >= judgeAfter }

    mutating func tickElection(_ effects: inout [RaftEffect]) {
        guard tickElectionIsDue() else { return }
        leader = nil
        guard mayCampaign else {
            role = .follower
            resetElectionDeadline()
            return
        }
        startPreVote(&effects)
    }

    /// A voter with nothing in doubt and a disk that answers.
    var mayCampaign: Bool {
        memberships.current.isVoter(me) && fence.isEmpty && syncAge <= Limits.leaderSyncWarning
    }

    private var mayVote: Bool { fence.isDisjoint(with: [.noVote, .quarantined]) }

    /// A leader was heard within the shortest election time-out, or is this replica.
    var leaderIsLive: Bool {
        if role == .leader { return true }
        guard leader != nil, let leaderHeardAt else { return false }
        return now - leaderHeardAt < Limits.electionTimeoutMinimum
    }

    /// A message of this term's leader came. False if the term had another one, and this replica has halted.
    mutating func heardLeader(_ replica: ReplicaID, _ effects: inout [RaftEffect]) -> Bool {
        if let leader, leader != replica {
            halt(.secondLeader(replica, term), &effects)
            return false
        }
        if role != .follower || leader == nil { becomeFollower(term: term, leader: replica, &effects) }
        leaderHeardAt = now
        quickRounds = 0
        resetElectionDeadline()
        return true
    }

    // MARK: - Terms

    /// Brings the term up to a message's. False if the message ends here.
    mutating func adoptTerm(of message: RaftMessage, _ effects: inout [RaftEffect]) -> Bool {
        if message.term < term { return refuseStale(message, &effects) }
        guard message.term > term else { return true }
        switch message.body {
        case .preVote, .preVoteReply(granted: true): return true
        case .vote(let candidacy):
            // Thesis §4.2.3: a server that a live leader leads lets nobody raise its term.
            if leaderIsLive, !candidacy.transfer { return false }
            becomeFollower(term: message.term, leader: nil, &effects)
        case .append, .heartbeat, .timeoutNow:
            becomeFollower(term: message.term, leader: message.from, &effects)
        default: becomeFollower(term: message.term, leader: nil, &effects)
        }
        return true
    }

    /// Tells the sender of a message from a past term which term it is.
    private func refuseStale(_ message: RaftMessage, _ effects: inout [RaftEffect]) -> Bool {
        switch message.body {
        case .preVote: send(.preVoteReply(granted: false), to: message.from, &effects)
        case .preVoteReply(granted: false): return true
        case .vote: send(.voteReply(granted: false), to: message.from, &effects)
        case .append, .heartbeat:
            let followed = RaftMessage.Followed(sequence: 0, matched: .zero, lastIndex: log.lastIndex)
            send(.heartbeatReply(match: .zero, wall: wall, followed), to: message.from, &effects)
        default: break
        }
        return false
    }

    /// Follows, in this term or a later one.
    mutating func becomeFollower(term newTerm: Term, leader newLeader: ReplicaID?, _ effects: inout [RaftEffect]) {
        precondition(newTerm >= term, "terms never go back")
        if role == .leader { leaveLeadership(&effects) }
        if newTerm > term {
            term = newTerm
            vote = nil
            hardStateChanged = true
            forgetTerm()
        }
        role = .follower
        leader = newLeader
        leaderHeardAt = newLeader == nil ? nil : now
        resetElectionDeadline()
        announce(&effects)
    }

    /// Drops what was true in the last term only.
    private mutating func forgetTerm() {
        held.removeAll()
        matched = commit
        lastAcknowledged = .zero
        leaderSequence = 0
    }

    // MARK: - Campaign

    private mutating func startPreVote(_ effects: inout [RaftEffect]) {
        role = .preCandidate
        granted = [me]
        refused = []
        announce(&effects)
        setRoundDeadline()
        let candidacy = RaftMessage.Candidacy(lastIndex: log.lastIndex, lastTerm: log.lastTerm, transfer: false)
        for voter in memberships.current.voters where voter != me {
            send(.preVote(candidacy), to: voter, term: term.next, &effects)
        }
        tally(&effects)
    }

    /// The first rounds after a connection ended are short: whoever has not seen the end yet will in a moment.
    private mutating func setRoundDeadline() {
        guard quickRounds > 0 else { return resetElectionDeadline() }
        let round = UInt64(Self.quickRoundCount - quickRounds)
        quickRounds -= 1
        electionDeadline =
            now + Limits.disconnectElectionDelayMaximum * (1 << round)
            + randomSpan(upTo: Limits.disconnectElectionDelayMaximum)
    }

    mutating func becomeCandidate(transfer: Bool, _ effects: inout [RaftEffect]) {
        term = term.next
        forgetTerm()
        role = .candidate
        leader = nil
        leaderHeardAt = nil
        vote = me
        granted = []
        refused = []
        askedForVotes = false
        candidacyIsTransfer = transfer
        hardStateChanged = true
        persistHardState(&effects)
        resetElectionDeadline()
        announce(&effects)
    }

    /// The own vote is durable, and with it the log that it speaks for: now others may be asked.
    mutating func askForVotes(_ effects: inout [RaftEffect]) {
        askedForVotes = true
        granted.append(me)
        let candidacy = RaftMessage.Candidacy(
            lastIndex: log.lastIndex, lastTerm: log.lastTerm, transfer: candidacyIsTransfer)
        for voter in memberships.current.voters where voter != me { send(.vote(candidacy), to: voter, &effects) }
        tally(&effects)
    }

    private mutating func tally(_ effects: inout [RaftEffect]) {
        let (granted, refused) = (granted, refused)
        let outcome = Quorum.outcome(of: memberships.current.voters) { voter in
            granted.contains(voter) ? true : refused.contains(voter) ? false : nil
        }
        switch (outcome, role) {
        case (.won, .preCandidate): becomeCandidate(transfer: false, &effects)
        case (.won, .candidate): becomeLeader(&effects)
        case (.lost, _):
            // The round's own deadline stays: it is short after a lost connection, and a full time-out otherwise.
            role = .follower
        default: break
        }
    }

    // MARK: - Answers

    private func isUpToDate(_ candidacy: RaftMessage.Candidacy) -> Bool {
        (candidacy.lastTerm, candidacy.lastIndex) >= (log.lastTerm, log.lastIndex)
    }

    mutating func handlePreVote(
        _ message: RaftMessage, _ candidacy: RaftMessage.Candidacy, _ effects: inout [RaftEffect]
    ) {
        if role == .leader { teachRemoved(message.from, candidacy, &effects) }
        let couldVote = message.term > term || (leader == nil && (vote == nil || vote == message.from))
        guard mayVote, couldVote, !leaderIsLive, isUpToDate(candidacy), !isRival(message, candidacy) else {
            send(.preVoteReply(granted: false), to: message.from, &effects)
            if !isUpToDate(candidacy), !leaderIsLive, role == .follower, mayCampaign {
                electionDeadline = min(
                    electionDeadline, now + randomSpan(upTo: Limits.disconnectElectionDelayMaximum))
            }
            return
        }
        send(.preVoteReply(granted: true), to: message.from, term: message.term, &effects)
        if role == .preCandidate { role = .follower }
        if role == .follower {
            let hold = now + Limits.disconnectElectionDelayMaximum * 2
            electionDeadline = max(electionDeadline, hold + randomSpan(upTo: Limits.disconnectElectionDelayMaximum))
        }
    }

    /// Two replicas that ask at once with equal logs: the lower id goes on, or both would vote for themselves.
    private func isRival(_ message: RaftMessage, _ candidacy: RaftMessage.Candidacy) -> Bool {
        role == .preCandidate && me < message.from && message.term == term.next
            && candidacy.lastIndex == log.lastIndex && candidacy.lastTerm == log.lastTerm
    }

    mutating func handlePreVoteReply(_ message: RaftMessage, granted isGranted: Bool, _ effects: inout [RaftEffect]) {
        guard role == .preCandidate, !isGranted || message.term == term.next else { return }
        count(message.from, isGranted, &effects)
    }

    mutating func handleVote(
        _ message: RaftMessage, _ candidacy: RaftMessage.Candidacy, _ effects: inout [RaftEffect]
    ) {
        guard mayVote, leader == nil, vote == nil || vote == message.from, isUpToDate(candidacy) else {
            send(.voteReply(granted: false), to: message.from, &effects)
            return
        }
        if vote == nil {
            vote = message.from
            hardStateChanged = true
            persistHardState(&effects)
        }
        resetElectionDeadline()
        let reply = RaftMessage(group: group, from: me, to: message.from, term: term, body: .voteReply(granted: true))
        if hardStateIsDurable { effects.append(.send(reply)) } else if !held.contains(reply) { held.append(reply) }
    }

    mutating func handleVoteReply(_ message: RaftMessage, granted isGranted: Bool, _ effects: inout [RaftEffect]) {
        guard role == .candidate, askedForVotes else { return }
        count(message.from, isGranted, &effects)
    }

    private mutating func count(_ replica: ReplicaID, _ isGranted: Bool, _ effects: inout [RaftEffect]) {
        // Votes of replicas outside the membership count for nothing.
        guard memberships.current.isVoter(replica), !granted.contains(replica), !refused.contains(replica) else {
            return
        }
        if isGranted { granted.append(replica) } else { refused.append(replica) }
        tally(&effects)
    }

    // MARK: - Lost connections

    /// The connection to a node ended without a goodbye: its process may be gone.
    public mutating func peerLost(_ node: NodeID, now: MonotonicTime, _ effects: inout [RaftEffect]) {
        guard halted == nil else { return }
        observe(now, wall)
        if role == .leader {
            connectionLost(to: node)
        } else if leader?.node == node {
            leader = nil
            leaderHeardAt = nil
            if mayCampaign {
                quickRounds = Self.quickRoundCount
                electionDeadline = now + randomSpan(upTo: Limits.disconnectElectionDelayMaximum)
            }
        }
        finish(&effects)
    }
}
