import ClearingModel
import Wire

/// Reading one segment without its table: windows, then what damaged regions still hold, then replay.
extension NodeLog {
    mutating func scan(_ ops: inout [DiskOperation]) {
        let (number, size) = recovery!.segment
        recovery!.scan = SegmentScan(number: number, size: size, cluster: cluster, me: me)
        recovery!.windowStart = SegmentHeader.bytes
        readWindow(&ops)
    }

    private mutating func readWindow(_ ops: inout [DiskOperation]) {
        let (number, size) = recovery!.segment
        let start = recovery!.windowStart
        next(
            .scanning,
            .read(.segment(number), offset: UInt64(start), count: max(0, min(SegmentScan.window, size - start))), .read,
            &ops)
    }

    mutating func scanned(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        if let following = recovery!.scan!.feed(bytes.bytes, at: recovery!.windowStart) {
            recovery!.windowStart = following
            readWindow(&ops)
        } else {
            let resolution = resolve()
            recovery!.regions = resolution.regions
            nextRegion(&ops)
        }
    }

    /// Reads a window block by block, with zeros for the blocks that cannot be read.
    mutating func patch(_ block: Slab?, _ ops: inout [DiskOperation]) {
        let (number, size) = recovery!.segment
        let start = recovery!.windowStart
        if recovery!.patchwork == nil {
            recovery!.patchwork = []
        } else {
            var bytes = block.map { Array($0.bytes) } ?? []
            bytes += repeatElement(0, count: Layout.alignment - bytes.count)
            recovery!.patchwork! += bytes
        }
        let done = recovery!.patchwork!.count
        if done >= min(SegmentScan.window, size - start) {
            let window = Slab(recovery!.patchwork!)
            recovery!.patchwork = nil
            scanned(window, &ops)
        } else {
            next(
                .scanning, .read(.segment(number), offset: UInt64(start + done), count: Layout.alignment), .read, &ops)
        }
    }

    private func resolve() -> Resolution {
        recovery!.scan!.resolve(
            lastGroup: recovery!.lastGroup, isSealed: !recovery!.isNewest, limit: recovery!.limit)
    }

    private mutating func nextRegion(_ ops: inout [DiskOperation]) {
        if let region = recovery!.regions.first {
            next(
                .salvaging,
                .read(.segment(recovery!.segment.number), offset: UInt64(region.offset), count: region.count), .read,
                &ops)
        } else {
            finishSegment(&ops)
        }
    }

    mutating func salvaged(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let region = recovery!.regions.removeFirst()
        recovery!.scan!.salvage(bytes.bytes, at: region.offset)
        nextRegion(&ops)
    }

    private mutating func finishSegment(_ ops: inout [DiskOperation]) {
        let resolution = resolve()
        let number = recovery!.segment.number
        recovery!.highestLife = max(recovery!.highestLife, recovery!.scan!.highestLife)
        recovery!.scan = nil
        if recovery!.isNewest {
            active = ActiveSegment()
            active.number = number
            active.size = recovery!.segment.size
            active.end = resolution.end
            active.tableFlags = resolution.isDamaged ? TableFooter.incompleteFlag : 0
        }
        for item in resolution.items {
            if recovery!.isNewest {
                switch item {
                case .record(let header, _): header.encode(into: &active.table)
                case .unreadable(var header):
                    header.detail |= RecordHeader.unreadableBit
                    header.encode(into: &active.table)
                case .damage(let offset, let damaged, let hardDamaged):
                    for shard in shards where damaged.contains(shard) {
                        var header = RecordHeader(kind: .lost, shard: shard, term: .zero, index: .zero)
                        header.detail = hardDamaged.contains(shard) ? 1 : 0
                        header.payloadOffset = UInt32(offset)
                        header.encode(into: &active.table)
                    }
                }
            }
            replay(item, segment: number)
        }
        recovery!.lastGroup = resolution.lastGroup
        recovery!.cursor += 1
        nextSegment(&ops)
    }
}
