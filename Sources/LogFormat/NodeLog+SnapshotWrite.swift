import ClearingModel
import Raft
import Wire

/// A snapshot on its way into a file of a checkpoint's layout, piece by piece.
struct SnapshotWrite {
    let id: UInt64
    let shard: ShardID
    let index: LogIndex
    /// With the checksum of what has come of each.
    var sections: [CheckpointHeader.Section]
    /// Bytes that were handed over.
    var received: UInt64 = 0

    var file: FileName { .snapshotIncoming(shard, index) }
}

/// Snapshots from a peer, written as they come so that nobody holds one in memory: one at a time.
///
/// ```
/// beginSnapshot ──▶ appendSnapshot … ──▶ finishSnapshot: header, sync, rename ──▶ .checkpointDurable
///   incoming-….part       │ .snapshotWritten                                      or .checkpointFailed
///                         └─ .snapshotFailed, dropSnapshot ──▶ removed, as by the next start
/// ```
extension NodeLog {
    /// Opens the file for a snapshot of the state after `index`, whose sections have these lengths.
    public mutating func beginSnapshot(
        shard: ShardID, index: LogIndex, sectionBytes: [UInt64], ops: inout [DiskOperation]
    ) {
        precondition(snapshotWrite == nil, "two snapshots at a time")
        let write = SnapshotWrite(
            id: nextOperation, shard: shard, index: index, sections: CheckpointHeader.places(sectionBytes))
        snapshotWrite = write
        emit(.open(write.file, create: true), .background, .snapshotOpened(write.id), &ops)
    }

    /// Writes the next bytes, section after section. → `.snapshotWritten` or `.snapshotFailed`
    /// - Precondition: no more bytes than the sections have.
    public mutating func appendSnapshot(_ bytes: UnsafeRawBufferPointer, ops: inout [DiskOperation]) {
        guard var write = snapshotWrite else { preconditionFailure("a piece of no snapshot") }
        var rest = bytes
        var start: UInt64 = 0
        for at in write.sections.indices {
            let section = write.sections[at]
            defer { start += section.length }
            guard !rest.isEmpty, write.received < start + section.length else { continue }
            let offset = write.received - start
            let count = Int(min(UInt64(rest.count), section.length - offset))
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<count])
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            write.sections[at].checksum = crc32c(piece, from: section.checksum)
            write.received += UInt64(count)
            emit(
                .write(write.file, offset: section.offset + offset, [Slab(copying: piece)]), .background,
                .snapshotPiece(write.id, through: write.received), &ops)
        }
        precondition(rest.isEmpty, "a snapshot longer than was said")
        snapshotWrite = write
    }

    /// Everything is written: makes a checkpoint of it that stands alone. → `.checkpointDurable` or `.checkpointFailed`
    /// - Precondition: as for `writeCheckpoint`.
    public mutating func finishSnapshot(term: Term, membership: Membership, ops: inout [DiskOperation]) {
        guard let write = snapshotWrite else { preconditionFailure("the end of no snapshot") }
        precondition(write.received == write.sections.reduce(0) { $0 + $1.length }, "a snapshot in part")
        let slot = slot(write.shard)
        precondition(checkpointWrites[slot] == nil, "two checkpoints of shard \(write.shard) at a time")
        precondition(checkpoints[slot].allSatisfy { $0.index < write.index }, "checkpoint below the newest one")
        snapshotWrite = nil
        let info = CheckpointInfo(
            shard: write.shard, index: write.index, term: term, membership: membership, previous: nil)
        checkpointWrites[slot] = CheckpointWrite(info: info, file: write.file)
        let header = CheckpointHeader(info: info, sections: write.sections).encoded(cluster: cluster)
        emit(.write(write.file, offset: 0, [header]), .background, .checkpointStep(slot), &ops)
        emit(.sync(write.file), .background, .checkpointWritten(slot), &ops)
    }

    /// Gives up what has come.
    public mutating func dropSnapshot(ops: inout [DiskOperation]) {
        guard let write = snapshotWrite else { return }
        snapshotWrite = nil
        emit(.close(write.file), .background, .ignore, &ops)
        emit(.remove(write.file), .background, .ignore, &ops)
    }

    mutating func snapshotPiece(
        _ id: UInt64, through: UInt64, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation],
        _ events: inout [LogEvent]
    ) {
        guard let write = snapshotWrite, write.id == id else { return }
        if case .failed(let error) = result {
            dropSnapshot(ops: &ops)
            events.append(.snapshotFailed(write.shard, write.index, error))
        } else if through > 0 {
            events.append(.snapshotWritten(write.shard, write.index, bytes: through))
        }
    }
}
