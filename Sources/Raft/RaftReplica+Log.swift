import ClearingModel
import Wire

// Both roles: entries into the log, commit, and the acknowledgements of a follower.
extension RaftReplica {
    // MARK: - Growing and cutting the log

    /// Appends to the log and asks for it to be written. False if an entry cannot be understood; the replica has halted.
    mutating func append(_ entries: [RaftEntry], _ effects: inout [RaftEffect]) -> Bool {
        persistHardState(&effects)
        if let from = staleTailFrom {
            staleTailFrom = nil
            effects.append(.persistTruncate(from: from, term: term, durability.request()))
        }
        for entry in entries {
            log.append(entry)
            guard entry.kind == .configuration else { continue }
            do {
                memberships.append(try Membership(decoding: entry.payload), at: entry.index)
            } catch {
                halt(.unreadableMembership(entry.index), &effects)
                return false
            }
            membershipChanged()
        }
        effects.append(.persistEntries(entries, durability.request(through: log.lastIndex)))
        return true
    }

    /// Voids the log from `index` on, by a record of its own in front of the entries that replace it.
    mutating func truncate(from index: LogIndex, _ effects: inout [RaftEffect]) {
        precondition(index > commit, "a committed entry would be voided")
        persistHardState(&effects)
        log.truncate(from: index)
        // What decides stands behind each: it is gone too.
        guessed.removeAll { $0.upperBound >= index }
        durability.truncate(from: index)
        Site.conflictTruncated.reached()
        if memberships.truncate(from: index) {
            Site.membershipTruncated.reached()
            membershipChanged()
        }
        effects.append(.persistTruncate(from: index, term: term, durability.request()))
    }

    // MARK: - Commit

    /// Moves the commit index forward to `index`, which is in the log.
    mutating func commit(through index: LogIndex, _ effects: inout [RaftEffect]) {
        var index = min(index, log.lastIndex)
        // Past a hole nothing can be applied, so nothing past it is said to be committed.
        if let holeIndex { index = min(index, holeIndex.previous) }
        guard index > commit else { return }
        commit = index
        matched = max(matched, commit)
        effects.append(.committed(commit))
        if let membership = memberships.commit(through: commit) { effects.append(.membershipCommitted(membership)) }
        trimCache()
    }

    // MARK: - A follower's side of replication

    mutating func handleAppend(_ from: ReplicaID, _ message: RaftMessage.Append, _ effects: inout [RaftEffect]) {
        guard heardLeader(from, &effects) else { return }
        leaderSequence = max(leaderSequence, message.sequence)
        var entries = message.entries[...]
        var (previousIndex, previousTerm) = (message.previousIndex, message.previousTerm)
        // What is committed here equals the leader's log: there is nothing to do for it but to see that it is so.
        if previousIndex <= commit, contradictsCommitted(previousIndex, previousTerm, &effects) { return }
        while previousIndex < commit, let first = entries.first {
            if contradictsCommitted(first.index, first.term, &effects) { return }
            (previousIndex, previousTerm) = (first.index, first.term)
            entries = entries.dropFirst()
        }
        if previousIndex > commit, !matches(previousIndex, previousTerm) { return reject(from, message, &effects) }
        while let first = entries.first, let known = log.term(at: first.index) {
            if let void = guesses(contradictedBy: first.index, first.term) {
                giveUp(void, &effects)
                return reject(from, message, &effects)
            }
            guard known == first.term || guesses(around: first.index) != nil else { break }
            entries = entries.dropFirst()
        }
        if let first = entries.first {
            if first.index <= log.lastIndex { truncate(from: first.index, &effects) }
            guard append(Array(entries), &effects) else { return }
        }
        matched = max(matched, message.previousIndex + message.entries.count)
        #if SUANPAN_MUTATIONS
            if Mutation.active == .applyUncommitted { commit(through: matched, &effects) }
        #endif
        commit(through: min(message.commit, matched), &effects)
        if message.probe || acknowledgeable >= message.previousIndex + message.entries.count {
            acknowledge(&effects)
        }
    }

    /// Log matching: the log has the entry that a message goes on from (Raft §5.3).
    private func matches(_ index: LogIndex, _ term: Term) -> Bool {
        #if SUANPAN_MUTATIONS
            if Mutation.active == .skipLogMatching { return index <= log.lastIndex }
        #endif
        // Of a hole the leader has sent the entries before this one, which were passed over.
        return guesses(around: index) != nil ? index <= matched : log.term(at: index) == term
    }

    /// A leader has another entry where one is committed here: nothing sound comes of going on.
    private mutating func contradictsCommitted(_ index: LogIndex, _ term: Term, _ effects: inout [RaftEffect]) -> Bool {
        guard let known = log.term(at: index), known != term else { return false }
        halt(.committedConflict(index), &effects)
        return true
    }

    private func reject(_ leader: ReplicaID, _ message: RaftMessage.Append, _ effects: inout [RaftEffect]) {
        var hint = max(commit, log.lastIndex(upTo: message.previousIndex, termAtMost: message.previousTerm))
        if let range = guesses(around: hint) { hint = range.lowerBound.previous }
        let reject = RaftMessage.AppendReject(
            previousIndex: message.previousIndex, hintIndex: hint, hintTerm: log.term(at: hint) ?? .zero)
        send(.appendReject(reject, followed), to: leader, &effects)
    }

    mutating func handleHeartbeat(_ from: ReplicaID, _ message: RaftMessage.Heartbeat, _ effects: inout [RaftEffect]) {
        guard heardLeader(from, &effects) else { return }
        leaderSequence = max(leaderSequence, message.sequence)
        if message.quarantined { fence.insert(.quarantined) }
        // What was acknowledged in this term is durable and equal, over a restart too; a log that is shorter lost its tail. One
        // that may have lost a truncation can be as long and hold what was void: it has to be compared anew.
        if !fence.contains(.noVote), message.match <= durability.index { matched = max(matched, message.match) }
        commit(through: min(message.commit, matched), &effects)
        if let settlement = message.settlement { settle(settlement, from) }
        send(.heartbeatReply(match: acknowledgeable, wall: wall, followed), to: from, &effects)
    }

    private var followed: RaftMessage.Followed {
        RaftMessage.Followed(
            sequence: leaderSequence, matched: matched, lastIndex: log.lastIndex,
            doubt: fence.contains(.noVote) ? doubt : nil)
    }

    /// How much of the log this replica may vouch for: equal to the leader's, durable, read back without a hole.
    private var acknowledgeable: LogIndex {
        guard hardStateIsDurable, fence.isDisjoint(with: [.noVote, .quarantined]) else { return .zero }
        #if SUANPAN_MUTATIONS
            if Mutation.active == .acknowledgeBeforeSync { return matched }
        #endif
        let index = min(matched, durability.index)
        return holeIndex.map { min(index, $0.previous) } ?? index
    }

    mutating func acknowledge(_ effects: inout [RaftEffect]) {
        guard let leader, leader != me else { return }
        lastAcknowledged = acknowledgeable
        send(.appendReply(match: lastAcknowledged, followed), to: leader, &effects)
    }

    /// More became durable: tell the leader.
    mutating func acknowledgeDurable(_ effects: inout [RaftEffect]) {
        if role == .follower, acknowledgeable > lastAcknowledged { acknowledge(&effects) }
        if holeIndex != nil { trimCache() }
    }

    // MARK: - Memory

    /// Lets go of entries that are applied and durable, unless a follower may need them soon.
    mutating func trimCache() {
        var matchedByAll = applied
        for follower in followers where follower.state == .probe || follower.state == .replicate {
            matchedByAll = min(matchedByAll, follower.match)
        }
        // Without a state, or in front of a hole, nothing is applied for as long as that takes; the log on disk has it all.
        let isStuck = holeIndex != nil || fence.contains(.noState)
        let limit = isStuck ? durability.index : min(applied, durability.index)
        log.trimCache(
            upTo: limit, freely: role == .leader ? matchedByAll : .zero,
            keepingBytes: role == .leader ? Limits.entryCacheBytes : Limits.entryCacheBytes / 8)
    }
}
