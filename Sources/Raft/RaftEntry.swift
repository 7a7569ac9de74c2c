import ClearingModel
import Wire

/// What the payload of a log entry is. Raw values stand in the log and on the wire and never change.
public enum EntryKind: UInt8, Sendable, CaseIterable {
    /// Empty; the first entry of every term, so that the leader can commit in it (Raft §5.4.2, §8).
    case noop = 0
    /// Opaque to Raft: an entry of the shard's ledger.
    case data = 1
    /// A `Membership` in its wire form.
    case configuration = 2
}

/// One entry of a shard's log.
public struct RaftEntry: Hashable, Sendable, CustomStringConvertible {
    public var index: LogIndex
    public var term: Term
    public var kind: EntryKind
    /// Shared, never copied, between log thread, followers and apply.
    public var payload: Slab

    public init(index: LogIndex, term: Term, kind: EntryKind, payload: Slab) {
        self.index = index
        self.term = term
        self.kind = kind
        self.payload = payload
    }

    /// Two entries of one log with the same index and term are the same entry (Raft §5.3, log matching).
    public static func == (a: RaftEntry, b: RaftEntry) -> Bool {
        a.index == b.index && a.term == b.term && a.kind == b.kind && a.payload == b.payload
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(index)
        hasher.combine(term)
    }

    public var description: String { "\(term)/\(index) \(kind) \(payload.count) B" }
}

/// What a replica must remember over a restart besides its log.
public struct HardState: Hashable, Sendable, CustomStringConvertible {
    public var term: Term
    /// Whom the replica voted for in `term`.
    public var vote: ReplicaID?
    /// A hint, saved lazily: everything up to here was committed when this was written.
    public var commit: LogIndex

    public init(term: Term, vote: ReplicaID?, commit: LogIndex) {
        self.term = term
        self.vote = vote
        self.commit = commit
    }

    public static let initial = HardState(term: .zero, vote: nil, commit: .zero)

    public var description: String { "term \(term) vote \(vote.map(\.description) ?? "none") commit \(commit)" }
}

/// A run of log entries with one term: from `firstIndex` to before the next run.
public struct TermRun: Hashable, Sendable {
    public var firstIndex: LogIndex
    public var term: Term

    public init(firstIndex: LogIndex, term: Term) {
        self.firstIndex = firstIndex
        self.term = term
    }
}

/// Counts what one replica asked to be made durable. The disk completes in this order.
public struct PersistSequence: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = PersistSequence(rawValue: 0)
    public var next: PersistSequence { PersistSequence(rawValue: rawValue + 1) }
}

/// What a replica may not do because its disk, or its history, is in doubt.
public struct Fence: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The log has a hole: the replica does not campaign and acknowledges nothing at or past the hole
    /// until `RaftReplica.holeRepaired`.
    public static let noCampaign = Fence(rawValue: 1)
    /// Hard state or the end of the log may be lost: the replica neither votes, campaigns nor acknowledges until a leader
    /// has committed, without it, an entry that came after the leader had heard of this (RaftReplica+Doubt.swift).
    public static let noVote = Fence(rawValue: 2)
    /// The leader saw this replica's log end before what it had acknowledged: an older disk image. It takes no part
    /// any more; the node has to come back with a new incarnation.
    public static let quarantined = Fence(rawValue: 4)
    /// No whole checkpoint covers the log's start: the log is all there, and the replica votes and acknowledges as any,
    /// but has nothing to apply it to, so it does not campaign until `stateRestored` or `snapshotInstalled`.
    public static let noState = Fence(rawValue: 8)
    /// What recovery finds again for as long as it is so: not written down.
    public static let evident: Fence = [.noCampaign, .noState]
}

/// What the node's log knows of one replica when the process starts.
public struct RecoveredState: Sendable {
    /// Its commit may be raised to what a checkpoint covers: that was applied, and so committed.
    public var hardState: HardState
    /// The membership at `snapshotIndex`; at the start of a log, the one that the group was made with.
    /// Empty for a replica that has yet to be told that it belongs to the group.
    public var membership: Membership
    /// Last entry that the newest checkpoint covers, and where the log may begin after; both zero if there is none.
    public var snapshotIndex: LogIndex
    public var snapshotTerm: Term
    /// Terms of the entries up to `lastIndex`, ascending. Runs that lie below the snapshot are ignored, except that a
    /// log whose term at `snapshotIndex` is not `snapshotTerm` is dropped as a whole: the snapshot replaced it.
    public var termRuns: [TermRun]
    /// Last entry of the log; `snapshotIndex` where the log is empty.
    public var lastIndex: LogIndex
    /// Membership entries of the log above the snapshot, ascending.
    public var configurationEntries: [(LogIndex, Membership)]
    public var fence: Fence
    /// First index whose entry cannot be read, where `fence` holds `.noCampaign`.
    public var holeIndex: LogIndex?
    /// Entries whose terms are guesses: those of holes. What stands right behind each, or ends the log there, is exact.
    public var guessed: [Range<LogIndex>]

    public init(
        hardState: HardState = .initial, membership: Membership, snapshotIndex: LogIndex = .zero,
        snapshotTerm: Term = .zero, termRuns: [TermRun] = [], lastIndex: LogIndex = .zero,
        configurationEntries: [(LogIndex, Membership)] = [], fence: Fence = [], holeIndex: LogIndex? = nil,
        guessed: [Range<LogIndex>] = []
    ) {
        self.hardState = hardState
        self.membership = membership
        self.snapshotIndex = snapshotIndex
        self.snapshotTerm = snapshotTerm
        self.termRuns = termRuns
        self.lastIndex = lastIndex
        self.configurationEntries = configurationEntries
        self.fence = fence
        self.holeIndex = holeIndex
        self.guessed = guessed
    }
}

/// What a log on disk says of its entries: exact where it has no holes.
public struct KnownLog: Sendable {
    /// Ascending; none below the log's start.
    public var termRuns: [TermRun]
    /// Memberships above the log's start, ascending.
    public var configurationEntries: [(LogIndex, Membership)]
    public var lastIndex: LogIndex
    /// Entries whose terms are guesses, as in `RecoveredState`.
    public var guessed: [Range<LogIndex>]

    public init(
        termRuns: [TermRun], configurationEntries: [(LogIndex, Membership)], lastIndex: LogIndex,
        guessed: [Range<LogIndex>] = []
    ) {
        self.guessed = guessed
        self.termRuns = termRuns
        self.configurationEntries = configurationEntries
        self.lastIndex = lastIndex
    }
}
