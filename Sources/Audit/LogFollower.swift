import ClearingModel

/// A record of a node's log as a write put it there; docs/LOG.md names the fields.
public struct WrittenRecord: Sendable {
    public enum Kind: UInt8, Sendable {
        case entry = 1
        case truncation, hardState, logStart, repair
    }

    public var kind: Kind
    public var detail: UInt8
    public var shard: ShardID
    public var index: LogIndex
    public var term: Term
    public var previousTerm: Term
    public var extra: UInt64
    public var length: Int
    public var checksum: UInt32

    init(_ record: LogRecord) {
        kind = Kind(rawValue: record.kind.rawValue)!
        detail = record.detail
        shard = ShardID(record.shard)
        index = LogIndex(record.index)
        term = Term(record.term)
        previousTerm = Term(record.previousTerm)
        extra = record.extra
        length = record.length
        checksum = record.crc
    }
}

/// An entry as a log holds it.
public struct HeldEntry: Hashable, Sendable {
    public var term: Term
    public var checksum: UInt32
    public var length: Int
    /// Its payload is damaged on this disk.
    public var isDamaged: Bool
}

/// Term and vote as the last hard state of a shard says.
public struct DurableVote: Hashable, Sendable {
    public var term = Term.zero
    public var vote: ReplicaID?
    /// The highest commit hint so far.
    public var hint = LogIndex.zero

    public init() {}
}

/// The log of one replica as it is durable: followed write by write and sync by sync, or read from its files.
///
/// It knows nothing of the process that writes: what it says to be durable is what the disk was told to sync.
public final class LogFollower {
    private struct Group {
        var place: LogPlace
        var length: Int
        var records: [LogRecord]
        /// Of the records that carry one, by their place among `records`.
        var memberships: [(slot: Int, voters: Voters)]
    }

    public let replica: ReplicaID
    private let cluster: ClusterID
    private let shardCount: Int
    @exclusivity(unchecked) private var logs: [ReplicaLog]
    @exclusivity(unchecked) private var votes: [DurableVote]
    @exclusivity(unchecked) private var votesChanged = false
    /// Written and not synced, oldest first.
    @exclusivity(unchecked) private var pending: [Group] = []
    /// Where the last group that is durable ends; zero where nobody knows.
    @exclusivity(unchecked) private var durableEnd = LogPlace(0)
    /// By segment, ascending: where its last group ends that was seen to become durable.
    @exclusivity(unchecked) private var durableEnds: [(segment: UInt64, end: UInt64)] = []
    @exclusivity(unchecked) private var reader: NodeReader?
    /// By shard: the last entry of the last scan.
    @exclusivity(unchecked) private var scannedThrough: [UInt64] = []
    private let findings = Findings()

    public init(replica: ReplicaID, cluster: ClusterID, shardCount: Int) {
        self.replica = replica
        self.cluster = cluster
        self.shardCount = shardCount
        logs = Array(repeating: ReplicaLog(), count: shardCount + 1)
        votes = Array(repeating: DurableVote(), count: shardCount + 1)
    }

    /// The first thing in this log that must not be, whether it was written or read; `nil` while there is none.
    public var problem: String? { findings.problems.texts.first }

    // MARK: Following

    /// Something was written to a segment. Calls `body` with each record of it and the record's payload, whose bytes are
    /// valid inside `body` only.
    ///
    /// - Returns: what is wrong with the write, `nil` where nothing is. What is no group (a segment's header or table) is passed over.
    public func wrote(
        segment: UInt64, offset: UInt64, _ parts: [UnsafeRawBufferPointer],
        _ body: (WrittenRecord, UnsafeRawBufferPointer) -> Void
    ) -> String? {
        let place = LogPlace(segment: segment, offset: Int(offset))
        if let last = durableEnds.last(where: { $0.segment == segment }), offset < last.end {
            return "a write at \(place) overwrites what is durable up to \(last.end)"
        }
        guard let head = parts.first, head.count >= GroupHeader.size,
            let header = GroupHeader(head, at: place, cluster: cluster, replica: replica, fileSize: Int(UInt32.max)),
            GroupHeader.size + header.records * LogRecord.size <= head.count
        else { return nil }
        var group = Group(place: place, length: header.length, records: [], memberships: [])
        group.records.reserveCapacity(header.records)
        var part = 1
        var partOffset = head.count
        var fault: String?
        for slot in 0..<header.records {
            guard var record = LogRecord(head.slice(GroupHeader.size + slot * LogRecord.size, LogRecord.size)),
                Int(record.shard) <= shardCount, record.group == header.number
            else { return "record \(slot) of the group at \(place) is none" }
            var payload = UnsafeRawBufferPointer(start: nil, count: 0)
            if record.length > 0 {
                guard part < parts.count, record.offset - Int(offset) == partOffset, record.length == parts[part].count
                else { return "the payload of record \(slot) of the group at \(place) is not where it should be" }
                payload = parts[part]
                partOffset += record.length
                part += 1
            }
            record.isGood = payload.crc() == record.crc
            if !record.isGood { fault = "the payload of record \(slot) of the group at \(place) has another checksum" }
            let isMembership = record.kind == .logStart || (record.isEntry && record.detail == LogRecord.membership)
            if isMembership, let voters = Voters(payload) { group.memberships.append((slot, voters)) }
            group.records.append(record)
            body(WrittenRecord(record), payload)
        }
        if place < durableEnd { fault = "the group at \(place) overwrites what is durable up to \(durableEnd)" }
        while let last = pending.last, last.place >= place { pending.removeLast() }
        pending.append(group)
        return fault
    }

    /// Everything written to a segment so far is durable.
    public func synced(segment: UInt64) {
        var done = 0
        // One segment is synced before the next one is written to.
        while done < pending.count, pending[done].place.segment == segment {
            for (slot, record) in pending[done].records.enumerated() {
                apply(record, segment, pending[done].memberships.first { $0.slot == slot }?.voters)
            }
            durableEnd = LogPlace(segment: segment, offset: pending[done].place.offset + pending[done].length)
            if durableEnds.last?.segment == segment { durableEnds.removeLast() }
            durableEnds.append((segment, UInt64(durableEnd.offset)))
            done += 1
        }
        pending.removeFirst(done)
    }

    private func apply(_ record: LogRecord, _ segment: UInt64, _ membership: Voters?) {
        let shard = Int(record.shard)
        if record.kind == .hardState { noteVote(record) }
        if !logs[shard].apply(record, segment: segment, membership: membership) {
            findings.problem("a record of shard \(shard), index \(record.index), contradicts the log before it")
        }
    }

    /// Whether a hard state became durable since the last call.
    public func takeVotesChanged() -> Bool {
        defer { votesChanged = false }
        return votesChanged
    }

    private func noteVote(_ record: LogRecord) {
        votesChanged = true
        let shard = Int(record.shard)
        votes[shard].term = Term(record.term)
        votes[shard].vote =
            record.extra == 0
            ? nil
            : ReplicaID(
                node: NodeID(UInt32(truncatingIfNeeded: record.extra)),
                incarnation: Incarnation(UInt32(record.extra >> 32)))
        votes[shard].hint = max(votes[shard].hint, LogIndex(record.index))
    }

    // MARK: Files

    /// Takes the files as the truth: after a power cut, or damage.
    ///
    /// - Parameter isIntact: nothing durable was harmed, so that nothing of it may be overwritten.
    public func restart(from files: any DataFiles, isIntact: Bool) {
        pending = []
        reader = nil
        if !isIntact {
            durableEnd = LogPlace(0)
            durableEnds = []
        }
        votes = Array(repeating: DurableVote(), count: shardCount + 1)
        logs = Array(repeating: ReplicaLog(), count: shardCount + 1)
        guard let reader = scan(files) else { return }
        logs = reader.logs
        for record in reader.hardStates {
            if let record { noteVote(record) }
        }
        for shard in votes.indices { votes[shard].hint = max(votes[shard].hint, LogIndex(logs[shard].hint)) }
    }

    /// The next scan reads all files anew: a process starts on them.
    public func forgetScan() { reader = nil }

    /// Reads what the files have gained since the last scan; `nil` where no log is there.
    private func scan(_ files: any DataFiles) -> NodeReader? {
        if reader == nil {
            let fresh = NodeReader(
                node: replica.node, directory: "node \(replica.node)", files: files, cluster: cluster,
                shardCount: shardCount, findings: findings)
            guard fresh.open() else { return nil }
            reader = fresh
            scannedThrough = Array(repeating: 0, count: shardCount + 1)
        }
        reader?.advance()
        guard let found = reader, !found.isStale else {
            reader = nil
            return nil
        }
        return found
    }

    /// Reads what the files have gained since the last scan, while the process may write to them, and calls `body` with every
    /// entry that came or was replaced; with all of them after `forgetScan`.
    ///
    /// - Returns: the number of entries; `nil` where no log could be read.
    public func scan(_ files: any DataFiles, _ body: (ShardID, LogIndex, HeldEntry) -> Void) -> Int? {
        guard let reader = scan(files) else { return nil }
        var found = 0
        for (shard, log) in reader.logs.enumerated() {
            // Entries that are not known to be committed may have been replaced.
            var index = max(log.base, min(scannedThrough[shard], log.hint)) + 1
            scannedThrough[shard] = log.last
            while index <= log.last {
                if let ref = log.ref(index), !ref.isHole {
                    body(ShardID(UInt16(shard)), LogIndex(index), HeldEntry(ref))
                    found += 1
                }
                index += 1
            }
        }
        return found
    }

    // MARK: What is durable

    /// The last entry of a shard that is durable.
    public func last(of shard: ShardID) -> LogIndex { LogIndex(logs[Int(shard.rawValue)].last) }

    /// An entry that is durable; `nil` where none is at this index, or nothing is known of it.
    public func entry(of shard: ShardID, at index: LogIndex) -> HeldEntry? {
        guard let ref = logs[Int(shard.rawValue)].ref(index.rawValue), !ref.isHole else { return nil }
        return HeldEntry(ref)
    }

    /// The last entry before the durable start of the log.
    public func start(of shard: ShardID) -> LogIndex { LogIndex(logs[Int(shard.rawValue)].startIndex) }

    /// Term, vote and commit hint that are durable.
    public func vote(of shard: ShardID) -> DurableVote { votes[Int(shard.rawValue)] }
}

extension HeldEntry {
    init(_ ref: EntryRef) {
        self.init(term: Term(UInt64(ref.term)), checksum: ref.crc, length: ref.length, isDamaged: ref.isDamaged)
    }
}
