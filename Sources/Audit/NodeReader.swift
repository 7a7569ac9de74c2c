import ClearingModel
import Glibc

/// One node's data directory: reads its log into one `ReplicaLog` per shard, and goes on where it stopped when asked again.
final class NodeReader {
    let node: NodeID
    let directory: String
    private let cluster: ClusterID
    private let findings: Findings
    private let buffer = ScratchBuffer(1 << 20)
    /// Where the files are, if not in a directory of this machine.
    private let memory: (any DataFiles)?

    private(set) var replica: ReplicaID?
    /// By shard; a shard without records has an empty log.
    @exclusivity(unchecked) private(set) var logs: [ReplicaLog]
    @exclusivity(unchecked) private(set) var hasRecords: [Bool]
    @exclusivity(unchecked) private(set) var bytesRead = 0

    @exclusivity(unchecked) private var walk: SegmentWalk?
    @exclusivity(unchecked) private var lives: [UInt64: LogPlace] = [:]
    @exclusivity(unchecked) private var highestSynced = LogPlace(0)
    /// The log was cut while it was read: what was read holds no longer.
    @exclusivity(unchecked) private(set) var isStale = false
    /// By shard, the last hard state that could be read.
    @exclusivity(unchecked) private(set) var hardStates: [LogRecord?]

    init(
        node: NodeID, directory: String, files memory: (any DataFiles)? = nil, cluster: ClusterID, shardCount: Int,
        findings: Findings
    ) {
        self.node = node
        self.memory = memory
        self.directory = directory
        self.cluster = cluster
        self.findings = findings
        logs = Array(repeating: ReplicaLog(), count: shardCount + 1)
        hasRecords = Array(repeating: false, count: shardCount + 1)
        hardStates = Array(repeating: nil, count: shardCount + 1)
    }

    func path(ofSegment number: UInt64) -> String { "\(directory)/\(Self.name(ofSegment: number))" }

    /// A file of the directory; `nil` where it cannot be opened.
    private func file(_ name: String) -> DataFile? {
        if let memory { return DataFile(name, in: memory) }
        return DataFile("\(directory)/\(name)")
    }

    private func names() -> [String]? { memory.map { $0.names.sorted() } ?? DataFile.names(in: directory) }

    /// Segment `number`, opened anew; `nil` where it is gone.
    func segment(_ number: UInt64) -> DataFile? { file(Self.name(ofSegment: number)) }

    static func name(ofSegment number: UInt64) -> String { "segment-\(padded(number, 10)).log" }

    private static func padded(_ number: UInt64, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    private static func segments(_ names: [String]) -> [UInt64] {
        names.compactMap { name in
            guard name.hasPrefix("segment-"), name.hasSuffix(".log"),
                let number = UInt64(name.dropFirst(8).dropLast(4)), name == Self.name(ofSegment: number),
                number > 0, number < 1 << 32
            else { return nil }
            return number
        }.sorted()
    }

    // MARK: - Opening

    /// Finds out whose directory it is; `false`, with the reason among the findings, where it cannot be used.
    func open() -> Bool {
        guard let names = names() else {
            findings.note("node \(node): \(directory) cannot be read (\(String(cString: strerror(errno))))")
            return false
        }
        var found: (cluster: ClusterID, replica: ReplicaID)?
        if let bytes = file("identity")?.bytes(0, 2 * Identity.block),
            let identity = bytes.withUnsafeBytes({ Identity($0) })
        {
            found = (identity.cluster, identity.replica)
        } else {
            findings.note("node \(node): \(directory)/identity is missing or damaged; its segments say whose it is")
            for number in Self.segments(names) where found == nil {
                guard let header = header(ofSegment: number) else { continue }
                found = (header.cluster, header.replica)
            }
        }
        guard let found else {
            findings.note("node \(node): \(directory) holds no log")
            return false
        }
        guard found.cluster == cluster else {
            findings.note("node \(node): \(directory) belongs to cluster \(found.cluster); it is left out")
            return false
        }
        guard found.replica.node == node else {
            findings.note("node \(node): \(directory) belongs to node \(found.replica.node); it is left out")
            return false
        }
        replica = found.replica
        return true
    }

    private func header(ofSegment number: UInt64) -> SegmentHeader? {
        segment(number)?.bytes(0, 64)?.withUnsafeBytes { SegmentHeader($0) }
    }

    // MARK: - Reading

    /// Reads everything that is new since the last call.
    func advance() {
        guard let replica, !isStale else { return }
        for _ in 0..<3 {
            guard let numbers = names().map(Self.segments), let newest = numbers.last else {
                return
            }
            let current = walk?.number ?? 0
            if let lastRead = walk, lastRead.number > newest { return cutBelow() }
            for (at, number) in numbers.enumerated() where number >= current {
                if number != walk?.number {
                    if let before = walk, number != before.number + 1 {
                        findings.note(
                            "node \(node): segments \(before.number + 1) to \(number - 1) are missing in \(directory)")
                    }
                    guard let file = segment(number) else { break }
                    check(header: number, replica)
                    walk = SegmentWalk(
                        file: file, number: number, cluster: cluster, replica: replica, after: walk?.lastGroup ?? 0)
                }
                read(isActive: number == newest, next: at + 1 < numbers.count ? numbers[at + 1] : nil)
                if isStale { return }
            }
            // A live node may have gone on to a new segment meanwhile.
            guard let again = names().map(Self.segments)?.last, again > newest else { return }
        }
    }

    private func cutBelow() {
        isStale = true
        findings.note("node \(node): its log was cut while it was read; what was read before counts")
    }

    private func check(header number: UInt64, _ replica: ReplicaID) {
        guard let header = header(ofSegment: number) else {
            return findings.note(
                "node \(node): the header of \(path(ofSegment: number)) is damaged; its groups are read anyway")
        }
        if header.cluster != cluster || header.replica != replica || header.number != number {
            findings.note(
                "node \(node): \(path(ofSegment: number)) says it is segment \(header.number) of replica \(header.replica), "
                    + "cluster \(header.cluster): a misplaced file")
        }
    }

    private func read(isActive: Bool, next: UInt64?) {
        guard var walk, let replica else { return }
        let (start, resumedAfter) = (walk.position, walk.lastGroup)
        var bounds = SegmentWalk.Bounds(limit: walk.file.size, synced: LogPlace(UInt64.max), lives: lives)
        let footer = isActive ? nil : footer(of: walk)
        if isActive {
            sweep(walk, replica, &bounds)
            // A new life that starts below what was read voids some of it: the node restarted meanwhile.
            let read = LogPlace(segment: walk.number, offset: walk.position)
            let life = resumedAfter >> 40
            if start > SegmentHeader.size, bounds.lives.contains(where: { $0.key > life && $0.value < read }) {
                return cutBelow()
            }
        } else if let footer {
            bounds.limit = footer.end
        } else if let next, let synced = firstSynced(of: next, replica), synced.segment == walk.number {
            bounds.limit = synced.offset
        }
        var records: [LogRecord] = []
        let path = path(ofSegment: walk.number)
        bytesRead += walk.advance(bounds, buffer: buffer, records: &records, lives: &lives) { offset, text in
            findings.note("node \(node): \(path), offset \(offset): \(text)")
        }
        if let footer { compare(footer, walk, after: resumedAfter, &records) }
        for record in records { apply(record, walk) }
        self.walk = walk
    }

    /// The highest synced address and the lives that any header of the active segment names.
    private func sweep(_ walk: SegmentWalk, _ replica: ReplicaID, _ bounds: inout SegmentWalk.Bounds) {
        var headers: [GroupHeader] = []
        let size = walk.file.size
        let buffer = buffer.prefix(GroupHeader.size)
        let contents = walk.file.contents
        for offset in stride(from: SegmentHeader.size, to: size, by: GroupHeader.alignment) {
            var raw = UnsafeRawBufferPointer(buffer)
            if let contents {
                guard offset + GroupHeader.size <= contents.count else { continue }
                raw = contents.slice(offset, GroupHeader.size)
            } else {
                guard walk.file.read(offset, into: buffer) == GroupHeader.size else { continue }
            }
            guard raw[0] != 0 else { continue }
            let place = LogPlace(segment: walk.number, offset: offset)
            guard
                let header = GroupHeader(raw, at: place, cluster: cluster, replica: replica, fileSize: size)
            else { continue }
            headers.append(header)
            bounds.lives[header.life] = header.lifeStart
        }
        for header in headers where !bounds.isVoid(header) { highestSynced = max(highestSynced, header.synced) }
        bounds.synced = highestSynced
    }

    private func footer(of walk: SegmentWalk) -> SegmentFooter? {
        let size = walk.file.size
        let footer = walk.file.bytes(size - SegmentFooter.size, SegmentFooter.size)?.withUnsafeBytes {
            SegmentFooter($0, cluster: cluster, number: walk.number)
        }
        if let footer, footer.end <= size, footer.records <= size / LogRecord.size { return footer }
        findings.note("node \(node): the table of \(path(ofSegment: walk.number)) is damaged; its groups were scanned")
        return nil
    }

    private func firstSynced(of number: UInt64, _ replica: ReplicaID) -> LogPlace? {
        guard let file = segment(number) else { return nil }
        return file.bytes(SegmentHeader.size, GroupHeader.size)?.withUnsafeBytes {
            GroupHeader(
                $0, at: LogPlace(segment: number, offset: SegmentHeader.size), cluster: cluster, replica: replica,
                fileSize: file.size)
        }?.synced
    }

    /// Holds a sealed segment's table against its groups. Where the groups are damaged the table tells what they held.
    private func compare(
        _ footer: SegmentFooter, _ walk: SegmentWalk, after group: UInt64, _ records: inout [LogRecord]
    ) {
        let size = walk.file.size
        let start = size - SegmentFooter.size - footer.records * LogRecord.size
        guard let table = walk.file.bytes(start, footer.records * LogRecord.size),
            table.withUnsafeBytes({ $0.crc() }) == footer.tableCRC
        else {
            return findings.note(
                "node \(node): the table of \(path(ofSegment: walk.number)) is damaged; its groups were scanned")
        }
        guard walk.isDamaged else {
            if !footer.isIncomplete, footer.records != walk.recordCount || footer.tableCRC != walk.tableCRC {
                findings.problem(
                    "node \(node): the table of \(path(ofSegment: walk.number)) does not list what its groups hold "
                        + "(\(footer.records) records, groups have \(walk.recordCount)): rejoin the node")
            }
            return
        }
        guard !footer.isIncomplete else { return }
        records = table.withUnsafeBytes { table in
            (0..<footer.records).compactMap { slot in
                guard var record = LogRecord(table.slice(slot * LogRecord.size, LogRecord.size)), record.group > group
                else { return nil }
                walk.verify(&record)
                return record
            }
        }
    }

    private func apply(_ record: LogRecord, _ walk: SegmentWalk) {
        let shard = Int(record.shard)
        guard shard < logs.count else { return }
        var membership: Voters?
        if record.kind == .logStart || (record.isEntry && record.detail == LogRecord.membership), record.isGood {
            membership = walk.file.bytes(record.offset, record.length)?.withUnsafeBytes { Voters($0) }
        }
        hasRecords[shard] = true
        if record.kind == .hardState { hardStates[shard] = record }
        if !logs[shard].apply(record, segment: walk.number, membership: membership) {
            findings.problem(
                "node \(node): \(path(ofSegment: walk.number)): a record of shard \(shard), kind \(record.kind), index "
                    + "\(record.index) contradicts the log before it")
        }
    }

    // MARK: - Checkpoints

    /// Every checkpoint with a valid header. A live node may remove one between the listing and the look.
    func checkpoints(noting: Bool) -> [CheckpointFile] {
        guard let names = names() else { return [] }
        return names.compactMap { name in
            guard name.hasPrefix("checkpoint-"), name.hasSuffix(".state") else { return nil }
            let path = "\(directory)/\(name)"
            guard let file = file(name) else { return nil }
            let found = file.bytes(0, 4_096)?.withUnsafeBytes { CheckpointFile($0, of: node, path, cluster) }
            if found == nil, noting { findings.note("node \(node): the header of \(path) is damaged") }
            return found
        }
    }
}
