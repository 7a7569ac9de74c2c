import ClearingModel
import LogFormat
import Raft
import Wire

/// The snapshot that this node is sending: one at a time, to one follower of one group.
///
/// ```
///  needsSnapshot ──▶ newest checkpoint, kept from removal ──▶ a piece read ──▶ a chunk, a few unacknowledged ──▶ installed
///                                          ▲                          │
///                                          └──────────────────────────┘     connection lost, silence, damage ──▶ dropped;
///                                                                                Raft asks again every second
/// ```
/// Of the checkpoint's bytes only the piece on its way is in memory. The last piece of a section leaves only after the
/// checksum of the whole section was compared, so what arrives whole is right.
final class OutgoingSnapshot {
    static let window = 4
    static let patience = MonotonicTime.Span.seconds(30)

    let shard: ShardID
    let follower: ReplicaID
    let connection: ConnectionID
    let id: UInt64
    /// What the log must keep entries behind.
    var index: LogIndex
    /// An older state than of this entry is of no use to the follower.
    let reaching: LogIndex
    /// `nil` until the checkpoint is open.
    var content: OpenCheckpoint?
    /// The section that is being sent, how much of it has been read, and the checksum of that.
    var section = 0
    var offset: UInt64 = 0
    var checksum: UInt32 = 0
    /// The read under way.
    var token: UInt64?
    var sent: UInt64 = 0
    var acknowledged: UInt64 = 0
    var heardAt: MonotonicTime

    init(
        shard: ShardID, follower: ReplicaID, connection: ConnectionID, id: UInt64, index: LogIndex, reaching: LogIndex,
        now: MonotonicTime
    ) {
        self.shard = shard
        self.follower = follower
        self.connection = connection
        self.id = id
        self.index = index
        self.reaching = reaching
        heardAt = now
    }
}

extension Engine {
    /// Raft found that a follower needs what the log no longer has, or the follower that its state is lost. Asked again every
    /// second for as long as it is so.
    /// - Parameter reaching: an older state than of this entry is of no use to the follower.
    func sendSnapshot(of group: Group, to follower: ReplicaID, reaching: LogIndex = .zero) {
        guard outgoing == nil, !isOpeningSnapshot, group.isLeader,
            let peer = peers.first(where: { $0.node == follower.node }), peer.incarnation == follower.incarnation,
            let connection = peer.connection
        else { return }
        let start = max(group.raft.firstIndex.previous, reaching)
        guard let newest = log.checkpoints(of: group.shard).first, newest.index >= start else {
            return takeCheckpointForSnapshot(of: group)
        }
        let outgoing = OutgoingSnapshot(
            shard: group.shard, follower: follower, connection: connection, id: random.next(), index: newest.index,
            reaching: reaching, now: now)
        self.outgoing = outgoing
        notice(
            .notice, "snapshot begins",
            [("shard", "\(group.shard)"), ("replica", "\(follower)"), ("index", "\(outgoing.index)")])
        isOpeningSnapshot = true
        log.openCheckpoint(shard: group.shard, ops: &effects.disk, events: &logEvents)
    }

    /// No whole checkpoint covers what is needed: the next one will, and stands alone.
    private func takeCheckpointForSnapshot(of group: Group) {
        group.nextStandsAlone = true
        takeCheckpoint(group)
    }

    /// The newest checkpoint's files are known, or none is whole.
    func snapshotOpened(_ shard: ShardID, _ opened: OpenCheckpoint?) {
        isOpeningSnapshot = false
        guard let outgoing, outgoing.shard == shard, outgoing.content == nil else {
            return log.closeCheckpoint(shard: shard, ops: &effects.disk)
        }
        guard let group = group(shard), group.isLeader else {
            log.closeCheckpoint(shard: shard, ops: &effects.disk)
            return dropOutgoing("leadership lost")
        }
        guard let opened, opened.info.index >= max(group.raft.firstIndex.previous, outgoing.reaching) else {
            log.closeCheckpoint(shard: shard, ops: &effects.disk)
            takeCheckpointForSnapshot(of: group)
            return dropOutgoing("no checkpoint covers what is needed")
        }
        outgoing.content = opened
        outgoing.index = opened.info.index
        outgoing.heardAt = now
        pumpSnapshot()
    }

    /// Reads the next piece, unless too much is unacknowledged.
    private func pumpSnapshot() {
        guard let outgoing, let content = outgoing.content, outgoing.token == nil,
            outgoing.section < content.sections.count
        else { return }
        let chunk = UInt64(configuration.snapshotChunkBytes)
        guard outgoing.sent - outgoing.acknowledged < chunk * UInt64(OutgoingSnapshot.window) else { return }
        let section = content.sections[outgoing.section]
        let token = token()
        outgoing.token = token
        log.readCheckpoint(
            section, offset: outgoing.offset, count: Int(min(chunk, section.length - outgoing.offset)), token: token,
            ops: &effects.disk)
    }

    /// A piece was read: it leaves as a chunk.
    func snapshotPiece(_ token: UInt64, _ piece: Slab?) {
        guard let outgoing, outgoing.token == token, let content = outgoing.content,
            let connection = connection(outgoing.connection)
        else { return }
        outgoing.token = nil
        let section = content.sections[outgoing.section]
        if let piece {
            outgoing.checksum = crc32c(piece.bytes, from: outgoing.checksum)
            outgoing.offset += UInt64(piece.count)
        }
        guard let piece, outgoing.offset < section.length || outgoing.checksum == section.checksum else {
            log.distrustCheckpoint(section, ops: &effects.disk, events: &logEvents)
            return dropOutgoing("its checkpoint is damaged")
        }
        let head = SnapshotChunk(
            shard: outgoing.shard, id: outgoing.id,
            head: SnapshotHead(
                index: content.info.index, term: content.info.term, membership: content.info.membership),
            stateBytes: content.stateBytes, indexBytes: content.totalBytes - content.stateBytes,
            checksum: piece.checksum, offset: outgoing.sent)
        connection.output.write { writer in
            writer.frame(.snapshotChunk, request: 0) {
                head.encode(into: &$0)
                $0.raw(piece.bytes)
            }
        }
        markDirty(connection)
        outgoing.sent += UInt64(piece.count)
        if outgoing.offset == section.length {
            outgoing.section += 1
            outgoing.offset = 0
            outgoing.checksum = 0
        }
        pumpSnapshot()
    }

    /// The follower's word on the snapshot.
    func receive(_ reply: SnapshotReply, from replica: ReplicaID) {
        if reply.status == .wanted {
            return wanted(reply.shard, reaching: LogIndex(reply.received), by: replica)
        }
        guard let outgoing, outgoing.id == reply.id, outgoing.shard == reply.shard, outgoing.follower == replica
        else { return }
        outgoing.heardAt = now
        switch reply.status {
        case .received:
            guard reply.received <= outgoing.sent else { return dropOutgoing("an acknowledgement too far") }
            outgoing.acknowledged = max(outgoing.acknowledged, reply.received)
            pumpSnapshot()
        case .installed:
            metrics.snapshotsSent += 1
            notice(
                .notice, "snapshot installed",
                [("shard", "\(reply.shard)"), ("replica", "\(replica)"), ("index", "\(outgoing.index)")])
            self.outgoing = nil
            log.closeCheckpoint(shard: reply.shard, ops: &effects.disk)
        case .refused: dropOutgoing("refused")
        case .wanted: break
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
        // While it is being opened, `snapshotOpened` closes it.
        if outgoing.content != nil { log.closeCheckpoint(shard: outgoing.shard, ops: &effects.disk) }
        notice(
            .warning, "snapshot ended",
            [("shard", "\(outgoing.shard)"), ("replica", "\(outgoing.follower)"), ("why", why)])
    }
}
