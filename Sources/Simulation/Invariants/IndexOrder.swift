import ClearingModel
import Engine
import Raft

/// The order of a replica's indexes.
struct IndexOrder: Invariant {
    static let rule = "snapshot ≤ applied ≤ committed ≤ last (FAULTS; ARCHITECTURE, groups)"
    private(set) var tally = Tally()

    mutating func turned(_ replica: ReplicaID, _ now: GroupInspection) -> String? {
        tally.checks += 1
        // A checkpoint may reach past a hole in the log, behind which nothing counts as committed yet.
        let committed = now.raft.hole == nil ? now.raft.commit : max(now.raft.commit, now.commit)
        // Without a state nothing is applied: the log waits for it (`Fence.noState`).
        let isBehindStart = now.raft.start <= now.applied || now.applied == .zero && now.raft.fence.contains(.noState)
        let holds =
            isBehindStart && now.applied <= now.commit && now.commit <= committed
            && now.raft.applied <= committed && now.raft.commit <= now.raft.lastIndex
            && now.raft.durableIndex <= now.raft.lastIndex
        if holds { return nil }
        return "shard \(now.shard), \(replica): log starts after \(now.raft.start), applied \(now.applied), committed "
            + "\(now.commit) (Raft: applied \(now.raft.applied), committed \(now.raft.commit)), last "
            + "\(now.raft.lastIndex), durable \(now.raft.durableIndex)"
    }
}
