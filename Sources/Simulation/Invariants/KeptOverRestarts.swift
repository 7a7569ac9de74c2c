import ClearingModel
import Engine

/// Recovery loses nothing: what a repair, a truncation or a cut does to the log is judged by the log that comes out of it.
struct KeptOverRestarts: Invariant {
    static let rule =
        "a restarted replica has every committed entry that its disk durably holds, or knows that it may have lost some "
        + "(LOG.md, \"Replaying\"; FAULTS, let a repair truncate)"
    private(set) var tally = Tally()

    /// The first look at a group after its process started.
    ///
    /// - Parameters:
    ///   - held: the last committed entry that the disk durably holds, by the audit's decoder; `nil` where it holds none.
    ///   - wasHarmed: it was damaged on purpose at some time.
    ///   - termAt: terms of the log that the replica starts with.
    mutating func started(
        _ replica: ReplicaID, _ now: GroupInspection, held: (index: LogIndex, term: Term)?, wasHarmed: Bool,
        termAt: (LogIndex) -> Term?
    ) -> String? {
        guard let held else { return nil }
        tally.checks += 1
        // In front of its start, or in a hole, a log knows no term.
        if now.raft.lastIndex >= held.index, (termAt(held.index) ?? held.term) == held.term { return nil }
        if wasHarmed, now.raft.fence.contains(.noVote) {
            tally.unknown += 1
            return nil
        }
        return "shard \(now.shard), \(replica) starts with a log up to \(now.raft.lastIndex), its disk holds entry "
            + "\(held.index) of term \(held.term), which is committed"
    }
}
