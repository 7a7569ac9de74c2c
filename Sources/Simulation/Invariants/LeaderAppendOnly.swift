import ClearingModel
import Engine
import Raft

/// Raft figure 3.
struct LeaderAppendOnly: Invariant {
    static let rule = "a leader never overwrites or deletes entries of its log (Raft §5.3; FAULTS, leader append-only)"
    private(set) var tally = Tally()

    /// - Parameter term: of the entry that was the log's last one before, now.
    mutating func leads(
        _ replica: ReplicaID, before: GroupInspection, now: GroupInspection, termNow term: Term?
    ) -> String? {
        guard before.raft.role == .leader, now.raft.role == .leader, before.raft.term == now.raft.term else {
            return nil
        }
        tally.checks += 1
        let last = before.raft.lastIndex
        if now.raft.lastIndex < last {
            return "shard \(now.shard): \(replica) leads term \(now.raft.term), and its log went from \(last) back to "
                + "\(now.raft.lastIndex)"
        }
        if last > now.raft.start, term != before.raft.lastTerm {
            return "shard \(now.shard): \(replica) leads term \(now.raft.term), and its entry \(last) of term "
                + "\(before.raft.lastTerm) became one of term \(term.map(\.description) ?? "none")"
        }
        return nil
    }

    /// A record that voids entries reached a disk.
    mutating func truncated(
        _ replica: ReplicaID, _ shard: ShardID, from index: LogIndex, term: Term, now: GroupInspection?
    ) -> String? {
        guard let now, now.raft.role == .leader, now.raft.term == term else { return nil }
        tally.checks += 1
        return "shard \(shard): \(replica) leads term \(term), and voids its log from \(index) on in that term"
    }
}
