/// Where a replay's entries can be read again.
protocol EntrySource: AnyObject {
    /// Copies `target.count` bytes of an entry's payload from `offset` on; `false` where they cannot be read.
    func read(_ index: UInt64, _ offset: Int, into target: UnsafeMutableRawBufferPointer) -> Bool
}

/// Entries that stand in the files of a shard's replicas.
final class LogEntrySource: EntrySource {
    private let log: ShardLog
    private let files: FileCache

    init(log: ShardLog, files: FileCache) {
        self.log = log
        self.files = files
    }

    func read(_ index: UInt64, _ offset: Int, into target: UnsafeMutableRawBufferPointer) -> Bool {
        guard let found = log.find(index), offset + target.count <= found.ref.length else { return false }
        return files.read(found.reader, found.ref.segment, Int(found.ref.offset) + offset, into: target)
    }
}

/// What the replay of one shard decided, by place and by id: a byte for each record, eight for each entry and for each id.
final class OutcomeStore {
    private let entries: any EntrySource
    /// By id, the record that decided it, counted from the first one of the replay.
    let ids = IDTable()
    /// The first entry's index; ordinals of the entries from there on follow, one each.
    private var firstIndex: UInt64 = 0
    private let firstOrdinals = Column<UInt64>()
    /// Outcome codes from `baseOrdinal` on; 0 = the id was decided before.
    private let codes = Column<UInt8>()
    private(set) var baseOrdinal: UInt64 = 0

    init(entries: any EntrySource) { self.entries = entries }

    /// A data entry begins; `append` follows for each of its records. The number of the first: its ordinal, where the log's
    /// ordinals have no gap.
    func beginEntry(_ index: UInt64, firstOrdinal: UInt64, records: Int) -> UInt64 {
        if firstOrdinals.count == 0 { (firstIndex, baseOrdinal) = (index, firstOrdinal) }
        // Entries without records between: they have the ordinal of the next one.
        while firstIndex + UInt64(firstOrdinals.count) <= index { firstOrdinals.append(end) }
        codes.reserve(codes.count + records)
        return end
    }

    @inline(__always)
    func append(_ code: UInt8) { codes.append(code) }

    /// The ordinal after the last record.
    private var end: UInt64 { baseOrdinal + UInt64(codes.count) }

    /// Number of a record, from its place; `nil` where the replay met no such record.
    func ordinal(index: UInt64, slot: Int) -> UInt64? {
        guard index >= firstIndex, index < firstIndex + UInt64(firstOrdinals.count) else { return nil }
        let at = Int(index - firstIndex)
        let ordinal = firstOrdinals[at] + UInt64(slot)
        return ordinal < (at + 1 < firstOrdinals.count ? firstOrdinals[at + 1] : end) ? ordinal : nil
    }

    /// Outcome code of a record; 0 where its id was decided before.
    subscript(ordinal: UInt64) -> UInt8 {
        get { codes[Int(ordinal - baseOrdinal)] }
        set { codes[Int(ordinal - baseOrdinal)] = newValue }
    }

    /// Where a record stands.
    func place(of ordinal: UInt64) -> (index: UInt64, slot: Int)? {
        guard ordinal >= baseOrdinal, ordinal < end else { return nil }
        var (low, high) = (0, firstOrdinals.count)
        while low < high {
            let middle = (low + high) / 2
            if firstOrdinals[middle] <= ordinal { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        return (firstIndex + UInt64(low - 1), Int(ordinal - firstOrdinals[low - 1]))
    }

    /// The id of a record, from the log.
    func id(at ordinal: UInt64) -> IDWords? {
        guard let place = place(of: ordinal) else { return nil }
        return id(index: place.index, slot: place.slot)
    }

    func id(index: UInt64, slot: Int) -> IDWords? {
        var id = IDWords(parties: 0, dayAndSequence: 0)
        let offset = EntryHead.size + slot * EntryHead.recordSize
        return withUnsafeMutableBytes(of: &id) { entries.read(index, offset, into: $0) } ? id : nil
    }

    /// Ledger time and window of an entry, from its header.
    func head(index: UInt64) -> (ledgerTime: UInt64, window: UInt32)? {
        var time: UInt64 = 0
        var window: UInt32 = 0
        guard withUnsafeMutableBytes(of: &time, { entries.read(index, 8, into: $0) }),
            withUnsafeMutableBytes(of: &window, { entries.read(index, 36, into: $0) })
        else { return nil }
        return (time, window)
    }

    /// The ordinal under which an id was decided, and the free cell of `ids` where it was not.
    @inline(__always)
    func find(_ id: IDWords, hash: UInt64) -> (ordinal: UInt64?, cell: Int) {
        let found = ids.find(id, hash: hash) { self.id(at: $0 &+ baseOrdinal) == id }
        return (found.ordinal.map { $0 &+ baseOrdinal }, found.cell)
    }

    /// Notes in a free cell that `find` gave who decided the id.
    @inline(__always)
    func fill(_ cell: Int, hash: UInt64, ordinal: UInt64) {
        ids.fill(cell, hash: hash, ordinal: ordinal &- baseOrdinal)
    }

    /// Who decided an id, where it was decided at all.
    func find(_ id: IDWords) -> UInt64? {
        find(id, hash: id.hash).ordinal
    }
}
