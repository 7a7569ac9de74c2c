import ClearingModel
import LogFormat
import Raft
import Wire

/// The snapshot that this node is sending: one at a time, to one follower of one group.
///
/// ```
///  needsSnapshot ──▶ newest checkpoint read from disk ──▶ chunks, a few unacknowledged ──▶ installed
///                       (or state taken from memory)                │
///                                      connection lost, silence ────┴──▶ dropped; Raft asks again every second
/// ```
final class OutgoingSnapshot {
    static let window = 4
    static let patience = MonotonicTime.Span.seconds(30)

    let shard: ShardID
    let follower: ReplicaID
    let connection: ConnectionID
    let id: UInt64
    /// What the log must keep entries behind.
    var index: LogIndex
    /// `nil` while the checkpoint is being read.
    var content: Content?
    var sent = 0
    var acknowledged = 0
    var heardAt: MonotonicTime

    struct Content {
        var head: SnapshotHead
        var parts: [Slab]
        var stateBytes: Int
        var total: Int
        var checksum: UInt32

        init(head: SnapshotHead, state: Slab, index: [Slab]) {
            self.head = head
            parts = [state] + index
            stateBytes = state.count
            total = parts.reduce(0) { $0 + $1.count }
            checksum = parts.reduce(0) { crc32c($1.bytes, from: $0) }
        }
    }

    init(
        shard: ShardID, follower: ReplicaID, connection: ConnectionID, id: UInt64, index: LogIndex, now: MonotonicTime
    ) {
        self.shard = shard
        self.follower = follower
        self.connection = connection
        self.id = id
        self.index = index
        heardAt = now
    }
}

extension Engine {
    /// Raft found that a follower needs what the log no longer has. Asked again every second for as long as it is so.
    func sendSnapshot(of group: Group, to follower: ReplicaID) {
        guard outgoing == nil, !isLoadingSnapshot, group.isLeader,
            let peer = peers.first(where: { $0.node == follower.node }), peer.incarnation == follower.incarnation,
            let connection = peer.connection
        else { return }
        let start = group.raft.firstIndex.previous
        let newest = log.checkpoints(of: group.shard).first
        let outgoing = OutgoingSnapshot(
            shard: group.shard, follower: follower, connection: connection, id: random.next(),
            index: newest?.index ?? start, now: now)
        self.outgoing = outgoing
        notice(
            .notice, "snapshot begins",
            [("shard", "\(group.shard)"), ("replica", "\(follower)"), ("index", "\(outgoing.index)")])
        if let newest, newest.index >= start {
            isLoadingSnapshot = true
            log.loadCheckpoint(shard: group.shard, ops: &effects.disk, events: &logEvents)
        } else {
            takeSnapshot(of: group, for: outgoing)
        }
    }

    /// The checkpoint that was asked for is in memory, or none is whole.
    func snapshotLoaded(_ shard: ShardID, _ loaded: LoadedCheckpoint?) {
        isLoadingSnapshot = false
        guard let outgoing, outgoing.shard == shard, outgoing.content == nil else { return }
        guard let group = group(shard), group.isLeader else { return dropOutgoing("leadership lost") }
        guard let loaded, loaded.info.index >= group.raft.firstIndex.previous else {
            return takeSnapshot(of: group, for: outgoing)
        }
        outgoing.content = OutgoingSnapshot.Content(
            head: SnapshotHead(
                index: loaded.info.index, term: loaded.info.term, membership: loaded.info.membership),
            state: loaded.state, index: loaded.deltas)
        outgoing.index = loaded.info.index
        outgoing.heardAt = now
        pumpSnapshot()
    }

    /// No checkpoint covers the log's start: the state in memory does.
    private func takeSnapshot(of group: Group, for outgoing: OutgoingSnapshot) {
        guard group.applied > .zero else { return dropOutgoing("nothing is applied") }
        let sections = group.encodeWhole()
        outgoing.content = OutgoingSnapshot.Content(
            head: SnapshotHead(index: group.applied, term: group.appliedTerm, membership: group.appliedMembership),
            state: sections[0], index: Array(sections[1...]))
        outgoing.index = group.applied
        pumpSnapshot()
    }

    /// Sends chunks until a few are unacknowledged.
    private func pumpSnapshot() {
        guard let outgoing, let content = outgoing.content, let connection = connection(outgoing.connection) else {
            return
        }
        let chunk = configuration.snapshotChunkBytes
        while outgoing.sent < content.total, outgoing.sent - outgoing.acknowledged < chunk * OutgoingSnapshot.window {
            let count = min(chunk, content.total - outgoing.sent)
            let head = SnapshotChunk(
                shard: outgoing.shard, id: outgoing.id, head: content.head, stateBytes: UInt64(content.stateBytes),
                indexBytes: UInt64(content.total - content.stateBytes), checksum: content.checksum,
                offset: UInt64(outgoing.sent))
            connection.output.write { writer in
                writer.frame(.snapshotChunk, request: 0) {
                    head.encode(into: &$0)
                    content.write(from: outgoing.sent, count: count, into: &$0)
                }
            }
            outgoing.sent += count
        }
        markDirty(connection)
    }

    /// The follower's word on the snapshot.
    func receive(_ reply: SnapshotReply, from replica: ReplicaID) {
        guard let outgoing, outgoing.id == reply.id, outgoing.shard == reply.shard, outgoing.follower == replica
        else { return }
        outgoing.heardAt = now
        switch reply.status {
        case .received:
            guard reply.received <= UInt64(outgoing.sent) else { return dropOutgoing("an acknowledgement too far") }
            outgoing.acknowledged = max(outgoing.acknowledged, Int(reply.received))
            pumpSnapshot()
        case .installed:
            metrics.snapshotsSent += 1
            notice(
                .notice, "snapshot installed",
                [("shard", "\(reply.shard)"), ("replica", "\(replica)"), ("index", "\(outgoing.index)")])
            self.outgoing = nil
        case .refused: dropOutgoing("refused")
        }
    }

    /// Ends a transfer that got stuck, or whose group is led elsewhere now.
    func watchOutgoingSnapshot() {
        guard let outgoing else { return }
        if now - outgoing.heardAt >= OutgoingSnapshot.patience { return dropOutgoing("no answer") }
        if group(outgoing.shard)?.isLeader != true { dropOutgoing("leadership lost") }
    }

    func dropOutgoing(_ why: String) {
        guard let outgoing else { return }
        self.outgoing = nil
        notice(
            .warning, "snapshot ended",
            [("shard", "\(outgoing.shard)"), ("replica", "\(outgoing.follower)"), ("why", why)])
    }
}

extension OutgoingSnapshot.Content {
    /// Appends a range of the sections' bytes.
    func write(from offset: Int, count: Int, into writer: inout WireWriter) {
        var (skip, left) = (offset, count)
        for part in parts where left > 0 {
            if skip >= part.count {
                skip -= part.count
                continue
            }
            let piece = min(left, part.count - skip)
            writer.raw(UnsafeRawBufferPointer(rebasing: part.bytes[skip..<skip + piece]))
            (skip, left) = (0, left - piece)
        }
        precondition(left == 0, "a chunk beyond the snapshot's end")
    }
}
