import Synchronization

/// Rare places in the code that a simulation has to have reached before its silence means anything (FoundationDB's "test
/// probes", TigerBeetle's "marks").
///
/// The code says `Site.tornTailCut.reached()` where such a thing happens, in every build: it costs one addition, and only where
/// something rare goes on anyway. Counted per process.
public enum Site: Int, CaseIterable, Sendable {
    // Raft
    /// A leader loses its office with entries of its own undecided.
    case steppedDownWithPipeline
    /// Entries that another leader replaced are cut from a log.
    case conflictTruncated
    /// A leader heard no majority for too long.
    case steppedDownWithoutQuorum
    /// Leadership could not be handed over in time.
    case transferFailed
    /// A leader of a later term settled what a replica may have forgotten.
    case voteFenceLifted
    /// A leader's log thread was stuck for so long that it gave up its office.
    case steppedDownForDisk
    /// A leader's clock was too far from its voters'.
    case clockSkewed
    /// A configuration entry was cut before it was committed.
    case membershipTruncated
    // Log
    /// The end of the log had not reached the disk whole.
    case tornTailCut
    /// Behind the torn record stood one that was whole: it is cut too.
    case tornTailWithLaterRecord
    /// A group lost its header, and its records were found all the same.
    case recordsSalvaged
    /// Damage may cover a shard's hard state: the replica does not vote.
    case voteInDoubt
    /// Something that was durable cannot be read.
    case damageFound
    /// The table of a sealed segment was lost and made anew from its groups.
    case tableRebuilt
    /// A checkpoint turned out damaged when it was read, and one before it is read instead.
    case olderCheckpointUsed
    /// A checkpoint reaches beyond its log: a crash came between a snapshot's checkpoint and the log's new start, for example.
    case checkpointAheadOfLog
    /// A segment went because nothing needs it any more.
    case segmentExpired
    // Repair and snapshots
    /// The last hole of a log was filled from a peer.
    case entriesRepaired
    /// A damaged replica got its entries back while its group had no leader.
    case repairedWithoutLeader
    /// A replica whose checkpoints were all damaged got a leader's state, and its log goes on from there.
    case stateRestored
    case snapshotInstalled
    /// What the log brought meanwhile made a snapshot under way useless.
    case snapshotOvertaken
    /// The new incarnation of a wiped node votes.
    case replicaReplaced
    // Ledger
    /// Two ids with one fingerprint.
    case fingerprintCollision
    /// A duplicate's record was read from a peer, as it is not here.
    case recordFetchedFromPeer
    /// A credit batch came again after it had been applied, and is confirmed again.
    case creditBatchRepeated
    /// The same, after both its source and its destination had got another leader.
    case creditBatchRepeatedAfterFailovers
    /// As many credit batches are unconfirmed as may be: further credits wait in the open one.
    case creditWindowFull
    case dayClosed
    /// Requests in doubt were refused because leadership was lost.
    case refusedInDoubt
    case diskFullRefused

    /// Counts one arrival.
    public func reached() { Self.counters[rawValue].add(1, ordering: .relaxed) }

    /// How often this process came here.
    public var count: UInt64 { Self.counters[rawValue].load(ordering: .relaxed) }

    public var name: String { "\(self)" }

    // Allocated once and never freed.
    nonisolated(unsafe) private static let counters: UnsafeMutablePointer<Atomic<UInt64>> = {
        let counters = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: allCases.count)
        for index in allCases.indices { (counters + index).initialize(to: Atomic(0)) }
        return counters
    }()
}
