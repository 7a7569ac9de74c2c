import ClearingModel
import LogFormat
import Raft
import Wire

/// A peer's question for entries that its own log cannot read back, while this node's log reads them.
struct RepairInquiry {
    var node: NodeID
    var shard: ShardID
}

/// Entries that this node's log cannot read back are fetched from a peer and written again, as repairs: a record kind of their own
/// that truncates nothing. Until then the replica does not campaign and acknowledges nothing past the hole.
///
/// ```
///   damaged ──▶ raft.holeFound ──▶ repairRequest(from, through) ──▶ a peer that has applied them reads its log
///   holesFilled ◀── durable ◀── log.appendRepair ◀── repairReply(entries, checked against their checksums)
/// ```
/// A peer gives only what it has applied: that is committed, so its copy is the right one whatever term the hole's index had here.
extension Engine {
    /// Bytes of entries in one reply, beyond the first entry.
    private static let replyBytes = 512 << 10

    func foundDamage(_ shard: ShardID, from: LogIndex, through: LogIndex, file: FileName, offset: Int) {
        metrics.damagedRecords += 1
        notice(
            .error, "damaged records",
            [
                ("shard", "\(shard)"), ("from", "\(from)"), ("through", "\(through)"), ("file", "\(file)"),
                ("offset", "\(offset)"),
            ])
        guard let group = group(shard), from <= through, log.holes(of: shard).contains(where: { $0.from <= through })
        else { return }
        group.raft.holeFound(at: from, &raftEffects)
        process(group)
    }

    func holesFilled(_ shard: ShardID) {
        guard let group = group(shard) else { return }
        group.raft.holeRepaired(&raftEffects)
        process(group)
        // Apply may have stopped in front of the hole.
        group.isReading = false
        notice(.notice, "damage repaired", [("shard", "\(shard)")])
    }

    /// Asks a peer for the first hole of each shard; another peer each second, until there is none left.
    func repairHoles() {
        for group in held {
            guard let hole = log.holes(of: group.shard).first else { continue }
            let members = (group.raft.membership.voters + group.raft.membership.learners).map(\.node)
            let reachable = members.filter { node in peers.contains { $0.node == node && $0.connection != nil } }
            guard !reachable.isEmpty else { continue }
            let node = reachable[Int(random.below(UInt64(reachable.count)))]
            metrics.repairsAsked += 1
            sendFrame(.repairRequest, to: node) {
                $0.id(group.shard)
                $0.id(hole.from)
                $0.id(hole.through)
            }
        }
    }

    func receiveRepairRequest(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let shard: ShardID = try reader.id()
        let from: LogIndex = try reader.id()
        let through: LogIndex = try reader.id()
        try reader.expectEnd()
        guard let group = group(shard), from > .zero, from <= through, from <= group.applied,
            !log.holes(of: shard).contains(where: { $0.from <= from && from <= $0.through })
        else { return }
        let token = token()
        logReads[token] = .repair(RepairInquiry(node: node, shard: shard))
        log.read(
            shard: shard, from: from, maxBytes: Self.replyBytes, token: token, ops: &effects.disk, events: &logEvents)
    }

    /// Sends what the log read for a peer, as far as it is applied here.
    func answer(_ inquiry: RepairInquiry, _ entries: [RaftEntry]) {
        guard let group = group(inquiry.shard) else { return }
        var given: [RaftEntry] = []
        var bytes = 0
        for entry in entries where entry.index <= group.applied {
            bytes += entry.payload.count
            if !given.isEmpty, bytes > Self.replyBytes { break }
            given.append(entry)
        }
        guard !given.isEmpty else { return }
        sendFrame(.repairReply, to: inquiry.node) { writer in
            writer.id(inquiry.shard)
            writer.u32(UInt32(given.count))
            for entry in given {
                writer.id(entry.index)
                writer.id(entry.term)
                writer.u8(entry.kind.rawValue)
                writer.u32(UInt32(entry.payload.count))
                writer.u32(entry.payload.checksum)
                writer.raw(entry.payload.bytes)
            }
        }
    }

    func receiveRepairReply(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let shard: ShardID = try reader.id()
        let count = try reader.count("repair entries", atMost: Limits.maximumRecords)
        var entries: [RaftEntry] = []
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
        guard group(shard) != nil else { return }
        let holes = log.holes(of: shard)
        let wanted = entries.filter { entry in holes.contains { $0.from <= entry.index && entry.index <= $0.through } }
        guard !wanted.isEmpty else { return }
        metrics.repairedEntries += UInt64(wanted.count)
        notice(
            .notice, "entries repaired", [("shard", "\(shard)"), ("from", "\(node)"), ("entries", "\(wanted.count)")])
        log.appendRepair(wanted, shard: shard)
    }
}
