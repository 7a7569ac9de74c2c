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

/// How far the spare segment's reserved space holds written zeros.
///
/// They are written at the pace at which the active segment fills, a piece at a time: when it is full the next one is
/// ready, and no sync ever stands behind a long queue of zeros. They save time only: a segment that came into use before
/// the last piece is as good.
struct SpareFilling {
    static let pieceBytes = 512 << 10
    /// How far the zeros are ahead of what is written to the active segment.
    static let lead = 4 * pieceBytes

    var through = 0
    var isUnderWay = false

    func isWhole(_ options: NodeLog.Options) -> Bool { through == options.segmentBytes }
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
        // Zeros still under way would land on the segment's first groups.
        case .awaitingSpare
        where spare == .ready && !filling.isUnderWay && (active.size > 0 || filling.isWhole(options)):
            roll = .renaming
            spare = .none
            filling = SpareFilling()
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
            spareLost(error, &ops, &events)
        } else if last, spare == .preparing {
            emit(.close(.spareSegment), .background, .ignore, &ops)
            spare = .ready
            filling.through = SegmentHeader.bytes
            advanceRoll(&ops)
        }
    }

    /// Has the next piece of the spare segment filled, if it is behind and its lane has nothing else to do: a piece that stood
    /// behind a checkpoint's sync would hold up a change of segments, and with it the whole log, for as long as that takes. The
    /// very first segment is filled before its use: nothing is written meanwhile that could set the pace.
    mutating func fillSpare(_ ops: inout [DiskOperation]) {
        let isFirst = active.size == 0
        let goal = isFirst ? options.segmentBytes : min(active.end + SpareFilling.lead, options.segmentBytes)
        // A change of segments waits for no more than the piece under way.
        guard spare == .ready, !filling.isUnderWay, backgroundOperations == 0, filling.through < goal,
            roll == .none || isFirst
        else { return }
        let count = min(SpareFilling.pieceBytes, options.segmentBytes - filling.through)
        filling.isUnderWay = true
        let piece = DiskOperation.Kind.fill(.spareSegment, offset: UInt64(filling.through), count: count)
        emit(piece, .background, .spareFilled(through: filling.through + count), &ops)
    }

    mutating func spareFilled(
        _ result: DiskCompletion.Result, through: Int, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        filling.isUnderWay = false
        if case .failed(let error) = result { return spareLost(error, &ops, &events) }
        filling.through = through
        advanceRoll(&ops)
    }

    /// The spare segment could not be made: for want of space it is tried again, anything else ends the process.
    private mutating func spareLost(_ error: DiskError, _ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        spare = .failed
        emit(.remove(.spareSegment), .background, .ignore, &ops)
        guard error.code == DiskError.noSpaceCode else { return fail(error, &events) }
        guard !isFull else { return }
        isFull = true
        events.append(.diskFull(freeBytes: 0))
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
