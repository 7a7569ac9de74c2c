import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// The snapshot that this node is receiving: one at a time.
///
/// ```
///  chunks ──▶ whole, checksum right, restored in memory ──▶ written as a stand-alone checkpoint ──▶ durable:
///             log start behind it, Raft told, state machine replaced ──▶ installed
/// ```
/// Up to "durable" nothing of the group has changed. From then on a crash finds the checkpoint, and recovery starts
/// from it: the log below counts for nothing where it disagrees.
final class IncomingSnapshot {
    static let patience = MonotonicTime.Span.seconds(30)

    let from: ReplicaID
    let connection: ConnectionID
    let first: SnapshotChunk
    private var state: [UInt8] = []
    private var index: [UInt8] = []
    private(set) var received: UInt64 = 0
    var heardAt: MonotonicTime
    /// Set when everything has come and was restored; waits for its turn on the disk.
    var restored: Restored?
    var isWriting = false

    enum Machine {
        case clearing(ShardLedger)
        case directory(DirectoryLedger)
    }

    struct Restored {
        var machine: Machine
        var sections: [Slab]
    }

    init(from: ReplicaID, connection: ConnectionID, first: SnapshotChunk, now: MonotonicTime) {
        self.from = from
        self.connection = connection
        self.first = first
        heardAt = now
    }

    var shard: ShardID { first.shard }
    var isWhole: Bool { received == first.stateBytes + first.indexBytes }

    /// Adds the next bytes; memory grows with what has come, not with what was announced.
    func append(_ bytes: UnsafeRawBufferPointer) {
        let forState = Int(min(UInt64(bytes.count), first.stateBytes - min(first.stateBytes, received)))
        state.append(contentsOf: bytes[..<forState])
        index.append(contentsOf: bytes[forState...])
        received += UInt64(bytes.count)
    }

    /// The sections, if they are what the sender named.
    func takeSections() -> [Slab]? {
        let checksum = index.withUnsafeBytes { index in state.withUnsafeBytes { crc32c(index, from: crc32c($0)) } }
        guard checksum == first.checksum else { return nil }
        var sections = [Slab(state)]
        state = []
        if !index.isEmpty { sections.append(Slab(index)) }
        index = []
        return sections
    }
}

extension Engine {
    func receive(
        _ chunk: SnapshotChunk, _ bytes: UnsafeRawBufferPointer, from replica: ReplicaID, _ connection: Connection
    ) {
        guard let group = group(chunk.shard), wants(chunk.head, group) else { return answer(chunk, .refused, replica) }
        if let current = incoming, current.first.id != chunk.id || current.connection != connection.id {
            // Another sender, or the same one from the start. What is on its way to the disk is finished first.
            let isReplaceable = current.restored == nil && (current.from == replica || current.shard == chunk.shard)
            guard isReplaceable, chunk.offset == 0 else { return answer(chunk, .refused, replica) }
            incoming = nil
        }
        if incoming == nil {
            guard chunk.offset == 0 else { return answer(chunk, .refused, replica) }
            incoming = IncomingSnapshot(from: replica, connection: connection.id, first: chunk, now: now)
        }
        guard let incoming, incoming.first.head == chunk.head, incoming.first.checksum == chunk.checksum,
            incoming.first.stateBytes == chunk.stateBytes, incoming.first.indexBytes == chunk.indexBytes,
            incoming.received == chunk.offset
        else {
            if self.incoming?.restored == nil { self.incoming = nil }
            return answer(chunk, .refused, replica)
        }
        incoming.append(bytes)
        incoming.heardAt = now
        answer(chunk, .received, replica, received: incoming.received)
        if incoming.isWhole { restore(incoming) }
    }

    /// Whether a snapshot would bring this replica forward.
    private func wants(_ head: SnapshotHead, _ group: Group) -> Bool {
        !group.isLeader && group.raft.halted == nil && head.index > group.raft.commit && head.index > group.applied
            && log.checkpoints(of: group.shard).allSatisfy { $0.index < head.index }
    }

    /// Everything has come: checks it by restoring it.
    private func restore(_ incoming: IncomingSnapshot) {
        guard let sections = incoming.takeSections() else {
            return dropIncoming("the checksum over the whole is wrong", refuse: true)
        }
        let topology = configuration.topology
        do throws(CheckpointError) {
            let machine: IncomingSnapshot.Machine
            if incoming.shard.isDirectory {
                machine = .directory(
                    try DirectoryLedger(
                        restoring: sections[0], cluster: topology.cluster, options: configuration.ledgerOptions))
            } else {
                machine = .clearing(
                    try ShardLedger(
                        restoring: sections[0], deltas: Array(sections[1...]), shard: incoming.shard,
                        cluster: topology.cluster, slots: topology.slots, shardCount: topology.shardCount,
                        options: configuration.ledgerOptions))
            }
            incoming.restored = IncomingSnapshot.Restored(machine: machine, sections: sections)
        } catch {
            return dropIncoming("\(error)", refuse: true)
        }
        writeSnapshot()
    }

    /// Hands the received snapshot to the disk, behind a checkpoint of the same group that is on its way there.
    func writeSnapshot() {
        guard let incoming, let restored = incoming.restored, !incoming.isWriting, let group = group(incoming.shard),
            !group.isCheckpointing, group.waitingCheckpoint == nil
        else { return }
        let head = incoming.first.head
        guard wants(head, group) else { return dropOvertaken() }
        incoming.isWriting = true
        group.isCheckpointing = true
        log.writeCheckpoint(
            shard: group.shard, index: head.index, term: head.term, membership: head.membership,
            sections: restored.sections, standsAlone: true, ops: &effects.disk)
    }

    /// A checkpoint is durable: if it is the snapshot, it comes into force.
    func snapshotDurable(_ group: Group, _ index: LogIndex) {
        guard let incoming, incoming.isWriting, incoming.shard == group.shard, incoming.first.head.index == index,
            let restored = incoming.restored
        else { return }
        let head = incoming.first.head
        // The index part of a checkpoint to come covers what this replica applied since its own last one, which is more
        // than what it gains behind the snapshot: overlaps are harmless.
        guard !group.isLeader, group.raft.halted == nil, head.index > group.raft.commit, head.index > group.applied
        else { return dropOvertaken() }
        log.appendLogStart(shard: group.shard, index: head.index, term: head.term, membership: head.membership)
        logReads = logReads.filter { $0.value.isApply(of: group.shard) == false }
        guard
            group.raft.snapshotInstalled(
                index: head.index, term: head.term, membership: head.membership, now: now, &raftEffects)
        else { preconditionFailure("a snapshot that was wanted was not taken") }
        switch (restored.machine, group) {
        case (.clearing(let ledger), let group as ClearingGroup): group.install(ledger, head)
        case (.directory(let directory), let group as DirectoryGroup): group.install(directory, head)
        default: preconditionFailure("a snapshot of another kind of group")
        }
        process(group)
        self.incoming = nil
        metrics.snapshotsInstalled += 1
        Site.snapshotInstalled.reached()
        notice(.notice, "snapshot in force", [("shard", "\(group.shard)"), ("index", "\(head.index)")])
        answer(incoming.first, .installed, incoming.from, received: incoming.received)
    }

    /// The log brought more than the snapshot holds while that was under way.
    private func dropOvertaken() {
        Site.snapshotOvertaken.reached()
        dropIncoming("this replica has as much already", refuse: true)
    }

    func snapshotFailed(_ group: Group, _ index: LogIndex) {
        guard let incoming, incoming.isWriting, incoming.shard == group.shard, incoming.first.head.index == index
        else { return }
        dropIncoming("it could not be written", refuse: true)
    }

    /// Ends a transfer whose sender fell silent.
    func watchIncomingSnapshot() {
        guard let incoming, incoming.restored == nil, now - incoming.heardAt >= IncomingSnapshot.patience else {
            return
        }
        dropIncoming("the sender fell silent", refuse: false)
    }

    func dropIncoming(_ why: String, refuse: Bool) {
        guard let incoming else { return }
        self.incoming = nil
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
