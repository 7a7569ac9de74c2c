import ClearingModel
import Wire

/// How far the change to the next segment has come. No group is written meanwhile, so a sealed segment is durable as a whole
/// before anything stands in the next one.
enum Roll: Hashable {
    case none
    /// Waits for the groups under way.
    case draining
    /// Waits for the table to be durable.
    case sealing
    /// Waits for the next segment's file.
    case awaitingSpare
    /// Waits for the file's new name to be durable.
    case renaming
}

/// The next segment's file, made ahead of need.
enum Spare: Hashable {
    case none
    case preparing
    case ready
    /// There was no space; tried again when there is.
    case failed
}

extension NodeLog {
    /// Goes as far with the change of segments as completions allow.
    mutating func advanceRoll(_ ops: inout [DiskOperation]) {
        switch roll {
        case .draining where inFlight.isEmpty:
            roll = .sealing
            let file = FileName.segment(active.number)
            if let (slab, offset) = sealedTable() {
                emit(.write(file, offset: UInt64(offset), [slab]), .write, .logWrite, &ops)
            }
            emit(.sync(file), .write, .sealed, &ops)
        case .awaitingSpare where spare == .ready:
            roll = .renaming
            spare = .none
            emit(.rename(from: .spareSegment, to: .segment(active.number + 1)), .write, .logWrite, &ops)
            emit(.syncDirectory, .write, .segmentNamed, &ops)
        case .awaitingSpare where spare == .none:
            prepareSpare(&ops)
        default: break
        }
    }

    /// The table region of the active segment, padded to a whole number of blocks at the front.
    ///
    /// Marks of lost records may have made it too long: then a block of zeros takes its place, and the segment is scanned
    /// when it is read; `nil` where groups fill the file to its end.
    private func sealedTable() -> (Slab, offset: Int)? {
        let count = active.table.count
        let offset = (active.size - TableFooter.size - count) / Layout.alignment * Layout.alignment
        guard offset >= active.end else {
            precondition(active.tableFlags != 0, "the table would overwrite a group")
            let last = active.size - Layout.alignment
            return last >= active.end ? (Slab([UInt8](repeating: 0, count: Layout.alignment)), last) : nil
        }
        var writer = WireWriter(reserving: active.size - offset)
        writer.zeros(active.size - TableFooter.size - count - offset)
        active.table.bytes.withUnsafeBytes { writer.raw($0) }
        let checksum = active.table.bytes.withUnsafeBytes { crc32c($0) }
        TableFooter(
            cluster: cluster, segment: active.number, recordCount: active.recordCount, lastGroup: lastGroup,
            end: active.end, flags: active.tableFlags, tableChecksum: checksum
        ).encode(into: &writer)
        return (Slab(writer.bytes), offset)
    }

    mutating func sealed(_ ops: inout [DiskOperation]) {
        segments[segments.count - 1].isSealed = true
        let table = TableFooter.size + active.table.count
        segments[segments.count - 1].isTableDamaged = active.size - table < active.end
        emit(.close(.segment(active.number)), .write, .ignore, &ops)
        roll = .awaitingSpare
        advanceRoll(&ops)
    }

    mutating func segmentNamed(_ ops: inout [DiskOperation]) {
        roll = .none
        openSegment(active.number + 1, end: SegmentHeader.bytes)
        if recovery?.step == .firstSegment {
            writeIdentity(&ops)
            return
        }
        active.opening = GroupHeader.segmentOpeningFlag
        if recovery != nil { active.opening |= GroupHeader.lifeOpeningFlag }
        prepareSpare(&ops)
        flush(&ops)
    }

    /// Makes a segment the active one.
    mutating func openSegment(_ number: UInt64, end: Int) {
        active = ActiveSegment()
        active.number = number
        active.size = options.segmentBytes
        active.end = end
        segments.append(
            SegmentInfo(
                number: number, size: active.size, highest: shards.map { _ in .zero }, isSealed: false))
        tables[number] = SegmentTable(shardCount: shards.count)
        dropOldTables()
    }

    /// Starts to make the next segment's file.
    mutating func prepareSpare(_ ops: inout [DiskOperation]) {
        guard spare == .none || spare == .failed else { return }
        spare = .preparing
        let header = SegmentHeader(cluster: cluster, me: me, number: active.number + 1, size: options.segmentBytes)
        emit(.open(.spareSegment, create: true), .background, .spareStep, &ops)
        emit(
            .preallocate(.spareSegment, bytes: UInt64(options.segmentBytes)), .background, .spareStep, &ops)
        emit(.write(.spareSegment, offset: 0, [header.encoded()]), .background, .spareStep, &ops)
        emit(.sync(.spareSegment), .background, .spareReady, &ops)
    }

    mutating func spareStep(
        _ result: DiskCompletion.Result, last: Bool, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        if case .failed(let error) = result {
            guard spare == .preparing else { return }
            spare = .failed
            emit(.remove(.spareSegment), .background, .ignore, &ops)
            if error.code == DiskError.noSpaceCode {
                if !isFull {
                    isFull = true
                    events.append(.diskFull(freeBytes: 0))
                }
            } else {
                fail(error, &events)
            }
        } else if last, spare == .preparing {
            emit(.close(.spareSegment), .background, .ignore, &ops)
            spare = .ready
            advanceRoll(&ops)
        }
    }

    // MARK: - Free space

    /// Asks for the free space; `.freeSpace` brings the answer. The log asks by itself while it is written to; call it every
    /// second or so, above all while the disk is full.
    public mutating func checkFreeSpace(_ ops: inout [DiskOperation]) {
        guard !freeSpaceAsked, !hasFailed else { return }
        freeSpaceAsked = true
        bytesSinceFreeSpace = 0
        emit(.freeSpace, .read, .freeSpace, &ops)
    }

    mutating func freeSpaceKnown(_ bytes: UInt64, _ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        freeSpaceAsked = false
        events.append(.freeSpace(bytes: bytes))
        let reserve = UInt64(options.diskReserveBytes)
        let segment = UInt64(options.segmentBytes)
        if spare == .failed, bytes > 2 * segment { prepareSpare(&ops) }
        if bytes < reserve, !isFull {
            isFull = true
            events.append(.diskFull(freeBytes: bytes))
        } else if isFull, bytes >= reserve + segment, spare != .failed {
            isFull = false
            events.append(.diskRecovered(freeBytes: bytes))
        }
    }

    mutating func fail(_ error: DiskError, _ events: inout [LogEvent]) {
        guard !hasFailed else { return }
        hasFailed = true
        events.append(.failed(error))
    }
}
