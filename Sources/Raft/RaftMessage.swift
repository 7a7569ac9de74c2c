import ClearingModel
import Wire

/// A message between two replicas of a group. Built, held back and released by `RaftReplica`; the carrier may lose,
/// repeat, delay and reorder messages.
public struct RaftMessage: Hashable, Sendable {
    public var group: ShardID
    public var from: ReplicaID
    public var to: ReplicaID
    /// The sender's term; for a pre-vote and its granted reply, the term that the candidate would campaign in.
    public var term: Term
    public var body: Body

    public init(group: ShardID, from: ReplicaID, to: ReplicaID, term: Term, body: Body) {
        self.group = group
        self.from = from
        self.to = to
        self.term = term
        self.body = body
    }

    public enum Body: Hashable, Sendable {
        /// Asks whether an election could be won, changing nothing (Raft thesis §9.6).
        case preVote(Candidacy)
        case preVoteReply(granted: Bool)
        case vote(Candidacy)
        /// A grant leaves only when the vote is durable.
        case voteReply(granted: Bool)
        case append(Append)
        /// Everything up to `match` is durable at the sender and equals the leader's log.
        case appendReply(match: LogIndex, Followed)
        /// The entry at `previousIndex` was missing or of another term.
        case appendReject(AppendReject, Followed)
        case heartbeat(Heartbeat)
        /// `match` as in `appendReply` (zero while nothing may be acknowledged), with the sender's wall clock.
        case heartbeatReply(match: LogIndex, wall: WallTime, Followed)
        /// The receiver shall campaign at once: leadership is handed to it (Raft thesis §3.10).
        case timeoutNow
    }

    /// What a candidate shows of its log.
    public struct Candidacy: Hashable, Sendable {
        public var lastIndex: LogIndex
        public var lastTerm: Term
        /// Set on behalf of a leader that hands over: a live leader is then no reason to refuse.
        public var transfer: Bool

        public init(lastIndex: LogIndex, lastTerm: Term, transfer: Bool) {
            self.lastIndex = lastIndex
            self.lastTerm = lastTerm
            self.transfer = transfer
        }
    }

    public struct Append: Hashable, Sendable {
        /// Counts the leader's messages in its term; replies name the highest that was received.
        public var sequence: UInt64
        public var previousIndex: LogIndex
        public var previousTerm: Term
        public var commit: LogIndex
        /// The leader does not know where the logs agree: the receiver answers at once, not when it is durable.
        public var probe: Bool
        /// Consecutive, from `previousIndex + 1`.
        public var entries: [RaftEntry]

        public init(
            sequence: UInt64, previousIndex: LogIndex, previousTerm: Term, commit: LogIndex, probe: Bool,
            entries: [RaftEntry]
        ) {
            self.sequence = sequence
            self.probe = probe
            self.previousIndex = previousIndex
            self.previousTerm = previousTerm
            self.commit = commit
            self.entries = entries
        }
    }

    public struct AppendReject: Hashable, Sendable {
        /// `previousIndex` of the rejected message.
        public var previousIndex: LogIndex
        /// The highest index at which the logs may agree, and its term at the sender.
        public var hintIndex: LogIndex
        public var hintTerm: Term

        public init(previousIndex: LogIndex, hintIndex: LogIndex, hintTerm: Term) {
            self.previousIndex = previousIndex
            self.hintIndex = hintIndex
            self.hintTerm = hintTerm
        }
    }

    public struct Heartbeat: Hashable, Sendable {
        public var sequence: UInt64
        public var commit: LogIndex
        /// What the receiver has acknowledged in this term. It may take `commit` over only as far as this, or as far as
        /// it knows by itself that the logs agree.
        public var match: LogIndex
        /// The leader found the receiver's log shorter than what it had acknowledged.
        public var quarantined: Bool
        /// The receiver's doubt is over once its log is the leader's up to an index.
        public var settlement: Settlement?

        public init(
            sequence: UInt64, commit: LogIndex, match: LogIndex, quarantined: Bool, settlement: Settlement? = nil
        ) {
            self.sequence = sequence
            self.commit = commit
            self.match = match
            self.quarantined = quarantined
            self.settlement = settlement
        }
    }

    /// A majority without the replica in doubt has committed an entry that was appended after its doubt was heard of:
    /// whatever it has forgotten decides nothing any more (see RaftReplica+Doubt.swift).
    public struct Settlement: Hashable, Sendable {
        public var doubt: Doubt
        /// With the leader's log up to here the replica has all that it may have acknowledged.
        public var index: LogIndex

        public init(doubt: Doubt, index: LogIndex) {
            self.doubt = doubt
            self.index = index
        }
    }

    /// Names one start of one replica that came up with `Fence.noVote`, so that what settles the doubt of one start never
    /// passes for an answer to that of another.
    public struct Doubt: Hashable, Sendable {
        public var rawValue: UInt64
        public init(rawValue: UInt64) { self.rawValue = rawValue }
    }

    /// What every reply to a leader says about its sender.
    public struct Followed: Hashable, Sendable {
        /// The leader's highest sequence received: the reply was made after that message.
        public var sequence: UInt64
        /// Up to here the sender's log, durable or not, was found equal to the leader's in this term.
        public var matched: LogIndex
        /// The end of the sender's log, durable or not.
        public var lastIndex: LogIndex
        /// The sender may have forgotten votes and acknowledgements: it vouches for nothing before a leader has settled that.
        public var doubt: Doubt?

        public init(sequence: UInt64, matched: LogIndex, lastIndex: LogIndex, doubt: Doubt? = nil) {
            self.sequence = sequence
            self.matched = matched
            self.lastIndex = lastIndex
            self.doubt = doubt
        }
    }
}
