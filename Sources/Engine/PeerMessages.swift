import ClearingModel
import Wire

/// What a node tells every peer about itself, with each heartbeat and at once when it changes: which groups it leads,
/// how new its directory is, and the state hashes of its latest checkpoints.
///
/// Notices are hints. A wrong one costs a detour; only Raft decides who leads.
struct NodeNotice: Equatable {
    struct Leadership: Equatable {
        var shard: ShardID
        var term: Term
    }

    struct StateHash: Equatable {
        var shard: ShardID
        var index: LogIndex
        var hash: UInt64
    }

    /// Too little space for new work: no leadership is handed to this node.
    var isDiskFull = false
    /// Version that this node's directory replica has applied; zero where it has none.
    var directoryVersion: DirectoryVersion
    var leads: [Leadership]
    var hashes: [StateHash]

    func encode(into writer: inout WireWriter) {
        writer.u8(isDiskFull ? 1 : 0)
        writer.id(directoryVersion)
        writer.u16(UInt16(leads.count))
        for lead in leads {
            writer.id(lead.shard)
            writer.id(lead.term)
        }
        writer.u16(UInt16(hashes.count))
        for hash in hashes {
            writer.id(hash.shard)
            writer.id(hash.index)
            writer.u64(hash.hash)
        }
    }

    static func decode(_ reader: inout WireReader) throws(WireError) -> NodeNotice {
        let full = try reader.u8()
        guard full <= 1 else { throw .invalid(field: "notice of a full disk", value: UInt64(full)) }
        var notice = NodeNotice(isDiskFull: full == 1, directoryVersion: try reader.id(), leads: [], hashes: [])
        for _ in 0..<(try reader.u16()) {
            notice.leads.append(Leadership(shard: try reader.id(), term: try reader.id()))
        }
        for _ in 0..<(try reader.u16()) {
            notice.hashes.append(StateHash(shard: try reader.id(), index: try reader.id(), hash: try reader.u64()))
        }
        try reader.expectEnd()
        return notice
    }
}
