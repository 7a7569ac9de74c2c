import ClearingModel
import Wire

/// Tables of older segments come from the disk when a read needs them; a few are kept.
extension NodeLog {
    /// Asks for a table, and remembers a read that needs it.
    mutating func loadTable(_ segment: UInt64, for read: PendingRead, _ ops: inout [DiskOperation]) {
        if tableWaits[segment] != nil {
            tableWaits[segment]?.append(read)
            return
        }
        guard let info = segments.first(where: { $0.number == segment }), info.isSealed else {
            preconditionFailure("an extent in a segment without a table")
        }
        tableWaits[segment] = [read]
        emit(
            .read(.segment(segment), offset: UInt64(info.size - TableFooter.size), count: TableFooter.size), .read,
            .tableFooter(segment: segment), &ops)
    }

    mutating func tableFooter(
        _ segment: UInt64, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        guard let info = segments.first(where: { $0.number == segment }), case .bytes(let slab) = result,
            let footer = TableFooter(slab.bytes, cluster: cluster, segment: segment, size: info.size)
        else {
            tableLost(segment, result, &events)
            return
        }
        let offset = footer.tableOffset(size: info.size)
        emit(
            .read(.segment(segment), offset: UInt64(offset), count: footer.recordCount * RecordHeader.size), .read,
            .tableBody(segment: segment, checksum: footer.tableChecksum), &ops)
    }

    mutating func tableBody(
        _ segment: UInt64, _ checksum: UInt32, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation],
        _ events: inout [LogEvent]
    ) {
        guard case .bytes(let slab) = result, slab.checksum == checksum,
            let records = Self.records(ofTable: slab.bytes)
        else {
            tableLost(segment, result, &events)
            return
        }
        var table = SegmentTable(shardCount: shards.count)
        for record in records {
            if !record.isUnreadable, let slot = slots[record.shard] { table.add(record, slot: slot) }
        }
        tables[segment] = table
        loadedOrder.append(segment)
        dropOldTables()
        let waits = tableWaits.removeValue(forKey: segment) ?? []
        for read in waits { retry(read, &ops, &events) }
    }

    /// The record headers of a table; `nil` where one of them is damaged.
    static func records(ofTable bytes: UnsafeRawBufferPointer) -> [RecordHeader]? {
        guard bytes.count % RecordHeader.size == 0 else { return nil }
        var records: [RecordHeader] = []
        records.reserveCapacity(bytes.count / RecordHeader.size)
        for offset in stride(from: 0, to: bytes.count, by: RecordHeader.size) {
            guard let record = RecordHeader(Layout.slice(bytes, offset, RecordHeader.size)) else { return nil }
            records.append(record)
        }
        return records
    }

    private mutating func retry(_ read: PendingRead, _ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        switch read {
        case .entries(let shard, let from, let maxBytes, let token):
            self.read(shard: shard, from: from, maxBytes: maxBytes, token: token, ops: &ops, events: &events)
        case .record(let shard, let ordinal, let verify, let token):
            readRecord(shard: shard, ordinal: ordinal, verify: verify, token: token, ops: &ops, events: &events)
        }
    }

    /// A table that was whole at the start cannot be read now. The entries behind it are read from a peer; the next start
    /// scans the segment instead. A sector that the device cannot read is damage, as it is in a payload; where the disk
    /// refuses for another reason nothing is lost.
    private mutating func tableLost(
        _ segment: UInt64, _ result: DiskCompletion.Result, _ events: inout [LogEvent]
    ) {
        var failure = ReadFailure.damaged
        if case .failed(let error) = result, error.code != DiskError.unreadableCode { failure = .disk(error) }
        for read in tableWaits.removeValue(forKey: segment) ?? [] {
            events.append(.readFailed(token: read.token, failure))
        }
        if case .disk = failure { return }
        let size = segments.first { $0.number == segment }?.size ?? 0
        for slot in shards.indices {
            let lost = indexes[slot].extents.filter { $0.segment == segment }
            for extent in lost {
                let range = IndexRange(from: extent.first, through: extent.last)
                indexes[slot].remove(range)
                hasHoles[slot] = !holes(of: shards[slot]).isEmpty
                events.append(
                    .damaged(
                        shards[slot], from: range.from, through: range.through, file: .segment(segment),
                        offset: size - TableFooter.size))
            }
        }
    }

    /// A table was used: it stays longest.
    mutating func touchTable(_ segment: UInt64) {
        guard let at = loadedOrder.firstIndex(of: segment) else { return }
        loadedOrder.remove(at: at)
        loadedOrder.append(segment)
    }

    mutating func dropOldTables() {
        // Those of the newest segments are kept without being asked for.
        let recent = options.recentTables + 1
        if segments.count > recent {
            for info in segments.dropLast(recent) where !loadedOrder.contains(info.number) && info.isSealed {
                guard tables[info.number] != nil, !info.isTableDamaged else { continue }
                tables[info.number] = nil
            }
        }
        while loadedOrder.count > options.loadedTables {
            let segment = loadedOrder.removeFirst()
            let isRecent = segments.suffix(recent).contains { $0.number == segment }
            if !isRecent { tables[segment] = nil }
        }
    }
}
