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
        scheduleHeartbeat()
        sequence = 0
        transfer = nil
        clock = .unknown
        clockSeen = (now, wall)
        preferredStableSince = nil
        followers = []
        membershipChanged()
        announce(&effects)
        firstIndexOfTerm = log.lastIndex.next
        appendOwn(.noop, .empty, &effects)
        // The answers bring the voters' clocks, and come no later than those that commit the term's first entry.
        sendHeartbeats(&effects)
        checkClock()
    }

    /// Clears what only a leader has.
    mutating func leaveLeadership(_ effects: inout [RaftEffect]) {
        // More than the first entry of its term, which every leader has.
        if log.lastIndex > max(commit, firstIndexOfTerm) { Site.steppedDownWithPipeline.reached() }
        followers = []
        transfer = nil
        clock = .unknown
        matched = commit
        lastAcknowledged = .zero
        for token in reads.drain() { effects.append(.readFailed(token: token)) }
    }

    mutating func tickLeader(_ effects: inout [RaftEffect]) {
        guard hasQuorumContact else {
            Site.steppedDownWithoutQuorum.reached()
            becomeFollower(term: term, leader: nil, &effects)
            return
        }
        checkSyncAge(&effects)
        guard role == .leader else { return }
        tickTransfer(&effects)
        if now >= heartbeatDue {
            scheduleHeartbeat()
            checkClock()
            settleDoubts(&effects)
            sendHeartbeats(&effects)
            askForSnapshots(&effects)
        }
        followers.removeAll { $0.departing != nil && now >= $0.departBy }
    }

    /// Heartbeats are due at multiples of the interval, so that those of all groups on a node travel together.
    private mutating func scheduleHeartbeat() {
        let interval = Limits.heartbeatInterval.nanoseconds
        heartbeatDue = MonotonicTime((now.rawValue / interval + 1) * interval)
    }

    /// Check quorum: a leader that hears no majority may have been replaced long ago, perhaps by the very votes that a replica
    /// in doubt has forgotten.
    private var hasQuorumContact: Bool {
        guard now >= judgeAfter else { return true }
        let heard = Quorum.reached(by: memberships.current.voters) { voter in
            if voter == me { return now }
            guard let position = follower(voter), !followers[position].isInDoubt else { return MonotonicTime(0) }
            return followers[position].lastHeard
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
        guard case .agreed = clock else { return .clockInDoubt }
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
        while !followers[position].loading, !followers[position].waitsForReply {
            let next = followers[position].next
            switch followers[position].state {
            case .quarantined, .snapshot: return
            case .probe: break
            case .replicate: if next > log.lastIndex || !followers[position].hasRoom { return }
            }
            guard let previousTerm = log.term(at: next.previous) else {
                followers[position].become(.snapshot, next: next)
                followers[position].snapshotAskedAt = now
                effects.append(.needsSnapshot(for: followers[position].replica))
                return
            }
            if next < log.cacheFirst, next <= log.lastIndex {
                if let failed = followers[position].loadFailedAt, now - failed < Limits.heartbeatInterval { return }
                followers[position].loading = true
                let replica = followers[position].replica
                effects.append(.loadEntries(for: replica, from: next, maxBytes: Limits.maximumEntryBytes))
                return
            }
            let most = max(1, Limits.maximumInflightEntries - followers[position].inflightEntries)
            sendAppend(position, previousTerm, entriesFromMemory(from: next, atMost: most), &effects)
        }
    }

    /// Entries for one message: at least one, then as many as fit a frame.
    private func entriesFromMemory(from first: LogIndex, atMost most: Int) -> [RaftEntry] {
        var entries: [RaftEntry] = []
        var (index, bytes) = (first, 0)
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
        let probe = followers[position].state == .probe
        let append = RaftMessage.Append(
            sequence: sequence, previousIndex: followers[position].next.previous, previousTerm: previousTerm,
            commit: commit, probe: probe, entries: entries)
        followers[position].appendSequence = sequence
        if probe {
            followers[position].waitsForReply = true
        } else if let last = entries.last {
            followers[position].sent(through: last.index, bytes: entries.reduce(0) { $0 + $1.payload.count })
        }
        send(.append(append), to: followers[position].replica, &effects)
    }

    /// Answers `RaftEffect.loadEntries`: consecutive entries from the index asked for, or none if they cannot be read.
    public mutating func entriesLoaded(
        for replica: ReplicaID, _ entries: [RaftEntry], now: MonotonicTime, _ effects: inout [RaftEffect]
    ) {
        guard halted == nil else { return }
        observe(now, wall)
        guard role == .leader, let position = follower(replica), followers[position].loading else { return }
        followers[position].loading = false
        let (state, next) = (followers[position].state, followers[position].next)
        let usable = state == .probe || state == .replicate
        if usable, let first = entries.first, first.index == next,
            let previousTerm = log.term(at: first.index.previous), areOurs(entries)
        {
            followers[position].loadFailedAt = nil
            sendAppend(position, previousTerm, oneMessage(of: entries), &effects)
        } else if usable, entries.isEmpty || entries[0].index == next {
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
            followers[position].askForClock(sequence, at: now)
            if let departing = follower.departing, follower.departSequence == nil,
                min(commit, follower.match) >= departing
            {
                followers[position].departSequence = sequence
            }
            let heartbeat = RaftMessage.Heartbeat(
                sequence: sequence, commit: commit, match: follower.match, quarantined: follower.state == .quarantined,
                settlement: settlement(for: follower))
            send(.heartbeat(heartbeat), to: follower.replica, &effects)
        }
    }
}
