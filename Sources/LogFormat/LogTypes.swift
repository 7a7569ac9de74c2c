import ClearingModel
import Raft
import Wire

/// A place in the node's log: segment number in the high 32 bits, offset in that segment in the low 32.
public struct LogAddress: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = LogAddress(rawValue: 0)

    @inlinable public init(segment: UInt64, offset: Int) { self.init(rawValue: segment << 32 | UInt64(offset)) }
    @inlinable public var segment: UInt64 { rawValue >> 32 }
    @inlinable public var offset: Int { Int(rawValue & 0xFFFF_FFFF) }
    public var description: String { "\(segment)+\(offset)" }
}

/// Counts the records appended to the node's log, over all shards; they become durable in this order.
public struct LogSequence: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = LogSequence(rawValue: 0)
}

/// A range of entries, both ends included.
public struct IndexRange: Hashable, Sendable, CustomStringConvertible {
    public var from: LogIndex
    public var through: LogIndex

    public init(from: LogIndex, through: LogIndex) {
        self.from = from
        self.through = through
    }

    public var description: String { "\(from)...\(through)" }
}

/// What a checkpoint file says of itself.
public struct CheckpointInfo: Hashable, Sendable {
    public var shard: ShardID
    /// The state is the one after this entry.
    public var index: LogIndex
    public var term: Term
    public var membership: Membership
    /// The checkpoint whose index deltas this one continues; `nil` where this one stands alone.
    public var previous: LogIndex?

    public init(shard: ShardID, index: LogIndex, term: Term, membership: Membership, previous: LogIndex?) {
        self.shard = shard
        self.index = index
        self.term = term
        self.membership = membership
        self.previous = previous
    }
}

/// A checkpoint with everything that is needed to restore it.
public struct LoadedCheckpoint: Sendable {
    public var info: CheckpointInfo
    /// Section 0 of the newest checkpoint: the whole state.
    public var state: Slab
    /// Section 1 of every checkpoint of the chain, oldest first: the index, piece by piece.
    public var deltas: [Slab]
    /// Sections from 2 on of the newest checkpoint.
    public var others: [Slab]
}

/// What recovery found of one shard.
public struct RecoveredShard: Sendable {
    public var shard: ShardID
    public var raft: RecoveredState
    /// Checkpoints whose header is valid, newest first. `loadCheckpoint` reads the newest that is whole.
    public var checkpoints: [CheckpointInfo]
    /// Last ordinal that the log holds of this shard; `nil` if the log's recent segments hold none.
    public var lastOrdinal: Ordinal?
    /// Entries that cannot be read, ascending: to be fetched from a peer and given to `appendRepair`.
    public var holes: [IndexRange]
    /// First entry that can be read back; the log's start (`raft.snapshotIndex`) may lie above it. `nil` if there is none.
    public var firstReadable: LogIndex?
}

/// A record as it stands in the log, for the comparison of duplicates.
public struct StoredRecord: Hashable, Sendable {
    public var index: LogIndex
    public var term: Term
    /// Place of the record in its entry, from 0.
    public var slot: Int
    public var ledgerTime: WallTime
    public var window: WindowID
    public var instruction: Instruction
    /// Whether the checksum of the whole entry was compared.
    public var verified: Bool
}

/// Why a read gives nothing.
public enum ReadFailure: Hashable, Sendable {
    /// The log does not hold it: expired, or never written here.
    case notFound
    /// It is written but cannot be read back: fetch it from a peer, then `appendRepair`.
    case damaged
    /// The disk refused the read.
    case disk(DiskError)
}

/// What the log tells its owner.
public enum LogEvent: Sendable {
    /// Recovery is done and durable: appends are taken from here on. One per shard, in the order of `init`.
    case recovered([RecoveredShard])
    /// The directory cannot be used. Nothing else follows.
    case recoveryFailed(RecoveryError)
    /// Every record up to this sequence is durable.
    case durable(through: LogSequence)
    /// The entries asked for, in order, as many as the limit allowed but at least one.
    case entries(token: UInt64, [RaftEntry])
    case record(token: UInt64, StoredRecord)
    case readFailed(token: UInt64, ReadFailure)
    case checkpointDurable(ShardID, LogIndex)
    /// The checkpoint could not be written; the ones before it still stand.
    case checkpointFailed(ShardID, LogIndex, DiskError)
    /// The newest checkpoint that is whole, or `nil` if there is none.
    case checkpointLoaded(ShardID, LoadedCheckpoint?)
    /// The newest checkpoint whose headers are whole, its files kept until `closeCheckpoint`; `nil` if there is none.
    case checkpointOpened(ShardID, OpenCheckpoint?)
    /// A piece of the open checkpoint; `nil` where it cannot be read.
    case checkpointPiece(token: UInt64, Slab?)
    /// So many bytes of the snapshot that is coming in are written, in order; not synced.
    case snapshotWritten(ShardID, LogIndex, bytes: UInt64)
    /// The snapshot that is coming in cannot be written; its file is removed.
    case snapshotFailed(ShardID, LogIndex, DiskError)
    /// A checkpoint cannot be read; the one before it is used.
    case checkpointDamaged(ShardID, LogIndex)
    /// Entries of a shard cannot be read back. `from` > `through` where it is unknown which, if any.
    case damaged(ShardID, from: LogIndex, through: LogIndex, file: FileName, offset: Int)
    /// The shard's last hole is gone, durably: filled by `appendRepair`, or void.
    case holesFilled(ShardID)
    /// The shard's log starts after this entry from now on: what lies below goes with its segment.
    case logStartMoved(ShardID, index: LogIndex, term: Term)
    /// This segment's file is gone.
    case expired(segment: UInt64)
    case freeSpace(bytes: UInt64)
    /// Too little space is left for new work; what is staged is still written. Once per crossing of the reserve.
    case diskFull(freeBytes: UInt64)
    /// There is space again.
    case diskRecovered(freeBytes: UInt64)
    /// A write or sync failed: the process has to end, for what the page cache holds now is unknown.
    case failed(DiskError)
}

/// Why a directory cannot be opened as this node's log.
public enum RecoveryError: Error, Hashable, Sendable, CustomStringConvertible {
    case foreignCluster(found: ClusterID, configured: ClusterID, file: FileName)
    case otherNode(found: NodeID, configured: NodeID, file: FileName)
    case otherIncarnation(found: Incarnation, configured: Incarnation, file: FileName)
    case unsupportedVersion(UInt32, file: FileName)
    case segmentsMissing(Incarnation)
    case disk(DiskError, doing: String)

    public var description: String {
        switch self {
        case .foreignCluster(let found, let configured, let file):
            "\(file) belongs to cluster \(found), this node to \(configured): point the node at its own data directory, "
                + "or move the files away if that cluster is gone"
        case .otherNode(let found, let configured, let file):
            "\(file) belongs to node \(found), this is node \(configured): two nodes share or swapped a data directory; "
                + "give each its own"
        case .otherIncarnation(let found, let configured, let file):
            "\(file) was written by incarnation \(found) of this node, which is configured as \(configured): "
                + "set the incarnation back to \(found), or empty the data directory and rejoin as a new incarnation"
        case .unsupportedVersion(let version, let file):
            "\(file) has format version \(version), this program reads \(NodeLog.formatVersion): "
                + "start the node with the program version that wrote it"
        case .segmentsMissing(let incarnation):
            "the log of incarnation \(incarnation) was here, its segments are gone: bring the files back, "
                + "or empty the data directory and rejoin as a new incarnation"
        case .disk(let error, let doing):
            "\(doing): \(error): repair the file system or its permissions and start the node again"
        }
    }
}
