import ClearingModel

// What a leader learns from its followers: what they have, that they live, what to send next, what is committed.
extension RaftReplica {
    mutating func handleReply(
        _ from: ReplicaID, match: LogIndex, _ followed: RaftMessage.Followed, wall: WallTime?,
        _ effects: inout [RaftEffect]
    ) {
        guard let position = heard(from, followed, &effects) else { return }
        if let wall { sampleClock(position, wall, followed) }
        acknowledge(position, match: match, followed)
        // The order matters: a commit may end this leadership, and with it the books on followers.
        advanceCommit(&effects)
        confirmReads(&effects)
        guard role == .leader, let position = follower(from) else { return }
        if let departed = followers[position].departSequence, followed.sequence >= departed {
            followers.remove(at: position)
            return
        }
        sendAppends(position, &effects)
        continueTransfer(&effects)
    }

    /// What every reply of a follower in this term tells; its position, unless it counts for nothing.
    private mutating func heard(
        _ from: ReplicaID, _ followed: RaftMessage.Followed, _ effects: inout [RaftEffect]
    ) -> Int? {
        guard role == .leader, let position = follower(from), followed.sequence <= sequence else { return nil }
        if followers[position].state == .quarantined { return nil }
        followers[position].lastHeard = now
        followers[position].isInDoubt = followed.doubt != nil
        if let doubt = followed.doubt {
            noteDoubt(doubt, position)
            return position
        }
        followers[position].answered = max(followers[position].answered, followed.sequence)
        // It answers a message that was sent after it had acknowledged more than its log now holds.
        let (match, matchSequence) = (followers[position].match, followers[position].matchSequence)
        if followed.sequence > matchSequence, followed.lastIndex < match {
            followers[position].become(.quarantined, next: match.next)
            followers[position].match = .zero
            followers[position].answered = 0
            effects.append(.quarantined(from))
            return nil
        }
        return position
    }

    private mutating func acknowledge(_ position: Int, match: LogIndex, _ followed: RaftMessage.Followed) {
        guard match <= log.lastIndex, followed.matched <= log.lastIndex else { return }
        if match > followers[position].match {
            followers[position].match = match
            followers[position].matchSequence = sequence
            followers[position].acknowledged(through: match)
        }
        let (next, agreed) = (followers[position].next, max(followers[position].match, followed.matched))
        // What it may not acknowledge yet it has all the same: the window moves on.
        if followed.doubt != nil { followers[position].acknowledged(through: agreed) }
        let answersNewest = followed.sequence >= followers[position].appendSequence
        switch followers[position].state {
        case .probe:
            if agreed >= next.previous {
                followers[position].become(.replicate, next: agreed.next)
            } else if answersNewest {
                followers[position].waitsForReply = false
            }
        case .replicate:
            if next <= agreed { followers[position].next = agreed.next }
            guard answersNewest else { break }
            followers[position].waitsForReply = false
            // It has read everything that was sent, and lacks some of it: a message was lost.
            if agreed < next.previous { followers[position].become(.replicate, next: agreed.next) }
        case .snapshot:
            if agreed >= log.startIndex { followers[position].become(.replicate, next: agreed.next) }
        case .quarantined: break
        }
        trimCache()
    }

    mutating func handleReject(
        _ from: ReplicaID, _ reject: RaftMessage.AppendReject, _ followed: RaftMessage.Followed,
        _ effects: inout [RaftEffect]
    ) {
        guard let position = heard(from, followed, &effects) else { return }
        confirmReads(&effects)
        let (next, match) = (followers[position].next, followers[position].match)
        let isStale =
            switch followers[position].state {
            case .probe: reject.previousIndex != next.previous
            case .replicate: reject.previousIndex <= match || reject.previousIndex >= next
            case .snapshot, .quarantined: true
            }
        guard !isStale else { return }
        let agreed = log.lastIndex(
            upTo: min(reject.hintIndex, reject.previousIndex.previous), termAtMost: reject.hintTerm)
        followers[position].become(.probe, next: max(agreed, match).next)
        sendAppends(position, &effects)
    }

    /// A connection ended: what was on its way is lost.
    mutating func connectionLost(to node: NodeID) {
        for position in followers.indices where followers[position].replica.node == node {
            // The next reply says where to go on; until then nothing is sent into the void.
            followers[position].waitsForReply = true
            followers[position].appendSequence = sequence
        }
    }

    /// Commits what a majority of voters has durably, if it is of this term (Raft §5.4.2).
    mutating func advanceCommit(_ effects: inout [RaftEffect]) {
        guard role == .leader else { return }
        let reached = Quorum.reached(by: memberships.current.voters) { voter in
            voter == me ? durability.index : follower(voter).map { followers[$0].match } ?? .zero
        }
        guard let reached, reached > commit, log.term(at: reached) == term else { return }
        commit(through: reached, &effects)
        startReadRound(&effects)
        if memberships.currentIndex <= commit, !memberships.current.isVoter(me) { leaveAfterRemoval(&effects) }
    }
}
