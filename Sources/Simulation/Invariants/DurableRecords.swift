import ClearingModel

/// docs/LOG.md, "Scanning a segment": damage below a synced address is corruption, never a tail to be cut.
struct DurableRecords: Invariant {
    static let rule =
        "what was synced is never overwritten, and every group is written whole with right checksums (LOG.md; FAULTS, "
        + "cut a torn tail below a synced address)"
    private(set) var tally = Tally()

    /// - Parameter fault: what the audit's decoder has against the write.
    mutating func wrote(_ replica: ReplicaID, fault: String?) -> String? {
        tally.checks += 1
        return fault.map { "\(replica): \($0)" }
    }

    /// A full scan of a disk that was never harmed.
    ///
    /// - Parameter fault: what the audit's decoder has against the log.
    mutating func read(_ replica: ReplicaID, fault: String?) -> String? { wrote(replica, fault: fault) }
}
