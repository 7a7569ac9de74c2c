import ClearingModel
import LogFormat
import Raft
import Wire

/// A question for entries of a group by index, as they are logged: of a hole, or from before a snapshot.
struct RepairRequest {
    var shard: ShardID
    var range: IndexRange

    func encode(into writer: inout WireWriter) {
        writer.id(shard)
        writer.id(range.from)
        writer.id(range.through)
    }

    init(shard: ShardID, range: IndexRange) {
        self.shard = shard
        self.range = range
    }

    init(decoding reader: inout WireReader) throws(WireError) {
        shard = try reader.id()
        range = IndexRange(from: try reader.id(), through: try reader.id())
        try reader.expectEnd()
        guard range.from > .zero, range.from <= range.through else {
            throw .invalid(field: "repair range", value: range.from.rawValue)
        }
    }
}

/// Entries from the first one that was asked for, each with its checksum; none where the peer does not have that one.
struct RepairReply {
    static let maximumEntries = 2_048

    var shard: ShardID
    /// As in the request.
    var from: LogIndex
    /// Without entries: the first one of the range that the peer can read, if there is one.
    var next: LogIndex?
    var entries: [RaftEntry]

    init(shard: ShardID, from: LogIndex, next: LogIndex?, entries: [RaftEntry]) {
        self.shard = shard
        self.from = from
        self.next = next
        self.entries = entries
    }

    func encode(into writer: inout WireWriter) {
        writer.id(shard)
        writer.id(from)
        writer.id(next ?? .zero)
        writer.u32(UInt32(entries.count))
        for entry in entries {
            writer.id(entry.index)
            writer.id(entry.term)
            writer.u8(entry.kind.rawValue)
            writer.u32(UInt32(entry.payload.count))
            writer.u32(entry.payload.checksum)
            writer.raw(entry.payload.bytes)
        }
    }

    init(decoding reader: inout WireReader) throws(WireError) {
        shard = try reader.id()
        from = try reader.id()
        let next: LogIndex = try reader.id()
        self.next = next == .zero ? nil : next
        entries = []
        let count = try reader.count("repair entries", atMost: Self.maximumEntries)
        for _ in 0..<count {
            let index: LogIndex = try reader.id()
            let term: Term = try reader.id()
            let kindCode = try reader.u8()
            guard let kind = EntryKind(rawValue: kindCode) else {
                throw .invalid(field: "repair entry kind", value: UInt64(kindCode))
            }
            let length = try reader.count("repair entry bytes", atMost: Limits.maximumEntryBytes)
            let checksum = try reader.u32()
            let payload = Slab(copying: try reader.raw(length))
            guard payload.checksum == checksum else {
                throw .invalid(field: "repair entry checksum", value: UInt64(checksum))
            }
            entries.append(RaftEntry(index: index, term: term, kind: kind, payload: payload))
        }
        try reader.expectEnd()
    }
}
