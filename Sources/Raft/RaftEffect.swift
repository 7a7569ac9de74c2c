import ClearingModel

/// What a replica wants done, in the order in which it wants it.
///
/// The `persist…` effects of one replica are appended to the node's log in exactly the order in which they come, and
/// `RaftReplica.persisted(through:)` is called when all of them up to a sequence are durable. Nothing else has to wait for
/// them: whatever may not leave before something is durable is held back inside the replica.
public enum RaftEffect: Hashable, Sendable {
    /// Append these consecutive entries; the first follows the last entry persisted or left by a truncation.
    case persistEntries([RaftEntry], PersistSequence)
    /// Record that entries from this index on are void; comes before the entries that replace them.
    case persistTruncate(from: LogIndex, term: Term, PersistSequence)
    /// Record term, vote and the commit hint.
    case persistHardState(HardState, PersistSequence)
    /// Send; it may leave at once, before anything above is durable.
    case send(RaftMessage)
    /// Entries up to here are committed for ever: apply them. May run ahead of what is durable on this replica.
    case committed(LogIndex)
    /// This replica leads from now on. Comes before the term's first entry is proposed.
    case becameLeader(Term)
    /// This replica does not lead; also comes when only the term or the known leader changes.
    case becameFollower(Term, leader: ReplicaID?)
    /// The read with this token may be served once the applied index is at least `index` (Raft thesis §6.4).
    case readReady(token: UInt64, index: LogIndex)
    /// The read cannot be served here: this replica does not lead, or does not any more.
    case readFailed(token: UInt64)
    /// A follower needs entries that are no longer in memory: read them and call `RaftReplica.entriesLoaded`
    /// (with none if they cannot be read). One request per follower is open at a time.
    case loadEntries(for: ReplicaID, from: LogIndex, maxBytes: Int)
    /// A follower needs entries from before the log's start: send it a snapshot. Repeated every second while it lasts.
    case needsSnapshot(for: ReplicaID)
    /// The newest membership entry is committed.
    case membershipCommitted(Membership)
    /// The leader found that this replica's log ends before what it had acknowledged: raise an alarm. It no longer counts.
    case quarantined(ReplicaID)
    /// This replica met something that cannot be, and takes no further part; the other groups of the node go on.
    case halted(HaltReason)
}

/// What a replica met that cannot be, within the faults that Raft survives.
public enum HaltReason: Hashable, Sendable {
    /// A leader sent another entry for an index that was committed here.
    case committedConflict(LogIndex)
    /// One term had two leaders; the second is named.
    case secondLeader(ReplicaID, Term)
    /// A membership entry cannot be read.
    case unreadableMembership(LogIndex)
}

/// What became of a proposal.
public enum Proposal: Hashable, Sendable {
    /// Stands in the leader's log at this index; committed if the entry at that index is committed in this term.
    case accepted(LogIndex, Term)
    /// Ask that replica, if one is known.
    case notLeader(ReplicaID?)
    /// `Limits.maximumUncommittedEntries` proposals are undecided: try again after a commit.
    case backpressure
    /// Leadership is being handed over: try again in a moment.
    case transferring
    /// This leader's clock is too far from its voters' median, or was not compared with theirs yet: it stamps nothing.
    case clockInDoubt
}

public enum Role: Hashable, Sendable {
    case follower
    /// Asks whether it could win an election.
    case preCandidate
    case candidate
    case leader
}
