import ClearingModel

// Linearizable reads without a log write: read index (Raft thesis §6.4). One round of heartbeats confirms the leadership
// for every read that came before it started; reads that come during a round share the next one. No leases, no clocks.

/// Reads that wait for a confirmation of leadership.
struct ReadRounds: Sendable {
    /// Not in a round yet.
    var waiting: [UInt64] = []
    /// In the round that is under way.
    var running: [UInt64] = []
    /// The commit index when the round began, and the sequence of its heartbeats.
    var index = LogIndex.zero
    var sequence: UInt64 = 0

    /// Every token, oldest first; none is left.
    mutating func drain() -> [UInt64] {
        defer { self = ReadRounds() }
        return running + waiting
    }
}

extension RaftReplica {
    /// Asks from which applied index on a read shows everything that was acknowledged before now.
    ///
    /// Answered by `readReady` or `readFailed` with the same token; the latter on any replica that does not lead.
    public mutating func read(token: UInt64, now: MonotonicTime, _ effects: inout [RaftEffect]) {
        guard role == .leader, halted == nil else {
            effects.append(.readFailed(token: token))
            return
        }
        observe(now, wall)
        reads.waiting.append(token)
        startReadRound(&effects)
        finish(&effects)
    }

    /// Starts the next round if there is a reason and none is under way.
    ///
    /// Not before the leader has committed in its own term: until then it does not know which entries are committed.
    mutating func startReadRound(_ effects: inout [RaftEffect]) {
        guard hasCommittedInTerm, reads.running.isEmpty, !reads.waiting.isEmpty else { return }
        swap(&reads.running, &reads.waiting)
        reads.index = commit
        sendHeartbeats(&effects)
        reads.sequence = sequence
        confirmReads(&effects)
    }

    /// Ends the round once a majority answered something that was sent in it or after.
    mutating func confirmReads(_ effects: inout [RaftEffect]) {
        guard role == .leader, !reads.running.isEmpty else { return }
        let answered = Quorum.reached(by: memberships.current.voters) { voter in
            voter == me ? UInt64.max : follower(voter).map { followers[$0].answered } ?? 0
        }
        guard let answered, answered >= reads.sequence else { return }
        for token in reads.running { effects.append(.readReady(token: token, index: reads.index)) }
        reads.running.removeAll(keepingCapacity: true)
        startReadRound(&effects)
    }
}
