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
    /// The last persist effect that the log has just made durable, until it is told to `raft`.
    var persisted: PersistSequence?
    /// An asynchronous read of committed entries that memory no longer holds is under way.
    var isReading = false
    /// When the last such read failed, until it is tried again; and since when apply has been stuck because of that.
    var readFailedAt: MonotonicTime?
    var stuckSince: MonotonicTime?
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
    /// The membership in force after the entry at `applied`: what a checkpoint of it carries.
    private(set) var appliedMembership: Membership
    var dispute: StateDispute?
    /// A checkpoint that waits until the own log is durable up to its index.
    var waitingCheckpoint: Checkpoint?
    /// A checkpoint, or an installed snapshot, is being written.
    var isCheckpointing = false
    /// The next checkpoint cannot continue the last one: its index part was lost on the way to the disk, or there.
    var nextStandsAlone = false
    /// The active segment when the newest checkpoint was taken.
    var checkpointSegment: UInt64 = 0
    /// What the log knows of the replica's fence.
    var savedFence: Fence
    var reads: [UInt64: ReadRequest] = [:]
    var replacement: Replacement?

    init(
        shard: ShardID, placement: Placement, raft: RaftReplica, applied: LogIndex, appliedTerm: Term,
        appliedMembership: Membership
    ) {
        self.shard = shard
        self.appliedMembership = appliedMembership
        savedFence = raft.fence
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

    /// Nodes whose logs may hold what this one lacks: of its members or, where damage hides the very entries that name
    /// them, those of the topology.
    var memberNodes: [NodeID] {
        let members = raft.membership.voters + raft.membership.learners
        return members.isEmpty ? placement.nodes : members.map(\.node)
    }

    /// Whether there is nothing to apply the log to: the checkpoints are damaged, and a snapshot is on its way.
    var lacksState: Bool { raft.fence.contains(.noState) }

    var isReady: Bool { isLeader && readyTerm == raft.term }

    /// Applies the next entry and moves `applied` on.
    final func apply(_ entry: RaftEntry, in engine: Engine) {
        precondition(entry.index == applied.next, "apply out of order: \(entry.index) after \(applied) in \(shard)")
        switch entry.kind {
        case .data: applyData(entry, in: engine)
        case .configuration:
            guard let membership = try? Membership(decoding: entry.payload) else {
                preconditionFailure("an unreadable membership was committed at \(entry.index) of \(shard)")
            }
            appliedMembership = membership
        case .noop: break
        }
        applied = entry.index
        appliedTerm = entry.term
        stuckSince = nil
        raft.applied(through: entry.index)
        if isLeader, readyTerm != raft.term, entry.term == raft.term {
            readyTerm = raft.term
            becameReady(in: engine)
        }
    }

    /// Has the entry that apply needs next read again, if it still has to be.
    final func resumeApply() {
        isReading = false
        readFailedAt = nil
    }

    /// Hands a data entry to the state machine and answers whoever waits for it.
    func applyData(_ entry: RaftEntry, in engine: Engine) { preconditionFailure("a subclass applies") }

    /// This replica leads and its state is complete: it may propose.
    func becameReady(in engine: Engine) {}

    /// This replica led and does no longer: requests it holds are refused, the client asks the next leader.
    func lostLeadership(in engine: Engine) {
        readyTerm = nil
        // The next leader is asked again: what a membership needs then may be something else.
        replacement = nil
    }

    // MARK: Checkpoints and snapshots

    /// Whether this log index is where all replicas take a checkpoint.
    var checkpointDue: Bool { false }
    /// Index that the oldest retained business day needs: entries from here on stay, for their records may be asked
    /// for.
    var neededFrom: LogIndex { applied.next }
    /// Whether a checkpoint is the whole state anyway.
    var alwaysStandsAlone: Bool { true }
    /// State and index section of a checkpoint at `applied`.
    func encodeCheckpoint(standsAlone: Bool) -> CheckpointContent { preconditionFailure("a subclass encodes") }
    func stateHash() -> UInt64 { 0 }

    /// Puts an installed snapshot's place into force; the subclass has replaced its state.
    final func moved(to snapshot: SnapshotHead) {
        precondition(snapshot.index > applied, "a snapshot behind what is applied")
        applied = snapshot.index
        appliedTerm = snapshot.term
        appliedMembership = snapshot.membership
        commit = max(commit, applied)
        resumeApply()
        stuckSince = nil
        stateHashes = []
    }
}

/// A checkpoint taken from a group's state and not handed to the disk yet.
struct Checkpoint {
    var index: LogIndex
    var term: Term
    var membership: Membership
    var content: CheckpointContent
    var standsAlone: Bool
}

/// A linearizable read that waits for its read index, then for apply to reach it.
struct ReadRequest {
    enum Want {
        case query([TransactionID])
        case position(ParticipantID)
    }
    var want: Want
    var request: PendingRequest
    /// Known once a majority has confirmed that this replica still leads.
    var index: LogIndex?
}
