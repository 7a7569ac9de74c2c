import ClearingModel
import LogFormat
import Raft
import Wire

/// A peer's question for entries, while this node's log reads them.
struct RepairInquiry {
    var node: NodeID
    var request: RepairRequest
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
    func foundDamage(_ shard: ShardID, from: LogIndex, through: LogIndex, file: FileName, offset: Int) {
        metrics.damagedRecords += 1
        Site.damageFound.reached()
        notice(
            .error, "damaged records",
            [
                ("shard", "\(shard)"), ("from", "\(from)"), ("through", "\(through)"), ("file", "\(file)"),
                ("offset", "\(offset)"),
            ])
        guard let group = group(shard), from <= through, log.holes(of: shard).contains(where: { $0.from <= through })
        else { return }
        // A lost table of a segment may hide entries on both sides of the log's start.
        group.raft.holeFound(at: max(from, group.raft.firstIndex), &raftEffects)
        process(group)
    }

    func holesFilled(_ shard: ShardID) {
        guard let group = group(shard) else { return }
        Site.entriesRepaired.reached()
        if group.raft.leader == nil { Site.repairedWithoutLeader.reached() }
        group.raft.holeRepaired(log.known(of: shard), &raftEffects)
        process(group)
        // Apply may have stopped in front of the hole.
        group.resumeApply()
        notice(.notice, "damage repaired", [("shard", "\(shard)")])
    }

    /// Asks a peer for the first hole of each shard, every second another one until there is none left. What a peer has it gives
    /// part by part without a pause.
    func repairHoles() {
        for group in held {
            guard let hole = log.holes(of: group.shard).first else { continue }
            let reachable = group.memberNodes.filter { node in
                peers.contains { $0.node == node && $0.connection != nil }
            }
            guard !reachable.isEmpty else { continue }
            let node = reachable[Int(random.below(UInt64(reachable.count)))]
            metrics.repairsAsked += 1
            requestEntries(group.shard, hole, of: node)
        }
    }

    func requestEntries(_ shard: ShardID, _ range: IndexRange, of node: NodeID) {
        sendFrame(.repairRequest, to: node) { RepairRequest(shard: shard, range: range).encode(into: &$0) }
    }

    func receiveRepairRequest(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let inquiry = RepairInquiry(node: node, request: try RepairRequest(decoding: &reader))
        let (shard, from) = (inquiry.request.shard, inquiry.request.range.from)
        guard let group = group(shard), from <= group.applied,
            !log.holes(of: shard).contains(where: { $0.from <= from && from <= $0.through })
        else { return answer(inquiry, []) }
        let token = token()
        logReads[token] = .repair(inquiry)
        log.read(
            shard: shard, from: from, maxBytes: configuration.repairReplyBytes, token: token, ops: &effects.disk,
            events: &logEvents)
    }

    /// Sends what the log read for a peer, as far as it was asked for and is applied here.
    func answer(_ inquiry: RepairInquiry, _ entries: [RaftEntry]) {
        let (shard, range) = (inquiry.request.shard, inquiry.request.range)
        let last = min(range.through, group(shard)?.applied ?? .zero)
        var given: [RaftEntry] = []
        var bytes = 0
        for entry in entries where entry.index <= last {
            bytes += entry.payload.count
            if !given.isEmpty, bytes > configuration.repairReplyBytes { break }
            if given.count == RepairReply.maximumEntries { break }
            given.append(entry)
        }
        let next = given.isEmpty && range.from < last ? log.firstReadable(of: shard, from: range.from.next) : nil
        let reply = RepairReply(
            shard: shard, from: range.from, next: next.flatMap { $0 <= last ? $0 : nil }, entries: given)
        sendFrame(.repairReply, to: inquiry.node) { reply.encode(into: &$0) }
    }

    func receiveRepairReply(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let reply = try RepairReply(decoding: &reader)
        guard let group = group(reply.shard) else { return }
        // One of a later term than this replica knows may contradict a leader that it still follows: it comes again when that
        // is settled.
        let entries = reply.entries.filter { $0.term <= group.raft.term }
        let wanted = log.wanted(entries, of: reply.shard)
        guard !wanted.isEmpty else {
            if reply.entries.isEmpty { notRepaired(group, from: reply.from, by: node) }
            return backfillReceived(reply, from: node)
        }
        metrics.repairedEntries += UInt64(wanted.count)
        notice(
            .notice, "entries repaired",
            [("shard", "\(reply.shard)"), ("from", "\(node)"), ("entries", "\(wanted.count)")])
        log.appendRepair(wanted, shard: reply.shard)
        if let last = wanted.last?.index { askForMore(group, after: last, of: node) }
    }

    /// The next part of what is missing, at once and of the peer that had the last one; where the disk does not keep up, or the
    /// peer has no more, `repairHoles` goes on.
    private func askForMore(_ group: Group, after last: LogIndex, of node: NodeID) {
        guard unsyncedBytes < Limits.maximumUnsyncedBytes / 2,
            let hole = log.holes(of: group.shard).first(where: { $0.through > last })
        else { return }
        metrics.repairsAsked += 1
        requestEntries(
            group.shard, IndexRange(from: max(hole.from, last.next), through: hole.through), of: node)
    }
}
