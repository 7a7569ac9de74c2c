import ClearingModel
import DequeModule
import Ledger
import LogFormat
import Raft
import Wire

/// One group on this node: its Raft replica, its state machine, and how far the one has fed the other.
///
/// ```
///   requests ──▶ open entry ──▶ raft.propose ──▶ log thread + followers ──▶ committed ──▶ apply ──▶ decisions ──▶ replies
/// ```
/// Subclasses own the state machine: `ClearingGroup` a shard's ledger, `DirectoryGroup` the directory.
class Group {
    let shard: ShardID
    let placement: Placement
    var raft: RaftReplica
    /// Every entry up to here has been applied.
    private(set) var applied: LogIndex
    var appliedTerm: Term
    var commit: LogIndex
    /// An asynchronous read of committed entries that memory no longer holds is under way.
    var isReading = false
    /// Set while this replica leads and has applied its own term's first entry: only then is its state the newest
    /// there is.
    var readyTerm: Term?
    /// When this replica became leader; for the pacing of preferred leaders.
    var leaderSince: MonotonicTime?
    /// The last attempt to hand the group back to its preferred leader, and how long to wait for the next.
    var lastPreferredTry = MonotonicTime(0)
    var preferredBackOff = MonotonicTime.Span.seconds(1)
    /// Latest checkpoints: their index and the state hash there, newest last.
    var stateHashes: [NodeNotice.StateHash] = []
    /// A checkpoint is being written.
    var isCheckpointing = false
    var reads: [UInt64: ReadRequest] = [:]
    var replacement: Replacement?

    init(shard: ShardID, placement: Placement, raft: RaftReplica, applied: LogIndex, appliedTerm: Term) {
        self.shard = shard
        self.placement = placement
        self.raft = raft
        self.applied = applied
        self.appliedTerm = appliedTerm
        commit = applied
    }

    var isLeader: Bool { raft.role == .leader }
    /// What this replica is in the group, for status.
    var part: GroupStatus.Part {
        switch raft.role {
        case .leader: .leader
        case .candidate, .preCandidate: .candidate
        case .follower: raft.membership.isLearner(raft.me) ? .learner : .follower
        }
    }

    var isReady: Bool { isLeader && readyTerm == raft.term }

    /// Applies the next entry and moves `applied` on.
    final func apply(_ entry: RaftEntry, in engine: Engine) {
        precondition(entry.index == applied.next, "apply out of order: \(entry.index) after \(applied) in \(shard)")
        if entry.kind == .data { applyData(entry, in: engine) }
        applied = entry.index
        appliedTerm = entry.term
        raft.applied(through: entry.index)
        if isLeader, readyTerm != raft.term, entry.term == raft.term {
            readyTerm = raft.term
            becameReady(in: engine)
        }
    }

    /// Hands a data entry to the state machine and answers whoever waits for it.
    func applyData(_ entry: RaftEntry, in engine: Engine) { preconditionFailure("a subclass applies") }

    /// This replica leads and its state is complete: it may propose.
    func becameReady(in engine: Engine) {}

    /// This replica led and does no longer: requests it holds are refused, the client asks the next leader.
    func lostLeadership(in engine: Engine) { readyTerm = nil }

    /// Sections and state of a checkpoint at `applied`, or `nil` while none is due.
    func takeCheckpoint() -> [Slab]? { nil }
    func stateHash() -> UInt64 { 0 }
}

/// A linearizable read that waits for its read index, then for apply to reach it.
struct ReadRequest {
    enum Want {
        case query([TransactionID])
        case position(ParticipantID)
    }
    var want: Want
    var reply: ReplyAddress
    /// Known once a majority has confirmed that this replica still leads.
    var index: LogIndex?
}
