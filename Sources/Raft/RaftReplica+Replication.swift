import ClearingModel
import Wire

// A leader's side of replication: Raft §5.3 and §5.4.2, pipelined (thesis §10.2.1 for sending before the own sync).
extension RaftReplica {
    // MARK: - Leadership

    mutating func becomeLeader(_ effects: inout [RaftEffect]) {
        precondition(role == .candidate)
        role = .leader
        leader = me
        leaderSince = now
        heartbeatDue = now + Limits.heartbeatInterval
        sequence = 0
        transfer = nil
        clockSkewed = false
        preferredStableSince = nil
        followers = []
        membershipChanged()
        announce(&effects)
        firstIndexOfTerm = log.lastIndex.next
        appendOwn(.noop, .empty, &effects)
    }

    /// Clears what only a leader has.
    mutating func leaveLeadership(_ effects: inout [RaftEffect]) {
        followers = []
        transfer = nil
        clockSkewed = false
        matched = commit
        lastAcknowledged = .zero
        for token in reads.drain() { effects.append(.readFailed(token: token)) }
    }

    mutating func tickLeader(_ effects: inout [RaftEffect]) {
        guard hasQuorumContact else {
            becomeFollower(term: term, leader: nil, &effects)
            return
        }
        checkSyncAge(&effects)
        guard role == .leader else { return }
        tickTransfer(&effects)
        if now >= heartbeatDue {
            heartbeatDue = now + Limits.heartbeatInterval
            checkClock()
            sendHeartbeats(&effects)
            askForSnapshots(&effects)
        }
        followers.removeAll { $0.departing != nil && now >= $0.departBy }
    }

    /// Check quorum: a leader that hears no majority may have been replaced long ago.
    private var hasQuorumContact: Bool {
        guard now >= judgeAfter else { return true }
        let heard = Quorum.reached(by: memberships.current.voters) { voter in
            voter == me ? now : follower(voter).map { followers[$0].lastHeard } ?? MonotonicTime(0)
        }
        return heard.map { now - $0 <= Limits.electionTimeoutMaximum } ?? false
    }

    func follower(_ replica: ReplicaID) -> Int? { followers.firstIndex { $0.replica == replica } }

    // MARK: - Proposals

    /// Puts an entry of the shard's ledger into the log, sends it and asks for it to be written.
    public mutating func propose(_ payload: Slab, _ effects: inout [RaftEffect]) -> Proposal {
        precondition(payload.count <= Limits.maximumEntryBytes, "an entry above the limit")
        guard role == .leader, halted == nil else { return .notLeader(leader) }
        if transfer != nil { return .transferring }
        if clockSkewed { return .clockSkewed }
        if isFull { return .backpressure }
        return .accepted(appendOwn(.data, payload, &effects), term)
    }

    /// As many proposals are undecided as may be.
    public var isFull: Bool { log.lastIndex - commit >= Limits.maximumUncommittedEntries }

    @discardableResult
    mutating func appendOwn(_ kind: EntryKind, _ payload: Slab, _ effects: inout [RaftEffect]) -> LogIndex {
        let entry = RaftEntry(index: log.lastIndex.next, term: term, kind: kind, payload: payload)
        guard append([entry], &effects) else { preconditionFailure("an own entry is not understood") }
        for position in followers.indices { sendAppends(position, &effects) }
        return entry.index
    }

    // MARK: - Sending

    /// Sends as much as the follower's state allows.
    mutating func sendAppends(_ position: Int, _ effects: inout [RaftEffect]) {
        while true {
            let follower = followers[position]
            guard !follower.loading, !follower.waitsForReply else { return }
            switch follower.state {
            case .quarantined, .snapshot: return
            case .probe: break
            case .replicate: if follower.next > log.lastIndex || !follower.hasRoom { return }
            }
            guard let previousTerm = log.term(at: follower.next.previous) else {
                followers[position].become(.snapshot, next: follower.next)
                followers[position].snapshotAskedAt = now
                effects.append(.needsSnapshot(for: follower.replica))
                return
            }
            if follower.next < log.cacheFirst, follower.next <= log.lastIndex {
                if let failed = follower.loadFailedAt, now - failed < Limits.heartbeatInterval { return }
                followers[position].loading = true
                effects.append(
                    .loadEntries(for: follower.replica, from: follower.next, maxBytes: Limits.maximumEntryBytes))
                return
            }
            sendAppend(position, previousTerm, entriesFromMemory(for: follower), &effects)
        }
    }

    /// The next entries for one message: at least one, then as many as fit a frame and the follower's window.
    private func entriesFromMemory(for follower: FollowerProgress) -> [RaftEntry] {
        var entries: [RaftEntry] = []
        var (index, bytes) = (follower.next, 0)
        let most = max(1, Limits.maximumInflightEntries - follower.inflightEntries)
        while entries.count < most, let entry = log.entry(at: index) {
            bytes += entry.payload.count
            if !entries.isEmpty, bytes > Limits.maximumEntryBytes { break }
            entries.append(entry)
            index = index.next
        }
        return entries
    }

    private mutating func sendAppend(
        _ position: Int, _ previousTerm: Term, _ entries: [RaftEntry], _ effects: inout [RaftEffect]
    ) {
        sequence += 1
        let follower = followers[position]
        let probe = follower.state == .probe
        let append = RaftMessage.Append(
            sequence: sequence, previousIndex: follower.next.previous, previousTerm: previousTerm, commit: commit,
            probe: probe, entries: entries)
        followers[position].appendSequence = sequence
        if probe {
            followers[position].waitsForReply = true
        } else if let last = entries.last {
            followers[position].sent(through: last.index, bytes: entries.reduce(0) { $0 + $1.payload.count })
        }
        send(.append(append), to: follower.replica, &effects)
    }

    /// Answers `RaftEffect.loadEntries`: consecutive entries from the index asked for, or none if they cannot be read.
    public mutating func entriesLoaded(
        for replica: ReplicaID, _ entries: [RaftEntry], now: MonotonicTime, _ effects: inout [RaftEffect]
    ) {
        guard halted == nil else { return }
        observe(now, wall)
        guard role == .leader, let position = follower(replica), followers[position].loading else { return }
        followers[position].loading = false
        let follower = followers[position]
        let usable = follower.state == .probe || follower.state == .replicate
        if usable, let first = entries.first, first.index == follower.next,
            let previousTerm = log.term(at: first.index.previous), areOurs(entries)
        {
            followers[position].loadFailedAt = nil
            sendAppend(position, previousTerm, oneMessage(of: entries), &effects)
        } else if usable, entries.isEmpty || entries[0].index == follower.next {
            followers[position].loadFailedAt = self.now
        }
        sendAppends(position, &effects)
        finish(&effects)
    }

    /// The first entries, as many as one message may carry.
    private func oneMessage(of entries: [RaftEntry]) -> [RaftEntry] {
        var bytes = 0
        let end = entries.firstIndex {
            bytes += $0.payload.count
            return bytes > Limits.maximumEntryBytes
        }
        return Array(entries.prefix(min(max(1, end ?? entries.count), Limits.maximumInflightEntries)))
    }

    /// Entries from disk belong to this log: consecutive, and of the terms that it has.
    private func areOurs(_ entries: [RaftEntry]) -> Bool {
        var index = entries[0].index
        for entry in entries {
            guard entry.index == index, log.term(at: index) == entry.term else { return false }
            index = index.next
        }
        return true
    }

    mutating func sendHeartbeats(_ effects: inout [RaftEffect]) {
        sequence += 1
        for position in followers.indices {
            let follower = followers[position]
            followers[position].heartbeatSequence = sequence
            followers[position].heartbeatSentAt = now
            if let departing = follower.departing, follower.departSequence == nil,
                min(commit, follower.match) >= departing
            {
                followers[position].departSequence = sequence
            }
            let heartbeat = RaftMessage.Heartbeat(
                sequence: sequence, commit: min(commit, follower.match), quarantined: follower.state == .quarantined)
            send(.heartbeat(heartbeat), to: follower.replica, &effects)
        }
    }

    // MARK: - Replies

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
        let follower = followers[position]
        followers[position].lastHeard = now
        followers[position].answered = max(follower.answered, followed.sequence)
        if follower.state == .quarantined { return nil }
        // It answers a message that was sent after it had acknowledged more than its log now holds.
        if followed.sequence > follower.matchSequence, followed.lastIndex < follower.match {
            followers[position].become(.quarantined, next: follower.next)
            followers[position].match = .zero
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
        let follower = followers[position]
        let agreed = max(follower.match, followed.matched)
        switch follower.state {
        case .probe:
            if agreed >= follower.next.previous {
                followers[position].become(.replicate, next: agreed.next)
            } else if followed.sequence >= follower.appendSequence {
                followers[position].waitsForReply = false
            }
        case .replicate:
            if follower.next <= agreed { followers[position].next = agreed.next }
            guard followed.sequence >= follower.appendSequence else { break }
            followers[position].waitsForReply = false
            // It answers the newest append, or something later, and lacks what was sent before: a message was lost.
            if agreed < follower.next.previous { followers[position].become(.replicate, next: agreed.next) }
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
        let follower = followers[position]
        let isStale =
            switch follower.state {
            case .probe: reject.previousIndex != follower.next.previous
            case .replicate: reject.previousIndex <= follower.match || reject.previousIndex >= follower.next
            case .snapshot, .quarantined: true
            }
        guard !isStale else { return }
        let agreed = log.lastIndex(
            upTo: min(reject.hintIndex, reject.previousIndex.previous), termAtMost: reject.hintTerm)
        followers[position].become(.probe, next: max(agreed, follower.match).next)
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

    // MARK: - Commit

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
