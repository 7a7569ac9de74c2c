import ClearingModel
import Raft
import Wire

/// The records of one segment by shard and index: what a look-up needs.
struct SegmentTable {
    /// Per shard of the log, ascending by index.
    private var refs: [[EntryRef]]

    init(shardCount: Int) { refs = Array(repeating: [], count: shardCount) }

    /// Takes a record in log order.
    mutating func add(_ record: RecordHeader, slot: Int) {
        switch record.kind {
        case .entry:
            cut(slot, from: record.index)
            refs[slot].append(ref(record, slot, after: refs[slot].count))
        case .repair:
            let at = position(slot, record.index)
            if at < refs[slot].count, refs[slot][at].index == record.index {
                refs[slot][at] = ref(record, slot, after: at)
            } else {
                refs[slot].insert(ref(record, slot, after: at), at: at)
            }
        case .truncation: cut(slot, from: record.index)
        case .hardState, .logStart, .lost: break
        }
    }

    /// An entry without records takes the ordinal of its place, so that ordinals ascend and can be searched.
    private func ref(_ record: RecordHeader, _ slot: Int, after at: Int) -> EntryRef {
        var ref = EntryRef(record)
        if ref.recordCount == 0, at > 0 {
            let before = refs[slot][at - 1]
            ref.firstOrdinal = before.firstOrdinal + UInt64(before.recordCount)
        }
        return ref
    }

    private mutating func cut(_ slot: Int, from index: LogIndex) {
        while let last = refs[slot].last, last.index >= index { refs[slot].removeLast() }
    }

    private func position(_ slot: Int, _ index: LogIndex) -> Int {
        var low = 0
        var high = refs[slot].count
        while low < high {
            let middle = (low + high) / 2
            if refs[slot][middle].index < index { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func find(slot: Int, index: LogIndex) -> EntryRef? {
        let at = position(slot, index)
        return at < refs[slot].count && refs[slot][at].index == index ? refs[slot][at] : nil
    }

    /// The entry of an extent that holds the record with this ordinal. O(log entries).
    func find(slot: Int, ordinal: Ordinal, in extent: Extent) -> EntryRef? {
        var low = position(slot, extent.first)
        let start = low
        var high = position(slot, extent.last.next)
        while low < high {
            let middle = (low + high) / 2
            if refs[slot][middle].firstOrdinal <= ordinal.rawValue { low = middle + 1 } else { high = middle }
        }
        // Entries without records share their ordinal with the next one that has some.
        while low > start {
            low -= 1
            let ref = refs[slot][low]
            if ref.recordCount > 0 {
                return ordinal.rawValue < ref.firstOrdinal + UInt64(ref.recordCount) ? ref : nil
            }
        }
        return nil
    }

    /// The newest entry with records up to `index`.
    func lastWithRecords(slot: Int, in extent: Extent) -> EntryRef? {
        var at = position(slot, extent.last.next)
        while at > 0, refs[slot][at - 1].index >= extent.first {
            at -= 1
            if refs[slot][at].recordCount > 0 { return refs[slot][at] }
        }
        return nil
    }
}

/// The last 64 bytes of a sealed segment; the record headers of the whole segment stand right before it.
struct TableFooter {
    static let size = 64
    /// Set where records are missing from the table because they could not be read when it was written.
    static let incompleteFlag: UInt32 = 1

    var cluster: ClusterID
    var segment: UInt64
    var recordCount: Int
    var lastGroup: UInt64
    /// Where the groups end.
    var end: Int
    var flags: UInt32
    var tableChecksum: UInt32

    func encode(into writer: inout WireWriter) {
        let start = writer.count
        writer.u64(Layout.tableMagic)
        writer.u32(NodeLog.formatVersion)
        writer.u32(UInt32(recordCount))
        writer.cluster(cluster)
        writer.u64(segment)
        writer.u64(lastGroup)
        writer.u32(UInt32(end))
        writer.u32(flags)
        writer.u32(tableChecksum)
        writer.u32(Layout.checksum(of: writer, from: start))
    }

    init(
        cluster: ClusterID, segment: UInt64, recordCount: Int, lastGroup: UInt64, end: Int, flags: UInt32,
        tableChecksum: UInt32
    ) {
        self.cluster = cluster
        self.segment = segment
        self.recordCount = recordCount
        self.lastGroup = lastGroup
        self.end = end
        self.flags = flags
        self.tableChecksum = tableChecksum
    }

    /// Reads the footer of a segment; `nil` where it is damaged or another's.
    init?(_ bytes: UnsafeRawBufferPointer, cluster: ClusterID, segment: UInt64, size: Int) {
        guard bytes.count == Self.size, Layout.load(bytes, 0, UInt64.self) == Layout.tableMagic,
            Layout.load(bytes, 60, UInt32.self) == crc32c(Layout.slice(bytes, 0, 60)),
            ClusterID(bytes, 16) == cluster, Layout.load(bytes, 32, UInt64.self) == segment
        else { return nil }
        self.cluster = cluster
        self.segment = segment
        recordCount = Int(Layout.load(bytes, 12, UInt32.self))
        lastGroup = Layout.load(bytes, 40, UInt64.self)
        end = Int(Layout.load(bytes, 48, UInt32.self))
        flags = Layout.load(bytes, 52, UInt32.self)
        tableChecksum = Layout.load(bytes, 56, UInt32.self)
        guard end + recordCount * RecordHeader.size + Self.size <= size else { return nil }
    }

    /// Where the table's record headers start.
    func tableOffset(size: Int) -> Int { size - Self.size - recordCount * RecordHeader.size }
}

/// What is known of a segment without its table.
struct SegmentInfo {
    var number: UInt64
    var size: Int
    /// Highest entry of each shard in it, by slot; zero for none. Void entries count too.
    var highest: [LogIndex]
    var isSealed: Bool
    /// Its table could not be read at the start: the one rebuilt from the groups stays in memory.
    var isTableDamaged = false
}
