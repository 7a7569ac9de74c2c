import ClearingModel
import Ledger
import Raft
import Wire

/// One group of a node as an outside check sees it after a turn: plain values, copied without an allocation.
public struct GroupInspection: Equatable, Sendable {
    public var shard: ShardID
    public var raft: RaftInspection
    /// As far as the state machine may be fed, and as far as it was.
    public var commit: LogIndex
    public var applied: LogIndex
    /// Chained over everything applied (docs/ENTRIES.md); 0 for the directory, which keeps none.
    public var runningHash: UInt64
    /// Version of the directory that is here in full.
    public var directoryVersion: DirectoryVersion
    /// Records taken and not yet applied.
    public var queuedRecords: Int
    /// Leads, and its state is the newest there is.
    public var isReady: Bool

    public static func == (a: GroupInspection, b: GroupInspection) -> Bool {
        a.raft == b.raft && a.commit.rawValue == b.commit.rawValue && a.applied.rawValue == b.applied.rawValue
            && a.runningHash == b.runningHash && a.queuedRecords == b.queuedRecords && a.isReady == b.isReady
            && a.directoryVersion.rawValue == b.directoryVersion.rawValue && a.shard.rawValue == b.shard.rawValue
    }
}

/// What a node holds in memory of everything that `Limits` bounds: the largest of each kind.
public struct ResourceInspection: Hashable, Sendable {
    public var unsyncedBytes = 0
    public var cachedBytes = 0
    public var queuedRecords = 0
    public var proposedEntries = 0
    public var uncommittedEntries = 0
    public var waitingBatches = 0
    public var unconfirmedBatches = 0
    public var openDays = 0
    public var connectionRequests = 0
    public var connectionBytes = 0
    public var outputBytes = 0
    public var recordInquiries = 0
    public var reads = 0
    public var groups = 0
}

// What checks from outside may see of an engine. Nothing here changes anything.
extension Engine {
    /// Groups that this node holds so far; they come one by one during recovery.
    public var inspectedGroups: Int { held.count }

    /// 64 bits that change when a group does, by its place among those held, in shard order. O(1), for every turn.
    public func inspectionStamp(_ place: Int) -> UInt64 {
        let group = held[place]
        let indexes = group.applied.rawValue << 32 ^ group.commit.rawValue ^ UInt64(group.shard.rawValue) << 48
        return group.raft.inspectStamp() ^ (indexes &* 0xBF58_476D_1CE4_E5B9)
    }

    /// A group by its place among those held, in shard order. O(1).
    public func inspectGroup(_ place: Int) -> GroupInspection {
        let group = held[place]
        var inspection = GroupInspection(
            shard: group.shard, raft: group.raft.inspect(), commit: group.commit, applied: group.applied,
            runningHash: 0, directoryVersion: .zero, queuedRecords: 0, isReady: group.isReady)
        if let clearing = group as? ClearingGroup {
            inspection.runningHash = clearing.ledger.runningHash
            inspection.directoryVersion = clearing.ledger.directoryVersion
            inspection.queuedRecords = clearing.queuedRecords
        } else if let directory = group as? DirectoryGroup {
            inspection.directoryVersion = directory.directory.version
        }
        return inspection
    }

    /// The membership in force in a group; empty where this node does not hold it.
    public func membership(of shard: ShardID) -> Membership { group(shard)?.raft.inspectMembership() ?? .empty }

    /// The term of an entry in a replica's log; `nil` outside of it.
    public func term(of shard: ShardID, at index: LogIndex) -> Term? {
        group(shard)?.raft.inspectTerm(at: index)
    }

    /// Calls `body` with every other shard and where the credit streams with it stand. O(shards).
    public func forEachStream(of shard: ShardID, _ body: (ShardID, StreamInspection) -> Void) {
        guard let ledger = clearing(shard)?.ledger else { return }
        for other in 1..<UInt16(ledger.shardCount) + 1 where other != shard.rawValue {
            body(ShardID(other), ledger.inspectStream(with: ShardID(other)))
        }
    }

    /// The canonical encoding of a clearing shard's whole state. O(state).
    public func encodedState(of shard: ShardID) -> Slab? { clearing(shard)?.ledger.encodeState() }

    /// The hash of a group's whole state. O(state).
    public func stateHash(of shard: ShardID) -> UInt64? { group(shard)?.stateHash() }

    /// What a shard's index says of an id; `nil` where it says nothing.
    public func indexHit(of id: TransactionID, in shard: ShardID) -> IndexHit? { clearing(shard)?.ledger.lookup(id) }

    /// Whether the records of an id's day are no longer kept in a shard.
    public func isExpired(_ id: TransactionID, in shard: ShardID) -> Bool {
        clearing(shard)?.ledger.isExpired(id.day) ?? false
    }

    /// Calls `body` with every participant whose debits the shard decides, and what it may still pay. O(participants).
    public func forEachAvailable(in shard: ShardID, _ body: (ParticipantID, Int128) -> Void) {
        guard let ledger = clearing(shard)?.ledger else { return }
        ledger.forEachAvailable(body)
    }

    /// What is held in memory. O(groups × shards + connections): for intervals, not for turns.
    public func inspectResources() -> ResourceInspection {
        var found = ResourceInspection()
        found.unsyncedBytes = log.unsyncedBytes
        found.recordInquiries = inquiries.count
        found.reads = outstandingReads
        found.groups = held.count
        for group in held {
            found.cachedBytes = max(found.cachedBytes, group.raft.cachedBytes)
            found.uncommittedEntries = max(found.uncommittedEntries, group.raft.inspectProposals())
        }
        for group in clearingHeld {
            found.queuedRecords = max(found.queuedRecords, group.queuedRecords)
            found.proposedEntries = max(found.proposedEntries, group.proposed.count)
            found.openDays = max(found.openDays, group.ledger.openDays.count)
            for stream in group.incoming { found.waitingBatches = max(found.waitingBatches, stream.waiting.count) }
            for shard in 1..<group.outgoing.count {
                let unconfirmed = group.ledger.unconfirmedCount(to: ShardID(UInt16(shard)))
                found.unconfirmedBatches = max(found.unconfirmedBatches, unconfirmed)
            }
        }
        for connection in connections {
            guard let connection else { continue }
            found.connectionRequests = max(found.connectionRequests, connection.pendingRequests)
            found.connectionBytes = max(found.connectionBytes, connection.pendingBytes)
            found.outputBytes = max(found.outputBytes, connection.output.byteCount)
        }
        return found
    }
}
