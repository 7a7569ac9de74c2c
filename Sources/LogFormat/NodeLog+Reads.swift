import ClearingModel
import Ledger
import Raft
import Wire

/// A read that waits for the table of its segment.
enum PendingRead {
    case entries(ShardID, from: LogIndex, maxBytes: Int, token: UInt64)
    case record(ShardID, Ordinal, verify: Bool, token: UInt64)

    var token: UInt64 {
        switch self {
        case .entries(_, _, _, let token), .record(_, _, _, let token): token
        }
    }
}

/// A read under way: its parts come back one by one.
struct ReadJob {
    enum Purpose {
        case entries
        /// `slot` of the record in its entry; `whole` where the entry's checksum is to be compared.
        case record(slot: Int, whole: Bool)
    }

    /// One read operation and the entries in it.
    struct Part {
        var offset: Int
        var count: Int
        var refs: [EntryRef]
        var bytes: Slab?
    }

    var purpose: Purpose
    var token: UInt64
    var shard: ShardID
    var segment: UInt64
    var parts: [Part]
    var remaining: Int
    var failure: DiskError?

    /// Why the disk refused, other than by damage.
    var refusal: DiskError? { failure?.code == DiskError.unreadableCode ? nil : failure }

    /// One unreadable sector fails the read of all neighbours: has them read one by one, so that each entry is judged by its
    /// own bytes.
    /// - Returns: whether there is anything to read again.
    mutating func splitsUnreadable() -> Bool {
        guard failure?.code == DiskError.unreadableCode,
            parts.contains(where: { $0.bytes == nil && $0.refs.count > 1 })
        else { return false }
        let whole = parts
        parts = whole.flatMap { part in
            part.bytes != nil || part.refs.count == 1
                ? [part]
                : part.refs.map { Part(offset: Int($0.offset), count: Int($0.length), refs: [$0], bytes: nil) }
        }
        failure = nil
        remaining = parts.count(where: { $0.bytes == nil })
        return true
    }
}

extension NodeLog {
    /// Entries smaller than this are read together with their neighbours.
    private static let mergeBelow = 64 << 10
    private static let mergeGap = 16 << 10
    private static let mergeSpan = 1 << 20

    /// Reads entries from `from` on, whole ones, at least one and otherwise at most `maxBytes` of payload, possibly fewer:
    /// ask on from the last one. Their checksums are compared, and what is truncated meanwhile is left out. → `.entries` or `.readFailed`
    public mutating func read(
        shard: ShardID, from: LogIndex, maxBytes: Int, token: UInt64, ops: inout [DiskOperation],
        events: inout [LogEvent]
    ) {
        let slot = slot(shard)
        if let entries = stagedEntries(shard, from: from, maxBytes: maxBytes) {
            events.append(.entries(token: token, entries))
            return
        }
        guard let extent = indexes[slot].find(from) else {
            let isHole = from > written[slot].start.index && from <= written[slot].last
            events.append(.readFailed(token: token, isHole ? .damaged : .notFound))
            return
        }
        guard let table = tables[extent.segment] else {
            loadTable(
                extent.segment, for: .entries(shard, from: from, maxBytes: maxBytes, token: token), &ops)
            return
        }
        touchTable(extent.segment)
        var parts: [ReadJob.Part] = []
        var bytes = 0
        var index = from
        while index <= extent.last, let ref = table.find(slot: slot, index: index) {
            bytes += Int(ref.length)
            if !parts.isEmpty, bytes > maxBytes { break }
            Self.addPart(ref, &parts)
            index = index.next
        }
        guard !parts.isEmpty else {
            events.append(.readFailed(token: token, .damaged))
            return
        }
        start(
            ReadJob(
                purpose: .entries, token: token, shard: shard, segment: extent.segment, parts: parts,
                remaining: parts.count), &ops)
    }

    private static func addPart(_ ref: EntryRef, _ parts: inout [ReadJob.Part]) {
        if let last = parts.last, Int(ref.length) < mergeBelow, last.refs.allSatisfy({ Int($0.length) < mergeBelow }),
            Int(ref.offset) >= last.offset + last.count, Int(ref.offset) - (last.offset + last.count) <= mergeGap,
            ref.end - last.offset <= mergeSpan
        {
            parts[parts.count - 1].count = ref.end - last.offset
            parts[parts.count - 1].refs.append(ref)
        } else {
            parts.append(ReadJob.Part(offset: Int(ref.offset), count: Int(ref.length), refs: [ref]))
        }
    }

    /// Reads one record of a shard for the comparison of duplicates. → `.record` or `.readFailed`
    ///
    /// Without `verify` only the entry's header and the record are read, and their bytes are not checked: compare, and where
    /// the answer is not "the same", ask again with `verify`, which reads the whole entry and compares its checksum.
    public mutating func readRecord(
        shard: ShardID, ordinal: Ordinal, verify: Bool = false, token: UInt64, ops: inout [DiskOperation],
        events: inout [LogEvent]
    ) {
        let slot = slot(shard)
        if let entry = stagedEntry(shard, ordinal) {
            deliver(record: ordinal, of: entry, token: token, &events)
            return
        }
        for extent in indexes[slot].candidates(ordinal) {
            guard let table = tables[extent.segment] else {
                loadTable(extent.segment, for: .record(shard, ordinal, verify: verify, token: token), &ops)
                return
            }
            touchTable(extent.segment)
            guard let ref = table.find(slot: slot, ordinal: ordinal, in: extent) else { continue }
            let place = Int(ordinal.rawValue - ref.firstOrdinal)
            let recordEnd = EntryHeader.recordOffset(place) + Instruction.size
            guard recordEnd <= Int(ref.length) else { break }
            let ranges: [(Int, Int)] =
                if verify {
                    [(0, Int(ref.length))]
                } else if recordEnd <= Self.mergeGap {
                    [(0, recordEnd)]
                } else {
                    [(0, EntryHeader.size), (EntryHeader.recordOffset(place), Instruction.size)]
                }
            let parts = ranges.map { ReadJob.Part(offset: Int(ref.offset) + $0.0, count: $0.1, refs: [ref]) }
            start(
                ReadJob(
                    purpose: .record(slot: place, whole: verify), token: token, shard: shard, segment: extent.segment,
                    parts: parts, remaining: parts.count), &ops)
            return
        }
        events.append(.readFailed(token: token, holes(of: shard).isEmpty ? .notFound : .damaged))
    }

    private mutating func start(_ job: ReadJob, _ ops: inout [DiskOperation]) {
        let id = nextRead
        nextRead += 1
        // What may still be on its way to the disk is read behind it.
        let end = job.parts.map { $0.offset + $0.count }.max() ?? 0
        let lane: DiskOperation.Lane = LogAddress(segment: job.segment, offset: end) > synced ? .write : .read
        for (i, part) in job.parts.enumerated() where part.bytes == nil {
            emit(
                .read(.segment(job.segment), offset: UInt64(part.offset), count: part.count), lane,
                .readPart(job: id, part: i), &ops)
        }
        reads[id] = job
    }

    mutating func readPart(
        _ id: UInt64, _ part: Int, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation],
        _ events: inout [LogEvent]
    ) {
        guard var job = reads.removeValue(forKey: id) else { return }
        job.remaining -= 1
        switch result {
        case .bytes(let slab): job.parts[part].bytes = slab
        case .failed(let error): job.failure = error
        default: break
        }
        guard job.remaining == 0 else {
            reads[id] = job
            return
        }
        if job.splitsUnreadable() { return start(job, &ops) }
        switch job.purpose {
        case .entries: finishEntries(job, &events)
        case .record(let slot, let whole): finishRecord(job, slot, whole, &events)
        }
    }

    private mutating func finishEntries(_ job: ReadJob, _ events: inout [LogEvent]) {
        var entries: [RaftEntry] = []
        let slot = slot(job.shard)
        for part in job.parts {
            for ref in part.refs {
                // Truncated, perhaps replaced, while the read was under way.
                if ref.index > tails[slot].start.index, tails[slot].term(at: ref.index) != ref.term {
                    events.append(
                        entries.isEmpty
                            ? .readFailed(token: job.token, .notFound) : .entries(token: job.token, entries))
                    return
                }
                guard let payload = Self.payload(ref, part), payload.checksum == ref.checksum else {
                    if job.refusal == nil { found(damaged: ref, job, &events) }
                    if entries.isEmpty {
                        events.append(.readFailed(token: job.token, job.refusal.map { .disk($0) } ?? .damaged))
                    } else {
                        events.append(.entries(token: job.token, entries))
                    }
                    return
                }
                entries.append(RaftEntry(index: ref.index, term: ref.term, kind: ref.kind, payload: payload))
            }
        }
        events.append(.entries(token: job.token, entries))
    }

    private static func payload(_ ref: EntryRef, _ part: ReadJob.Part) -> Slab? {
        guard let bytes = part.bytes else { return nil }
        let offset = Int(ref.offset) - part.offset
        let length = Int(ref.length)
        if offset == 0, length == bytes.count { return bytes }
        guard offset >= 0, offset + length <= bytes.count else { return nil }
        return Slab(copying: Layout.slice(bytes.bytes, offset, length))
    }

    private mutating func finishRecord(_ job: ReadJob, _ place: Int, _ whole: Bool, _ events: inout [LogEvent]) {
        let ref = job.parts[0].refs[0]
        if let refusal = job.refusal {
            events.append(.readFailed(token: job.token, .disk(refusal)))
            return
        }
        let recordOffset = EntryHeader.recordOffset(place)
        guard let first = job.parts[0].bytes, let last = job.parts[job.parts.count - 1].bytes,
            !whole || first.checksum == ref.checksum && first.count == Int(ref.length),
            let header = EntryHeader.peek(first.bytes),
            let record = Self.instruction(last, job.parts.count > 1 ? 0 : recordOffset)
        else {
            found(damaged: ref, job, &events)
            events.append(.readFailed(token: job.token, .damaged))
            return
        }
        events.append(
            .record(
                token: job.token,
                StoredRecord(
                    index: ref.index, term: ref.term, slot: place, ledgerTime: header.ledgerTime, window: header.window,
                    instruction: record, verified: whole)))
    }

    private static func instruction(_ slab: Slab, _ offset: Int) -> Instruction? {
        guard slab.count >= offset + Instruction.size else { return nil }
        return slab.bytes.loadUnaligned(fromByteOffset: offset, as: Instruction.self)
    }

    /// An entry cannot be read back: it is a hole from now on.
    private mutating func found(damaged ref: EntryRef, _ job: ReadJob, _ events: inout [LogEvent]) {
        let slot = slot(job.shard)
        if let extent = indexes[slot].find(ref.index), extent.segment == job.segment {
            indexes[slot].remove(IndexRange(from: ref.index, through: ref.index))
            hasHoles[slot] = !holes(of: job.shard).isEmpty
        }
        events.append(
            .damaged(
                job.shard, from: ref.index, through: ref.index, file: .segment(job.segment), offset: Int(ref.offset)))
    }

    // MARK: - Not written yet

    private func stagedEntries(_ shard: ShardID, from: LogIndex, maxBytes: Int) -> [RaftEntry]? {
        var found: [RaftEntry] = []
        var bytes = 0
        for record in staged where record.header.shard == shard {
            switch record.header.kind {
            case .truncation: found.removeAll { $0.index >= record.header.index }
            case .logStart where !record.keepsSuffix: found = []
            case .entry:
                guard let entry = record.entry, entry.index == (found.last?.index.next ?? from) else { continue }
                bytes += entry.payload.count
                if found.isEmpty || bytes <= maxBytes { found.append(entry) }
            default: break
            }
        }
        return found.isEmpty ? nil : found
    }

    private func stagedEntry(_ shard: ShardID, _ ordinal: Ordinal) -> RaftEntry? {
        for record in staged.reversed() where record.header.shard == shard && record.header.isEntry {
            let first = record.header.extra
            if first <= ordinal.rawValue, ordinal.rawValue < first + UInt64(record.header.recordCount) {
                return record.entry
            }
        }
        return nil
    }

    private func deliver(record ordinal: Ordinal, of entry: RaftEntry, token: UInt64, _ events: inout [LogEvent]) {
        guard let header = EntryHeader.peek(entry.payload.bytes) else {
            events.append(.readFailed(token: token, .notFound))
            return
        }
        let place = Int(ordinal.rawValue - header.firstOrdinal.rawValue)
        guard let record = Self.instruction(entry.payload, EntryHeader.recordOffset(place)) else {
            events.append(.readFailed(token: token, .notFound))
            return
        }
        events.append(
            .record(
                token: token,
                StoredRecord(
                    index: entry.index, term: entry.term, slot: place, ledgerTime: header.ledgerTime,
                    window: header.window, instruction: record, verified: true)))
    }
}
