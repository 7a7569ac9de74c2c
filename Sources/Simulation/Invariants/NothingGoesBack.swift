import Audit
import ClearingModel
import Engine

/// Terms outlive a process; commit and applied only its life.
struct NothingGoesBack: Invariant {
    static let rule =
        "term, commit and applied never go back within a life, nor the durable term over restarts of an incarnation "
        + "(Raft §5.1; FAULTS, never go back)"
    private(set) var tally = Tally()

    mutating func turned(_ replica: ReplicaID, before: GroupInspection, now: GroupInspection) -> String? {
        tally.checks += 1
        if now.raft.term >= before.raft.term, now.raft.commit >= before.raft.commit, now.commit >= before.commit,
            now.applied >= before.applied, now.raft.start >= before.raft.start,
            now.directoryVersion >= before.directoryVersion
        {
            return nil
        }
        return "shard \(now.shard), \(replica): term \(before.raft.term), log start \(before.raft.start), applied "
            + "\(before.applied), committed \(before.commit) (Raft: \(before.raft.commit)), directory "
            + "\(before.directoryVersion) became \(now.raft.term), \(now.raft.start), \(now.applied), \(now.commit) "
            + "(\(now.raft.commit)), \(now.directoryVersion)"
    }

    /// The first look at a group after its process started.
    ///
    /// - Parameter durable: what the disk was made to remember.
    mutating func started(_ replica: ReplicaID, _ now: GroupInspection, durable: DurableVote, isDamaged: Bool)
        -> String?
    {
        tally.checks += 1
        if now.raft.term >= durable.term { return nil }
        // A replica that knows that it forgot keeps out of votes.
        if isDamaged, now.raft.fence.contains(.noVote) {
            tally.unknown += 1
            return nil
        }
        return "shard \(now.shard), \(replica) starts in term \(now.raft.term), its disk was synced with term "
            + "\(durable.term)"
    }
}
