import ClearingModel

// The log's start moves forward (compact), and a follower that lacks what is gone gets a snapshot.
extension RaftReplica {
    /// Asks again for snapshots that are still missing, once a second each.
    mutating func askForSnapshots(_ effects: inout [RaftEffect]) {
        for position in followers.indices where followers[position].state == .snapshot {
            let follower = followers[position]
            if let asked = follower.snapshotAskedAt, now - asked < .seconds(1) { continue }
            followers[position].snapshotAskedAt = now
            effects.append(.needsSnapshot(for: follower.replica))
        }
    }

    /// A checkpoint covers the log up to `index` durably, and the log below may be gone.
    public mutating func compact(through index: LogIndex) {
        precondition(index <= commit, "only what is committed may be compacted")
        guard index > log.startIndex else { return }
        log.compact(through: index)
        forgetGuesses(through: index)
        durability.covered(through: index)
        applied = max(applied, index)
        // It changes nothing that is in force; but what the log no longer has cannot be corrected any more.
        _ = memberships.commit(through: index)
    }

    /// The state up to `index` is in place, which this replica knows to be committed: the log goes on behind it.
    ///
    /// - Parameter hole: the first entry above `index` that cannot be read.
    public mutating func stateRestored(
        through index: LogIndex, membership: Membership, hole: LogIndex?, _ effects: inout [RaftEffect]
    ) {
        guard halted == nil else { return }
        compact(through: index)
        memberships.reset(to: membership, at: index)
        membershipChanged()
        fence.remove(.noState)
        passHole(through: index, next: hole, &effects)
        finish(&effects)
    }

    /// A follower said that it has no state: until it is silent about that it is no target of a transfer.
    public mutating func heardOfLostState(at replica: ReplicaID) {
        guard let position = followers.firstIndex(where: { $0.replica == replica }) else { return }
        followers[position].stateWantedAt = now
    }

    /// A leader's snapshot is durable here: the state up to `index` is in place.
    ///
    /// The log goes on after it. Where the log had other entries above `index`, their truncation comes as an effect; where
    /// it ended before, the next entry persisted leaves a gap that the snapshot covers.
    /// - Parameter hole: the first entry above `index` that cannot be read, where the log goes on as it was.
    /// - Returns: false if this replica has committed that much already, or leads: the snapshot is not taken.
    @discardableResult
    public mutating func snapshotInstalled(
        index: LogIndex, term snapshotTerm: Term, membership: Membership, hole: LogIndex? = nil, now: MonotonicTime,
        _ effects: inout [RaftEffect]
    ) -> Bool {
        guard halted == nil, role != .leader, index > commit else { return false }
        observe(now, wall)
        persistHardState(&effects)
        if log.term(at: index) == snapshotTerm {
            log.compact(through: index)
            forgetGuesses(through: index)
        } else {
            if log.lastIndex > index {
                durability.truncate(from: index.next)
                effects.append(.persistTruncate(from: index.next, term: term, durability.request()))
            }
            _ = memberships.truncate(from: index.next)
            log.reset(to: index, term: snapshotTerm)
            guessed = []
        }
        durability.covered(through: index)
        memberships.reset(to: membership, at: index)
        membershipChanged()
        fence.remove(.noState)
        passHole(through: index, next: hole, &effects)
        commit = index
        applied = max(applied, index)
        matched = max(matched, index)
        effects.append(.membershipCommitted(membership))
        acknowledge(&effects)
        finish(&effects)
        return true
    }
}
