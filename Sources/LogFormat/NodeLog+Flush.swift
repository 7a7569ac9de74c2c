import ClearingModel
import Raft
import Wire

/// The segment that groups are appended to.
struct ActiveSegment {
    var number: UInt64 = 0
    var size = 0
    /// Offset of the next group.
    var end = 0
    /// Flags of the opening that the next group has to bring; zero for none.
    var opening: UInt16 = 0
    /// Headers of all records so far: the table that it is sealed with.
    var table = WireWriter()
    var tableFlags: UInt32 = 0

    var recordCount: Int { table.count / RecordHeader.size }
}

/// A group whose write and sync are under way.
struct InFlightGroup {
    var through: LogSequence
    var end: LogAddress
    var bytes: Int
    var isLifeOpening: Bool
    /// Shards whose last hole its repairs fill.
    var filled: [ShardID] = []
}

extension NodeLog {
    /// Groups that may be under way at a time: while one is synced the next one is on its way to the disk.
    static let maximumInFlight = 2

    /// Closes what is staged as a group and emits its write and sync, as long as fewer than two groups are under way.
    /// Call it at the end of every turn of the loop: what a turn stages, and what waits for the disk, shares one sync.
    public mutating func flush(_ ops: inout [DiskOperation]) {
        guard isRunning || active.opening != 0, !hasFailed else { return }
        while inFlight.count < Self.maximumInFlight, roll == .none, !staged.isEmpty || active.opening != 0 {
            let opening = active.opening != 0 ? openingRecords() : []
            let count = fitting(opening)
            if let count, count > 0 || active.opening != 0 {
                closeGroup(opening + staged[..<count], taking: count, flags: active.opening, &ops)
            } else {
                precondition(active.end > SegmentHeader.bytes, "a record does not fit in an empty segment")
                roll = .draining
                advanceRoll(&ops)
            }
        }
    }

    /// Writes one closing mark if everything is durable and none was written since the last record: after it, damage to the
    /// last group is told from a torn write.
    public mutating func closeIdle(_ ops: inout [DiskOperation]) {
        guard isRunning, !hasFailed, staged.isEmpty, inFlight.isEmpty, roll == .none, active.opening == 0,
            !lastGroupWasClosing, fits(bytes: Layout.alignment, records: 0)
        else { return }
        closeGroup([], taking: 0, flags: GroupHeader.closingFlag, &ops)
    }

    private func fits(bytes: Int, records: Int) -> Bool {
        let table = TableFooter.size + (active.recordCount + records) * RecordHeader.size
        return active.end + Layout.aligned(bytes) + Layout.aligned(table) <= active.size
    }

    /// How many staged records go into the next group; `nil` where not even the opening fits.
    private func fitting(_ opening: [StagedRecord]) -> Int? {
        var bytes = GroupHeader.size + opening.reduce(0) { $0 + $1.bytes }
        var payloads = opening.count
        guard fits(bytes: bytes, records: opening.count) else { return nil }
        var count = 0
        for record in staged {
            bytes += record.bytes
            payloads += record.payload == nil ? 0 : 1
            let records = opening.count + count + 1
            guard count == 0 || bytes <= options.groupBytes, payloads <= Layout.maximumGroupPayloads,
                records <= Layout.maximumGroupRecords, fits(bytes: bytes, records: records)
            else { break }
            count += 1
        }
        return count
    }

    private mutating func closeGroup(
        _ records: [StagedRecord], taking count: Int, flags: UInt16, _ ops: inout [DiskOperation]
    ) {
        let payloadBytes = records.reduce(0) { $0 + ($1.payload?.count ?? 0) }
        let headerBytes = GroupHeader.size + records.count * RecordHeader.size
        let length = Layout.aligned(headerBytes + payloadBytes)
        if flags & GroupHeader.lifeOpeningFlag != 0 {
            lifeStart = lastAddress
            lastGroup = life << 40
        }
        lastGroup += 1
        var group = GroupHeader(
            flags: flags, address: lastAddress, number: lastGroup, synced: synced, lifeStart: lifeStart, length: length,
            recordCount: records.count, shards: ShardSet(), hardShards: ShardSet())
        for record in records {
            group.shards.insert(record.header.shard)
            if record.header.kind == .hardState { group.hardShards.insert(record.header.shard) }
        }
        var head = WireWriter(reserving: length - payloadBytes)
        group.encode(into: &head, cluster: cluster, me: me)
        var slabs: [Slab] = []
        slabs.reserveCapacity(records.count + 1)
        var offset = active.end + length - payloadBytes
        for record in records {
            var header = record.header
            header.group = lastGroup
            if let payload = record.payload {
                header.payloadLength = UInt32(payload.count)
                header.payloadOffset = UInt32(offset)
                header.payloadChecksum = payload.checksum
                offset += payload.count
                if payload.count > 0 { slabs.append(payload) }
            }
            header.encode(into: &head)
            take(header, of: record)
        }
        head.bytes.withUnsafeBytes {
            active.table.raw(Layout.slice($0, GroupHeader.size, records.count * RecordHeader.size))
        }
        head.zeros(length - payloadBytes - head.count)
        slabs.insert(Slab(head.bytes), at: 0)

        let through = LogSequence(stagedThrough.rawValue - UInt64(staged.count - count))
        let bytes = staged[..<count].reduce(0) { $0 + $1.bytes }
        staged.removeFirst(count)
        stagedBytes -= bytes
        inFlightBytes += bytes
        let filled = self.filled
        self.filled = []
        let file = FileName.segment(active.number)
        emit(.write(file, offset: UInt64(active.end), slabs), .write, .logWrite, &ops)
        emit(.sync(file), .write, .groupSynced, &ops)
        active.end += length
        active.opening = 0
        lastGroupWasClosing = group.isClosing
        inFlight.append(
            InFlightGroup(
                through: through, end: lastAddress, bytes: bytes,
                isLifeOpening: flags & GroupHeader.lifeOpeningFlag != 0, filled: filled))
        fillSpare(&ops)
        bytesSinceFreeSpace += length
        if bytesSinceFreeSpace >= options.freeSpaceIntervalBytes { checkFreeSpace(&ops) }
    }

    /// Takes a record that has got its place into everything that reads and openings are answered from.
    private mutating func take(_ header: RecordHeader, of record: StagedRecord) {
        guard let slot = slots[header.shard] else { return }
        let segment = active.number
        tables[segment]?.add(header, slot: slot)
        switch header.kind {
        case .entry:
            indexes[slot].append(EntryRef(header), segment: segment)
            written[slot].last = header.index
            written[slot].lastTerm = header.term
            noteHighest(slot, header.index)
        case .repair:
            indexes[slot].place(EntryRef(header), segment: segment)
            noteHighest(slot, header.index)
        case .truncation:
            indexes[slot].cut(from: header.index)
            written[slot].last = min(written[slot].last, header.index.previous)
            written[slot].lastTerm = Term(header.previousTerm)
        case .hardState:
            written[slot].hard = HardState(header)
            written[slot].doubt = Doubt(rawValue: header.detail)
            written[slot].doubtTerm = Term(header.previousTerm)
        case .lost: preconditionFailure("a mark of lost records outside of a table")
        case .logStart:
            guard let start = record.start else { preconditionFailure("a log start without its membership") }
            // What was committed stays readable; the rest may not be what the snapshot holds.
            if !record.keepsSuffix { indexes[slot].cut(from: written[slot].hard.commit.next) }
            written[slot].start = start
            written[slot].last = LogIndex(header.extra)
            written[slot].lastTerm = Term(header.previousTerm)
        }
        // Repairs fill holes; truncations, and starts above them, void them.
        if hasHoles[slot], header.kind != .hardState, holes(of: header.shard).isEmpty {
            hasHoles[slot] = false
            filled.append(header.shard)
        }
    }

    private mutating func noteHighest(_ slot: Int, _ index: LogIndex) {
        let last = segments.count - 1
        segments[last].highest[slot] = max(segments[last].highest[slot], index)
    }

    /// A group is durable.
    mutating func groupSynced(_ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        let group = inFlight.removeFirst()
        synced = group.end
        inFlightBytes -= group.bytes
        if group.through > durableThrough {
            durableThrough = group.through
            events.append(.durable(through: durableThrough))
        }
        // A read may have found another hole while the last one's repair was on its way; the repair of that one tells.
        for shard in group.filled where holes(of: shard).isEmpty { events.append(.holesFilled(shard)) }
        if group.isLifeOpening { lifeOpened(&ops, &events) }
        advanceRoll(&ops)
        advanceExpiry(&ops)
    }
}
