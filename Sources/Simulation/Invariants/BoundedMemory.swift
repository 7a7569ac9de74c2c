import ClearingModel
import Engine

/// Every queue has a bound in `Limits`; where a bound is kept only at some points, what may come between is added.
struct BoundedMemory: Invariant {
    static let rule = "memory and queues stay within Limits (DESIGN; FAULTS, memory and queues)"
    private(set) var tally = Tally()

    mutating func holds(_ replica: ReplicaID, _ found: ResourceInspection) -> String? {
        tally.checks += 1
        // A leader looks before it proposes, a follower takes what was sent to it.
        let perGroup = Limits.maximumInflightBytes + Limits.maximumUncommittedEntries * Limits.maximumEntryBytes
        let bounds: [(name: String, found: Int, bound: Int)] = [
            ("unsynced bytes", found.unsyncedBytes, Limits.maximumUnsyncedBytes + found.groups * perGroup),
            (
                "bytes of cached entries", found.cachedBytes,
                Limits.entryCacheBytes + Limits.maximumUnsyncedBytes + perGroup
            ),
            ("queued records of a shard", found.queuedRecords, Limits.shardQueueRecords),
            ("proposed entries of a shard", found.proposedEntries, Limits.pipelineDepth),
            // Every leader that could not commit leaves the first entry of its term behind.
            ("uncommitted entries of a leader", found.uncommittedEntries, Limits.maximumUncommittedEntries * 16),
            ("waiting credit batches of a stream", found.waitingBatches, Limits.maximumUnconfirmedBatches),
            ("unconfirmed credit batches of a stream", found.unconfirmedBatches, Limits.maximumUnconfirmedBatches),
            ("open days", found.openDays, Limits.maximumOpenDays),
            ("undecided requests of a connection", found.connectionRequests, Limits.connectionWindowRequests),
            ("undecided bytes of a connection", found.connectionBytes, Limits.connectionWindowBytes),
            // Looked at once a second.
            ("output bytes of a connection", found.outputBytes, Limits.connectionWindowBytes * 8),
            ("record inquiries", found.recordInquiries, Limits.connectionWindowRequests),
            ("ids that queries look up", found.reads, Limits.maximumReads),
        ]
        for row in bounds where row.found > row.bound {
            return "\(replica): \(row.found) \(row.name), the bound is \(row.bound)"
        }
        return nil
    }
}
