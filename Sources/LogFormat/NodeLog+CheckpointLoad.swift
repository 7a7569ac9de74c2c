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
}

extension NodeLog {
    /// Reads the newest checkpoint whose whole chain can be read. → `.checkpointLoaded`, with `.checkpointDamaged` before it for
    /// each one that was passed over.
    public mutating func loadCheckpoint(
        shard: ShardID, ops: inout [DiskOperation], events: inout [LogEvent]
    ) {
        let slot = slot(shard)
        precondition(checkpointLoads[slot] == nil, "two loads of shard \(shard) at a time")
        tryNewest(slot, &ops, &events)
    }

    private mutating func tryNewest(_ slot: Int, _ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        for info in checkpoints[slot] {
            if let chain = chain(slot, from: info) {
                checkpointLoads[slot] = CheckpointLoad(chain: chain)
                readHeader(slot, chain[0], &ops)
                return
            }
        }
        checkpointLoads[slot] = nil
        events.append(.checkpointLoaded(shards[slot], nil))
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
            emit(.close(.checkpoint(info.shard, info.index)), .read, .ignore, &ops)
            checkpointLoads[slot] = nil
            events.append(
                .checkpointLoaded(
                    info.shard,
                    LoadedCheckpoint(
                        info: load.chain[0], state: load.state ?? .empty, deltas: load.deltas.reversed(),
                        others: load.others)))
        }
    }

    /// A file of the chain cannot be read: it is forgotten, and with it every checkpoint that continues it.
    private mutating func passOver(
        _ slot: Int, _ info: CheckpointInfo, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        events.append(.checkpointDamaged(info.shard, info.index))
        checkpoints[slot].removeAll { $0 == info }
        tryNewest(slot, &ops, &events)
    }
}
