import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// The snapshot that this node is receiving: one at a time.
///
/// ```
///  chunk ──▶ checked, into the ledger being restored ──▶ written to incoming-….part ──▶ acknowledged ─┐
///    ▲                                                                                                  │
///    └──────────────────────────────────────────────────────────────────────────────────────────────────┘
///  the last one ──▶ index as the state says ──▶ header, sync, rename: a stand-alone checkpoint ──▶ durable:
///             log start behind it, Raft told, state machine replaced ──▶ installed
/// ```
/// Up to "durable" nothing of the group has changed. From then on a crash finds the checkpoint, and recovery starts
/// from it: the log below counts for nothing where it disagrees. A turn does one chunk's work.
final class IncomingSnapshot {
    static let patience = MonotonicTime.Span.seconds(30)

    let from: ReplicaID
    let connection: ConnectionID
    let first: SnapshotChunk
    private var state: [UInt8] = []
    private var restore: ShardRestore?
    private(set) var received: UInt64 = 0
    /// Bytes that the disk has taken.
    var written: UInt64 = 0
    var heardAt: MonotonicTime
    /// Set when everything has come and fits together; waits until it is written, and for its turn on the disk.
    var machine: Machine?
    var isFinishing = false

    enum Machine {
        case clearing(ShardLedger)
        case directory(DirectoryLedger)
    }

    init(from: ReplicaID, connection: ConnectionID, first: SnapshotChunk, now: MonotonicTime) {
        self.from = from
        self.connection = connection
        self.first = first
        heardAt = now
    }

    var shard: ShardID { first.shard }
    var totalBytes: UInt64 { first.stateBytes + first.indexBytes }
    var isWhole: Bool { received == totalBytes }

    /// Adds the next bytes; memory grows with what has come, not with what was announced.
    func take(_ bytes: UnsafeRawBufferPointer, _ configuration: EngineConfiguration) throws(CheckpointError) {
        let forState = Int(min(UInt64(bytes.count), first.stateBytes - min(first.stateBytes, received)))
        state.append(contentsOf: bytes[..<forState])
        received += UInt64(bytes.count)
        guard received >= first.stateBytes else { return }
        if shard.isDirectory {
            // Its index section is empty.
            if isWhole {
                machine = .directory(
                    try DirectoryLedger(
                        restoring: Slab(state), cluster: configuration.topology.cluster,
                        options: configuration.ledgerOptions))
            }
            return
        }
        if restore == nil {
            let topology = configuration.topology
            restore = try ShardRestore(
                state: Slab(state), shard: shard, cluster: topology.cluster, slots: topology.slots,
                shardCount: topology.shardCount, options: configuration.ledgerOptions)
            state = []
        }
        try restore!.add(UnsafeRawBufferPointer(rebasing: bytes[forState...]))
        if isWhole { machine = .clearing(try restore!.finish()) }
    }
}

extension Engine {
    func receive(
        _ chunk: SnapshotChunk, _ bytes: UnsafeRawBufferPointer, from replica: ReplicaID, _ connection: Connection
    ) {
        guard let group = group(chunk.shard) else { return answer(chunk, .refused, replica) }
        guard wants(chunk.head, group) else {
            // Another node may send one at once.
            if let incoming, incoming.first.id == chunk.id, incoming.machine == nil { return dropOvertaken() }
            return answer(chunk, .refused, replica)
        }
        if let current = incoming, current.first.id != chunk.id || current.connection != connection.id {
            // Another sender, or the same one from the start. What is on its way to the disk is finished first.
            let isReplaceable = current.machine == nil && (current.from == replica || current.shard == chunk.shard)
            guard isReplaceable, chunk.offset == 0 else { return answer(chunk, .refused, replica) }
            forgetIncoming()
        }
        if incoming == nil {
            guard chunk.offset == 0, chunk.stateBytes + chunk.indexBytes <= freeBytes ?? .max else {
                return answer(chunk, .refused, replica)
            }
            incoming = IncomingSnapshot(from: replica, connection: connection.id, first: chunk, now: now)
            log.beginSnapshot(
                shard: chunk.shard, index: chunk.head.index,
                sectionBytes: chunk.indexBytes > 0 ? [chunk.stateBytes, chunk.indexBytes] : [chunk.stateBytes],
                ops: &effects.disk)
        }
        guard let incoming, incoming.first.head == chunk.head, incoming.first.stateBytes == chunk.stateBytes,
            incoming.first.indexBytes == chunk.indexBytes, incoming.received == chunk.offset,
            crc32c(bytes) == chunk.checksum
        else {
            if self.incoming?.machine == nil { forgetIncoming() }
            return answer(chunk, .refused, replica)
        }
        incoming.heardAt = now
        do throws(CheckpointError) {
            try incoming.take(bytes, configuration)
        } catch {
            return dropIncoming("\(error)", refuse: true)
        }
        log.appendSnapshot(bytes, ops: &effects.disk)
    }

    /// The disk has taken what came: the sender may go on.
    func snapshotWritten(_ shard: ShardID, _ index: LogIndex, _ bytes: UInt64) {
        guard let incoming, incoming.shard == shard, incoming.first.head.index == index else { return }
        incoming.written = bytes
        answer(incoming.first, .received, incoming.from, received: bytes)
        writeSnapshot()
    }

    func snapshotUnwritten(_ shard: ShardID, _ index: LogIndex, _ error: DiskError) {
        guard let incoming, incoming.shard == shard, incoming.first.head.index == index else { return }
        dropIncoming("it cannot be written: \(error)", refuse: true)
    }

    private func forgetIncoming() {
        incoming = nil
        log.dropSnapshot(ops: &effects.disk)
    }

    /// Whether a snapshot would bring this replica forward.
    private func wants(_ head: SnapshotHead, _ group: Group) -> Bool {
        fits(head, group) && log.checkpoints(of: group.shard).allSatisfy { $0.index < head.index }
    }

    /// Makes a checkpoint of the received snapshot, behind a checkpoint of the same group that is on its way there.
    func writeSnapshot() {
        guard let incoming, incoming.machine != nil, incoming.written == incoming.totalBytes, !incoming.isFinishing,
            let group = group(incoming.shard), !group.isCheckpointing, group.waitingCheckpoint == nil
        else { return }
        let head = incoming.first.head
        guard wants(head, group) else { return dropOvertaken() }
        incoming.isFinishing = true
        group.isCheckpointing = true
        log.finishSnapshot(term: head.term, membership: head.membership, ops: &effects.disk)
    }

    /// A checkpoint is durable: if it is the snapshot, it comes into force.
    func snapshotDurable(_ group: Group, _ index: LogIndex) {
        guard let incoming, incoming.isFinishing, incoming.shard == group.shard,
            incoming.first.head.index == index, let machine = incoming.machine
        else { return }
        let head = incoming.first.head
        // The index part of a checkpoint to come covers what this replica applied since its own last one, which is more
        // than what it gains behind the snapshot: overlaps are harmless.
        guard fits(head, group) else { return dropOvertaken() }
        let isRestored = group.lacksState
        beginLog(of: group, behind: head)
        switch (machine, group) {
        case (.clearing(let ledger), let group as ClearingGroup): group.install(ledger, head)
        case (.directory(let directory), let group as DirectoryGroup): group.install(directory, head)
        default: preconditionFailure("a snapshot of another kind of group")
        }
        if isRestored {
            Site.stateRestored.reached()
            notice(.notice, "state restored", [("shard", "\(group.shard)"), ("index", "\(head.index)")])
        }
        process(group)
        self.incoming = nil
        metrics.snapshotsInstalled += 1
        Site.snapshotInstalled.reached()
        notice(.notice, "snapshot in force", [("shard", "\(group.shard)"), ("index", "\(head.index)")])
        answer(incoming.first, .installed, incoming.from, received: incoming.received)
    }

    /// The group's log begins behind the snapshot now.
    private func beginLog(of group: Group, behind head: SnapshotHead) {
        // Some of a hole may be repaired, which Raft hears when all of it is.
        if group.raft.holeIndex != nil { group.raft.correct(log.known(of: group.shard)) }
        let isKept = log.term(of: group.shard, at: head.index) == head.term
        let rest = isKept ? log.holes(of: group.shard).first { $0.through > head.index } : nil
        let hole = rest.map { max($0.from, head.index.next) }
        log.appendLogStart(shard: group.shard, index: head.index, term: head.term, membership: head.membership)
        logReads = logReads.filter { $0.value.isApply(of: group.shard) == false }
        if head.index <= group.raft.commit {
            return group.raft.stateRestored(
                through: head.index, membership: head.membership, hole: hole, &raftEffects)
        }
        guard
            group.raft.snapshotInstalled(
                index: head.index, term: head.term, membership: head.membership, hole: hole, now: now, &raftEffects)
        else { preconditionFailure("a snapshot that was wanted was not taken") }
    }

    /// The log brought more than the snapshot holds while that was under way.
    private func dropOvertaken() {
        Site.snapshotOvertaken.reached()
        dropIncoming("this replica has as much already", refuse: true)
    }

    func snapshotFailed(_ group: Group, _ index: LogIndex) {
        guard let incoming, incoming.isFinishing, incoming.shard == group.shard, incoming.first.head.index == index
        else { return }
        dropIncoming("it could not be written", refuse: true)
    }

    /// Ends a transfer whose sender fell silent.
    func watchIncomingSnapshot() {
        guard let incoming, incoming.machine == nil, now - incoming.heardAt >= IncomingSnapshot.patience else {
            return
        }
        dropIncoming("the sender fell silent", refuse: false)
    }

    func dropIncoming(_ why: String, refuse: Bool) {
        guard let incoming else { return }
        forgetIncoming()
        notice(.warning, "snapshot dropped", [("shard", "\(incoming.shard)"), ("why", why)])
        if refuse { answer(incoming.first, .refused, incoming.from) }
    }

    private func answer(
        _ chunk: SnapshotChunk, _ status: SnapshotReply.Status, _ replica: ReplicaID, received: UInt64 = 0
    ) {
        let reply = SnapshotReply(shard: chunk.shard, status: status, id: chunk.id, received: received)
        sendFrame(.snapshotReply, to: replica.node) { reply.encode(into: &$0) }
    }
}

extension Engine.LogRead {
    func isApply(of shard: ShardID) -> Bool {
        if case .apply(let of) = self { return of == shard }
        return false
    }
}
