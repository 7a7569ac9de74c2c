import ClearingModel
import Raft
import Wire

/// What a record says. Raw values stand in the log and never change.
enum RecordKind: UInt8 {
    /// An entry of a shard, following the one before it.
    case entry = 1
    /// Entries of the shard from `index` on are void.
    case truncation = 2
    /// Term, vote, commit hint and doubts of the shard.
    case hardState = 3
    /// The shard's log starts after `index`; also says where it ended when this was written.
    case logStart = 4
    /// An entry that could not be read, once more, or one below the log's start that was never here; truncates nothing.
    case repair = 5
    /// In a segment's table only: records of the shard, here or hereabouts, could not be read when it was sealed.
    case lost = 6
}

/// The fixed 64 bytes that describe one record; in groups and, verbatim, in segment tables.
struct RecordHeader {
    static let size = 64

    var kind: RecordKind
    /// Entry, repair: the `EntryKind`. Hard state: bits of `Doubt`.
    var detail: UInt8 = 0
    var shard: ShardID
    var payloadLength: UInt32 = 0
    /// From the start of the segment.
    var payloadOffset: UInt32 = 0
    var payloadChecksum: UInt32 = 0
    /// Hard state: the current term. Log start: the term at `index`.
    var term: Term
    /// Truncation: first void entry. Hard state: the commit hint.
    var index: LogIndex
    /// Number of the group that the record was written in.
    var group: UInt64 = 0
    /// Entry, repair: first ordinal. Hard state: the vote (node low, incarnation high). Log start: last entry of the log.
    var extra: UInt64 = 0
    /// Entry: term of the entry before. Truncation: term of the entry before `index`. Hard state: the term in which the
    /// doubt arose. Log start: term of the last entry. Repair: zero.
    var previousTerm: UInt64 = 0
    /// Entry, repair: ledger records in the entry.
    var recordCount: UInt32 = 0

    func encode(into writer: inout WireWriter) {
        let start = writer.count
        writer.u8(kind.rawValue)
        writer.u8(detail)
        writer.id(shard)
        writer.u32(payloadLength)
        writer.u32(payloadOffset)
        writer.u32(payloadChecksum)
        writer.id(term)
        writer.id(index)
        writer.u64(group)
        writer.u64(extra)
        writer.u64(previousTerm)
        writer.u32(recordCount)
        writer.u32(Layout.checksum(of: writer, from: start))
    }

    /// Reads a header; `nil` where the checksum is wrong or a value is none that the format has.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.size, bytes[0] != 0 else { return nil }
        guard Layout.load(bytes, 60, UInt32.self) == crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<60])),
            let kind = RecordKind(rawValue: bytes[0])
        else { return nil }
        self.kind = kind
        detail = bytes[1]
        shard = ShardID(Layout.load(bytes, 2, UInt16.self))
        payloadLength = Layout.load(bytes, 4, UInt32.self)
        payloadOffset = Layout.load(bytes, 8, UInt32.self)
        payloadChecksum = Layout.load(bytes, 12, UInt32.self)
        term = Term(Layout.load(bytes, 16, UInt64.self))
        index = LogIndex(Layout.load(bytes, 24, UInt64.self))
        group = Layout.load(bytes, 32, UInt64.self)
        extra = Layout.load(bytes, 40, UInt64.self)
        previousTerm = Layout.load(bytes, 48, UInt64.self)
        recordCount = Layout.load(bytes, 56, UInt32.self)
        guard Int(shard.rawValue) < ShardSet.capacity else { return nil }
    }

    init(kind: RecordKind, shard: ShardID, term: Term, index: LogIndex) {
        self.kind = kind
        self.shard = shard
        self.term = term
        self.index = index
    }

    /// In a segment's table: the payload could not be read when the segment was sealed.
    static let unreadableBit: UInt8 = 0x80

    var isUnreadable: Bool { detail & Self.unreadableBit != 0 }
    /// The kind of the entry that an entry or repair record holds.
    var entryKind: EntryKind { EntryKind(rawValue: detail & ~Self.unreadableBit) ?? .data }
    var isEntry: Bool { kind == .entry || kind == .repair }
    /// Whether recovery needs the payload itself: memberships.
    var wantsPayload: Bool { kind == .logStart || isEntry && entryKind == .configuration }
}

/// What a shard's hard state leaves in doubt, until the replica is repaired; bits of the record's `detail`.
struct Doubt: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    /// A newer term or vote, or the end of the log, may have been lost.
    static let vote = Doubt(rawValue: 1)
    /// A leader saw that this log ends before what it had acknowledged.
    static let quarantined = Doubt(rawValue: 2)

    var fence: Fence {
        var fence: Fence = []
        if contains(.vote) { fence.insert(.noVote) }
        if contains(.quarantined) { fence.insert(.quarantined) }
        return fence
    }
}

extension HardState {
    /// The vote in 64 bits; zero for none.
    var packedVote: UInt64 {
        vote.map { UInt64($0.node.rawValue) | UInt64($0.incarnation.rawValue) << 32 } ?? 0
    }

    init(_ record: RecordHeader) {
        let vote = record.extra
        self.init(
            term: record.term,
            vote: vote == 0
                ? nil
                : ReplicaID(
                    node: NodeID(UInt32(truncatingIfNeeded: vote)), incarnation: Incarnation(UInt32(vote >> 32))),
            commit: record.index)
    }
}

/// Where one entry of a shard stands in a segment: what a record header says, without what only recovery needs.
struct EntryRef {
    var index: LogIndex
    var term: Term
    var firstOrdinal: UInt64
    var offset: UInt32
    var length: UInt32
    var checksum: UInt32
    var recordCount: UInt32
    var kind: EntryKind

    init(_ record: RecordHeader) {
        index = record.index
        term = record.term
        firstOrdinal = record.extra
        offset = record.payloadOffset
        length = record.payloadLength
        checksum = record.payloadChecksum
        recordCount = record.recordCount
        kind = record.entryKind
    }

    var end: Int { Int(offset) + Int(length) }
}
