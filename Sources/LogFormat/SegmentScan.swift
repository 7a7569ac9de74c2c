import ClearingModel
import Wire

/// A record as a scan found it.
struct ScannedRecord {
    var header: RecordHeader
    /// Whether its payload has the right checksum.
    var isWhole: Bool
    /// Kept for memberships only.
    var payload: Slab?

    var item: LogItem { isWhole ? .record(header, payload: payload) : .unreadable(header) }
}

/// A group whose header is valid.
struct ScannedGroup {
    var header: GroupHeader
    var records: [ScannedRecord]
    /// Record headers that cannot be read.
    var hidden: Int

    var isWhole: Bool { hidden == 0 && records.allSatisfy(\.isWhole) }

    /// A record that is whole stands behind one that is not.
    var hasWholeRecordBehindTorn: Bool {
        guard let torn = records.firstIndex(where: { !$0.isWhole }) else { return false }
        return records[torn...].contains { $0.isWhole && $0.header.payloadLength > 0 }
    }
}

/// What was found in a region without a valid group header.
struct Salvage {
    var records: [ScannedRecord]
    /// Where the last payload ends, if the record headers fill their place without a gap.
    var end: Int?
}

/// What a segment holds, in log order.
enum LogItem {
    case record(RecordHeader, payload: Slab?)
    /// The header can be read, the payload cannot.
    case unreadable(RecordHeader)
    /// Records were here that cannot be read: of these shards, and with hard states of those.
    case damage(offset: Int, shards: ShardSet, hardShards: ShardSet)
}

/// Finds the groups of one segment without its table.
///
/// Every 4 KiB boundary of the whole file is looked at, because what stands behind a damaged or torn group decides which of
/// the two it is. `resolve` then walks from group to group:
/// ```
///   group n     damaged            group n+2, header says "synced" ≥ its own predecessor's end
///   ├───────────┤XXXXXXXXXXXXXXXXX├───────────┤            → the middle was durable once: corruption, go on behind it
///
///   group n     damaged            group n+1, header says "synced" = end of group n−1
///   ├───────────┤XXXXXXXXXXXXXXXXX├───────────┤            → never durable: the log ends after group n
/// ```
struct SegmentScan {
    let number: UInt64
    let size: Int
    let cluster: ClusterID
    let me: ReplicaID
    /// In file order.
    private(set) var groups: [ScannedGroup] = []
    /// Records found in regions without a valid group header, by the region's offset.
    var salvaged: [Int: Salvage] = [:]

    init(number: UInt64, size: Int, cluster: ClusterID, me: ReplicaID) {
        self.number = number
        self.size = size
        self.cluster = cluster
        self.me = me
    }

    static let window = Layout.maximumGroupBytes

    /// Looks through the bytes at `start`, up to a window long; where the next window starts, `nil` at the end.
    mutating func feed(_ bytes: UnsafeRawBufferPointer, at start: Int) -> Int? {
        let wanted = min(Self.window, size - start)
        let isLast = start + wanted >= size || bytes.count < wanted
        var offset = start
        while offset + GroupHeader.size <= start + bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[(offset - start)...])
            if let header = GroupHeader(
                rest, at: LogAddress(segment: number, offset: offset), segmentBytes: size, cluster: cluster, me: me)
            {
                if header.length > rest.count, !isLast { return offset }
                groups.append(Self.group(header, rest))
            }
            offset += Layout.alignment
        }
        return isLast ? nil : start + wanted
    }

    private static func group(_ header: GroupHeader, _ bytes: UnsafeRawBufferPointer) -> ScannedGroup {
        var group = ScannedGroup(header: header, records: [], hidden: 0)
        let headersEnd = GroupHeader.size + header.recordCount * RecordHeader.size
        for i in 0..<header.recordCount {
            let at = GroupHeader.size + i * RecordHeader.size
            guard at + RecordHeader.size <= bytes.count,
                let record = RecordHeader(Layout.slice(bytes, at, RecordHeader.size)), record.group == header.number,
                record.payloadLength == 0
                    || Int(record.payloadOffset) >= header.address.offset + headersEnd
                        && Int(record.payloadOffset) + Int(record.payloadLength) <= header.end
            else {
                group.hidden += 1
                continue
            }
            group.records.append(scanned(record, bytes, base: header.address.offset))
        }
        return group
    }

    /// Compares a payload's checksum; `base` is the offset of `bytes` in the segment.
    private static func scanned(_ record: RecordHeader, _ bytes: UnsafeRawBufferPointer, base: Int) -> ScannedRecord {
        let length = Int(record.payloadLength)
        let at = Int(record.payloadOffset) - base
        guard length > 0 else {
            return ScannedRecord(header: record, isWhole: true, payload: record.wantsPayload ? .empty : nil)
        }
        guard at >= 0, at + length <= bytes.count else {
            return ScannedRecord(header: record, isWhole: false, payload: nil)
        }
        let payload = Layout.slice(bytes, at, length)
        let isWhole = crc32c(payload) == record.payloadChecksum
        return ScannedRecord(
            header: record, isWhole: isWhole, payload: isWhole && record.wantsPayload ? Slab(copying: payload) : nil)
    }

    /// Takes the bytes of a region that lost its group header: record headers stand where they always do.
    mutating func salvage(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        var records: [ScannedRecord] = []
        var at = GroupHeader.size
        var headersEnd = at
        var payloadsStart = bytes.count
        var payloadsEnd = offset
        while at + RecordHeader.size <= payloadsStart,
            at < GroupHeader.size + Layout.maximumGroupRecords * RecordHeader.size
        {
            let slot = Layout.slice(bytes, at, RecordHeader.size)
            at += RecordHeader.size
            guard let record = RecordHeader(slot), records.isEmpty || record.group == records[0].header.group else {
                continue
            }
            if record.payloadLength > 0 {
                let start = Int(record.payloadOffset) - offset
                guard start >= at, start + Int(record.payloadLength) <= bytes.count else { continue }
                payloadsStart = min(payloadsStart, start)
                payloadsEnd = max(payloadsEnd, offset + start + Int(record.payloadLength))
            }
            headersEnd = at
            records.append(Self.scanned(record, bytes, base: offset))
        }
        let isGapless =
            !records.isEmpty && headersEnd == GroupHeader.size + records.count * RecordHeader.size
            && bytes[headersEnd..<max(headersEnd, payloadsStart)].allSatisfy { $0 == 0 }
        if !records.isEmpty { Site.recordsSalvaged.reached() }
        salvaged[offset] = Salvage(
            records: records,
            end: isGapless ? (payloadsEnd > offset ? payloadsEnd : offset + Layout.aligned(headersEnd)) : nil)
    }
}
