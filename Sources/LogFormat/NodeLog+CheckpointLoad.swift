import ClearingModel
import Wire

/// A chain of checkpoints being read: one file after the other, newest first.
struct CheckpointLoad {
    var chain: [CheckpointInfo]
    /// File of the chain, and section of that file, that is read next.
    var file = 0
    var section = 0
    var header: CheckpointHeader?
    var state: Slab?
    var others: [Slab] = []
    /// Newest first.
    var deltas: [Slab] = []
    /// Only the headers are read: the sections' places are wanted, not their bytes.
    var isOutline = false
    /// Section 0 of the newest file, then section 1 of every file, newest first.
    var places: [CheckpointSection] = []
}

/// One section of a checkpoint file, to be read in pieces.
public struct CheckpointSection: Hashable, Sendable {
    public var shard: ShardID
    /// Of the file that it stands in.
    public var index: LogIndex
    var offset: UInt64
    public var length: UInt64
    public var checksum: UInt32
}

/// A checkpoint whose sections are to be read in pieces.
public struct OpenCheckpoint: Sendable {
    public var info: CheckpointInfo
    /// The state, then the index sections of the chain, oldest first.
    public var sections: [CheckpointSection]
    public var stateBytes: UInt64 { sections[0].length }
    public var totalBytes: UInt64 { sections.reduce(0) { $0 + $1.length } }
}

extension NodeLog {
    /// Reads the newest checkpoint whose whole chain can be read. → `.checkpointLoaded`, with `.checkpointDamaged` before it for
    /// each one that was passed over.
    public mutating func loadCheckpoint(
        shard: ShardID, ops: inout [DiskOperation], events: inout [LogEvent]
    ) {
        let slot = slot(shard)
        precondition(checkpointLoads[slot] == nil, "two loads of shard \(shard) at a time")
        tryNewest(slot, isOutline: false, &ops, &events)
    }

    /// Finds the newest checkpoint whose chain's headers can be read, and keeps its files until `closeCheckpoint`.
    /// → `.checkpointOpened`
    public mutating func openCheckpoint(shard: ShardID, ops: inout [DiskOperation], events: inout [LogEvent]) {
        let slot = slot(shard)
        precondition(checkpointLoads[slot] == nil && !openCheckpoints[slot], "two readers of shard \(shard) at a time")
        tryNewest(slot, isOutline: true, &ops, &events)
    }

    /// Reads a piece of a section of the open checkpoint; its bytes are not checked. → `.checkpointPiece`
    public mutating func readCheckpoint(
        _ section: CheckpointSection, offset: UInt64, count: Int, token: UInt64, ops: inout [DiskOperation]
    ) {
        precondition(openCheckpoints[slot(section.shard)] && offset + UInt64(count) <= section.length)
        emit(
            .read(.checkpoint(section.shard, section.index), offset: section.offset + offset, count: count), .read,
            .checkpointPiece(token: token, count: count), &ops)
    }

    /// Nobody reads the shard's open checkpoint any more.
    public mutating func closeCheckpoint(shard: ShardID, ops: inout [DiskOperation]) {
        let slot = slot(shard)
        guard openCheckpoints[slot] else { return }
        openCheckpoints[slot] = false
        for info in checkpoints[slot] { emit(.close(.checkpoint(info.shard, info.index)), .read, .ignore, &ops) }
        removeUnneeded(slot, &ops)
    }

    /// A file of the open checkpoint turned out damaged: it is not used any more. → `.checkpointDamaged`
    public mutating func distrustCheckpoint(
        _ section: CheckpointSection, ops: inout [DiskOperation], events: inout [LogEvent]
    ) {
        let slot = slot(section.shard)
        checkpoints[slot].removeAll { $0.index == section.index }
        dropBrokenChains(slot)
        // A later checkpoint may take its name: nobody may read on in the old file then.
        emit(.close(.checkpoint(section.shard, section.index)), .read, .ignore, &ops)
        events.append(.checkpointDamaged(section.shard, section.index))
    }

    func checkpointPiece(
        _ token: UInt64, _ count: Int, _ result: DiskCompletion.Result, _ events: inout [LogEvent]
    ) {
        if case .bytes(let slab) = result, slab.count == count {
            events.append(.checkpointPiece(token: token, slab))
        } else {
            events.append(.checkpointPiece(token: token, nil))
        }
    }

    private mutating func tryNewest(
        _ slot: Int, isOutline: Bool, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        dropBrokenChains(slot)
        if let info = checkpoints[slot].first, let chain = chain(slot, from: info) {
            checkpointLoads[slot] = CheckpointLoad(chain: chain, isOutline: isOutline)
            return readHeader(slot, chain[0], &ops)
        }
        checkpointLoads[slot] = nil
        events.append(isOutline ? .checkpointOpened(shards[slot], nil) : .checkpointLoaded(shards[slot], nil))
    }

    /// With a file goes every checkpoint that continues it: nobody can restore from that, and it must not stand in the way of one
    /// that comes from a peer.
    private mutating func dropBrokenChains(_ slot: Int) {
        checkpoints[slot] = checkpoints[slot].filter { chain(slot, from: $0) != nil }
    }

    private mutating func readHeader(_ slot: Int, _ info: CheckpointInfo, _ ops: inout [DiskOperation]) {
        emit(
            .read(.checkpoint(info.shard, info.index), offset: 0, count: CheckpointHeader.bytes), .read,
            .checkpointRead(slot), &ops)
    }

    mutating func checkpointRead(
        _ slot: Int, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        guard var load = checkpointLoads[slot] else { return }
        let info = load.chain[load.file]
        if let header = load.header {
            let section = header.sections[load.section]
            guard case .bytes(let slab) = result, slab.count == Int(section.length), slab.checksum == section.checksum
            else {
                passOver(slot, info, &ops, &events)
                return
            }
            switch load.section {
            case 0: load.state = slab
            case 1: load.deltas.append(slab)
            default: load.others.append(slab)
            }
            load.section += 1
        } else {
            guard case .bytes(let slab) = result,
                let header = CheckpointHeader(slab.bytes, cluster: cluster, shard: info.shard, index: info.index),
                header.sections.count > 0
            else {
                passOver(slot, info, &ops, &events)
                return
            }
            load.header = header
            // Of the older files of a chain only the index delta is wanted.
            load.section = load.file == 0 ? 0 : 1
            if load.isOutline {
                for section in header.sections[min(load.section, header.sections.count)...].prefix(2 - load.section) {
                    load.places.append(
                        CheckpointSection(
                            shard: info.shard, index: info.index, offset: section.offset, length: section.length,
                            checksum: section.checksum))
                }
                load.section = CheckpointHeader.maximumSections
            }
        }
        advance(slot, load, &ops, &events)
    }

    private mutating func advance(
        _ slot: Int, _ load: CheckpointLoad, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        var load = load
        let wanted = load.file == 0 ? load.header!.sections.count : min(2, load.header!.sections.count)
        let info = load.chain[load.file]
        if load.section < wanted {
            let section = load.header!.sections[load.section]
            checkpointLoads[slot] = load
            emit(
                .read(.checkpoint(info.shard, info.index), offset: section.offset, count: Int(section.length)), .read,
                .checkpointRead(slot), &ops)
        } else if load.file + 1 < load.chain.count {
            emit(.close(.checkpoint(info.shard, info.index)), .read, .ignore, &ops)
            load.file += 1
            load.section = 0
            load.header = nil
            checkpointLoads[slot] = load
            readHeader(slot, load.chain[load.file], &ops)
        } else {
            checkpointLoads[slot] = nil
            if load.isOutline {
                openCheckpoints[slot] = true
                let sections = load.places[..<1] + load.places[1...].reversed()
                events.append(
                    .checkpointOpened(
                        info.shard,
                        OpenCheckpoint(info: load.chain[0], sections: sections.filter { $0.length > 0 })))
                return
            }
            emit(.close(.checkpoint(info.shard, info.index)), .read, .ignore, &ops)
            events.append(
                .checkpointLoaded(
                    info.shard,
                    LoadedCheckpoint(
                        info: load.chain[0], state: load.state ?? .empty, deltas: load.deltas.reversed(),
                        others: load.others)))
        }
    }

    /// A file of the chain cannot be read: it is forgotten.
    private mutating func passOver(
        _ slot: Int, _ info: CheckpointInfo, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        let isOutline = checkpointLoads[slot]?.isOutline ?? false
        events.append(.checkpointDamaged(info.shard, info.index))
        checkpoints[slot].removeAll { $0 == info }
        emit(.close(.checkpoint(info.shard, info.index)), .read, .ignore, &ops)
        tryNewest(slot, isOutline: isOutline, &ops, &events)
        if checkpointLoads[slot] != nil { Site.olderCheckpointUsed.reached() }
    }
}
