import ClearingModel
import Raft
import Wire

/// Which state a snapshot holds.
struct SnapshotHead: Equatable {
    var index: LogIndex
    var term: Term
    /// In force after the entry at `index`.
    var membership: Membership
}

/// A piece of a snapshot: the state section, then the index section, cut where the chunks end.
///
/// Every chunk names the whole, so that one that belongs to another snapshot is seen at once.
struct SnapshotChunk {
    var shard: ShardID
    /// Chosen by the sender; another one means another snapshot.
    var id: UInt64
    var head: SnapshotHead
    var stateBytes: UInt64
    var indexBytes: UInt64
    /// CRC-32C of the bytes of this chunk.
    var checksum: UInt32
    var offset: UInt64

    /// Larger snapshots are refused; far above what `Limits` let a shard grow to between two closings of a day.
    static let maximumBytes: UInt64 = 1 << 36

    func encode(into writer: inout WireWriter) {
        writer.id(shard)
        writer.u16(0)
        writer.u32(checksum)
        writer.u64(id)
        writer.id(head.index)
        writer.id(head.term)
        writer.u64(stateBytes)
        writer.u64(indexBytes)
        writer.u64(offset)
        head.membership.encode(into: &writer)
    }

    /// Reads what stands in front of the bytes, which are what is left after.
    init(decoding reader: inout WireReader) throws(WireError) {
        shard = try reader.id()
        let reserved = try reader.u16()
        guard reserved == 0 else { throw .invalid(field: "snapshot reserved", value: UInt64(reserved)) }
        checksum = try reader.u32()
        id = try reader.u64()
        let index: LogIndex = try reader.id()
        let term: Term = try reader.id()
        stateBytes = try reader.u64()
        indexBytes = try reader.u64()
        offset = try reader.u64()
        head = SnapshotHead(index: index, term: term, membership: try Membership(decoding: &reader))
        guard index > .zero, stateBytes > 0, stateBytes <= Self.maximumBytes, indexBytes <= Self.maximumBytes else {
            throw .invalid(field: "snapshot size", value: stateBytes)
        }
        guard offset < stateBytes + indexBytes, reader.left > 0,
            UInt64(reader.left) <= stateBytes + indexBytes - offset
        else { throw .invalid(field: "snapshot offset", value: offset) }
    }

    init(
        shard: ShardID, id: UInt64, head: SnapshotHead, stateBytes: UInt64, indexBytes: UInt64, checksum: UInt32,
        offset: UInt64
    ) {
        self.shard = shard
        self.id = id
        self.head = head
        self.stateBytes = stateBytes
        self.indexBytes = indexBytes
        self.checksum = checksum
        self.offset = offset
    }
}

/// What the receiver of a snapshot says.
struct SnapshotReply {
    enum Status: UInt8 {
        /// Everything before `received` has come.
        case received = 0
        /// Durable and in force.
        case installed = 1
        /// Not wanted, not now, or not whole; the leader asks again later.
        case refused = 2
        /// This replica needs a state that reaches `received`: its log's start, and past all its holes. `id` is 0.
        case wanted = 3
    }

    var shard: ShardID
    var status: Status
    var id: UInt64
    var received: UInt64

    func encode(into writer: inout WireWriter) {
        writer.id(shard)
        writer.u8(status.rawValue)
        writer.u8(0)
        writer.u32(0)
        writer.u64(id)
        writer.u64(received)
    }

    init(shard: ShardID, status: Status, id: UInt64, received: UInt64) {
        self.shard = shard
        self.status = status
        self.id = id
        self.received = received
    }

    init(decoding reader: inout WireReader) throws(WireError) {
        shard = try reader.id()
        let code = try reader.u8()
        guard let status = Status(rawValue: code) else {
            throw .invalid(field: "snapshot status", value: UInt64(code))
        }
        self.status = status
        _ = try reader.u8()
        _ = try reader.u32()
        id = try reader.u64()
        received = try reader.u64()
        try reader.expectEnd()
    }
}
