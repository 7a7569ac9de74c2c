import ClearingModel

/// A sliding window over a file, so that small groups cost no read of their own.
final class FileWindow {
    private let file: DataFile
    private let buffer: ScratchBuffer
    /// Of a file in memory: then no window is needed.
    private let contents: UnsafeRawBufferPointer?
    private var start = 0
    private var filled = 0
    private(set) var bytesRead = 0

    init(_ file: DataFile, _ buffer: ScratchBuffer) {
        self.file = file
        self.buffer = buffer
        contents = file.contents
    }

    /// `count` bytes at `offset`, valid until the next call; `nil` where the file has fewer.
    func bytes(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer? {
        if let contents { return offset + count <= contents.count ? contents.slice(offset, count) : nil }
        if offset < start || offset + count > start + filled {
            let target = buffer.prefix(max(count, file.windowBytes))
            start = offset
            filled = file.read(offset, into: target)
            bytesRead += filled
            guard filled >= count else { return nil }
        }
        return UnsafeRawBufferPointer(rebasing: buffer.raw[offset - start..<offset - start + count])
    }
}

/// One segment's groups, read in order and without its table: LOG.md, "Scanning a segment without its table".
///
/// It stands at `position` and goes on from there when the file has grown.
struct SegmentWalk {
    let file: DataFile
    let number: UInt64
    let cluster: ClusterID
    let replica: ReplicaID

    private(set) var position = SegmentHeader.size
    private(set) var lastGroup: UInt64
    /// Over all record headers so far, in order: what a sealed segment's table must give.
    private(set) var tableCRC: UInt32 = 0
    private(set) var recordCount = 0
    private(set) var isDamaged = false

    init(file: DataFile, number: UInt64, cluster: ClusterID, replica: ReplicaID, after group: UInt64) {
        self.file = file
        self.number = number
        self.cluster = cluster
        self.replica = replica
        lastGroup = group
    }

    /// What a walk needs to know of the log as a whole.
    struct Bounds {
        /// Groups end here at the latest.
        var limit: Int
        /// Everything below was durable once.
        var synced: LogPlace
        /// By life: where it starts. What an older life left at or above that is void.
        var lives: [UInt64: LogPlace]

        func isVoid(_ header: GroupHeader) -> Bool {
            lives.contains { $0.key > header.life && $0.value <= header.place }
        }
    }

    private func place(_ offset: Int) -> LogPlace { LogPlace(segment: number, offset: offset) }

    private func header(_ window: FileWindow, _ offset: Int, _ size: Int) -> GroupHeader? {
        guard let bytes = window.bytes(offset, GroupHeader.size) else { return nil }
        return GroupHeader(bytes, at: place(offset), cluster: cluster, replica: replica, fileSize: size)
    }

    /// Reads on to the end of what is whole. Damage goes to `damage` with its offset.
    mutating func advance(
        _ bounds: Bounds, buffer: ScratchBuffer, records: inout [LogRecord], lives: inout [UInt64: LogPlace],
        damage: (Int, String) -> Void
    ) -> Int {
        let window = FileWindow(file, buffer)
        let size = file.size
        while position + GroupHeader.alignment <= min(bounds.limit, size) {
            if let header = header(window, position, size), header.number > lastGroup, !bounds.isVoid(header) {
                lives[header.life] = header.lifeStart
                guard take(header, window, isDurable: header.place < bounds.synced, &records, damage) else { break }
                position += header.length
                lastGroup = header.number
                continue
            }
            // What was never known to be durable is a torn tail: the log ends before it.
            guard place(position) < bounds.synced else { break }
            isDamaged = true
            let found = records.count
            salvage(window, size, &records)
            let start = position
            repeat {
                position += GroupHeader.alignment
            } while position + GroupHeader.alignment <= min(bounds.limit, size)
                && !continues(window, size, bounds)
            damage(
                start,
                "no valid group header here; \(records.count - found) records saved, \(position - start) bytes passed over"
            )
        }
        return window.bytesRead
    }

    private func continues(_ window: FileWindow, _ size: Int, _ bounds: Bounds) -> Bool {
        guard let header = header(window, position, size) else { return false }
        return header.number > lastGroup && !bounds.isVoid(header)
    }

    /// Takes a group's records; `false` for a torn one at the end of the log, of which nothing counts.
    private mutating func take(
        _ header: GroupHeader, _ window: FileWindow, isDurable: Bool, _ records: inout [LogRecord],
        _ damage: (Int, String) -> Void
    ) -> Bool {
        let before = records.count
        guard let bytes = window.bytes(position, header.length) else {
            if isDurable {
                isDamaged = true
                damage(position, "the disk gives only a part of this group")
            }
            return isDurable
        }
        var crc = tableCRC
        for slot in 0..<header.records {
            let at = GroupHeader.size + slot * LogRecord.size
            let raw = bytes.slice(at, LogRecord.size)
            crc = raw.crc(crc)
            guard var record = LogRecord(raw), record.group == header.number else {
                guard isDurable else { return torn(&records, before) }
                isDamaged = true
                damage(position + at, "the header of a record is damaged")
                continue
            }
            record.isGood = isPayloadGood(record, bytes, groupStart: position)
            if !record.isGood {
                guard isDurable else { return torn(&records, before) }
                isDamaged = true
                damage(record.offset, "the payload of shard \(record.shard), entry \(record.index) is damaged")
            }
            records.append(record)
        }
        tableCRC = crc
        recordCount += header.records
        return true
    }

    private func torn(_ records: inout [LogRecord], _ before: Int) -> Bool {
        records.removeLast(records.count - before)
        return false
    }

    private func isPayloadGood(_ record: LogRecord, _ group: UnsafeRawBufferPointer, groupStart: Int) -> Bool {
        guard record.length > 0 else { return true }
        let start = record.offset - groupStart
        guard start >= GroupHeader.size, start + record.length <= group.count else { return false }
        return group.slice(start, record.length).crc() == record.crc
    }

    /// Records behind a group header that cannot be read: they stand where they always stand.
    private mutating func salvage(_ window: FileWindow, _ size: Int, _ records: inout [LogRecord]) {
        var group: UInt64 = 0
        var found: [LogRecord] = []
        for slot in 0..<GroupHeader.maximumRecords {
            guard let raw = window.bytes(position + GroupHeader.size + slot * LogRecord.size, LogRecord.size),
                let record = LogRecord(raw), record.group > lastGroup, group == 0 || record.group == group
            else { break }
            group = record.group
            found.append(record)
        }
        for var record in found {
            verify(&record)
            records.append(record)
        }
        if group > 0 { lastGroup = group }
    }

    /// Reads a record's payload by itself and says whether it is good.
    func verify(_ record: inout LogRecord) {
        guard record.length > 0 else { return record.isGood = true }
        let bytes = file.bytes(record.offset, min(record.length, GroupHeader.maximumBytes))
        record.isGood = bytes?.withUnsafeBytes { $0.crc() } == record.crc
    }
}
