import ClearingModel
import Ledger
import Raft
import Wire

/// A record that no group holds yet.
struct StagedRecord {
    /// Complete but for the places that the group gives it.
    var header: RecordHeader
    var payload: Slab?
    var entry: RaftEntry?
    /// The start that a log-start record sets.
    var start: LogStart?
    var keepsSuffix = false

    var bytes: Int { RecordHeader.size + (payload?.count ?? 0) }
}

extension NodeLog {
    /// Stages entries of a shard, which follow its last entry one by one.
    ///
    /// Nothing reaches the disk before `flush`. The payloads are shared, not copied, and their checksum is the slab's.
    /// - Returns: the sequence of the last one; durable when `.durable(through:)` reaches it.
    /// - Precondition: `.recovered` has come; the indexes follow the shard's last one and terms do not fall.
    @discardableResult
    public mutating func append(_ entries: [RaftEntry], shard: ShardID) -> LogSequence {
        let slot = slot(shard)
        for entry in entries {
            precondition(entry.index == tails[slot].last.next, "entry \(entry.index) after \(tails[slot].last)")
            precondition(entry.term >= tails[slot].lastTerm, "the term of the log fell")
            var header = entryHeader(entry, .entry, shard)
            header.previousTerm = tails[slot].lastTerm.rawValue
            tails[slot].append(entry.index, entry.term)
            if entry.kind == .configuration, let membership = try? Membership(decoding: entry.payload) {
                tails[slot].setConfiguration(entry.index, membership)
            }
            stage(StagedRecord(header: header, payload: entry.payload, entry: entry))
        }
        return stagedThrough
    }

    /// Stages entries as a peer sent them: of a hole, or below the log's start, where a snapshot led past them. They truncate
    /// nothing, and below the start they change nothing but what can be read back.
    ///
    /// - Precondition: the entries do not lie above the shard's last one, and the peer's copy is known to be the right one
    ///   (committed, or of the term that this log names).
    @discardableResult
    public mutating func appendRepair(_ entries: [RaftEntry], shard: ShardID) -> LogSequence {
        let slot = slot(shard)
        for entry in entries {
            precondition(entry.index <= tails[slot].last, "a repair of entry \(entry.index) past the log's end")
            tails[slot].setTerm(entry.index, entry.term)
            if entry.kind == .configuration, entry.index > tails[slot].start.index,
                let membership = try? Membership(decoding: entry.payload)
            {
                tails[slot].setConfiguration(entry.index, membership)
            }
            stage(StagedRecord(header: entryHeader(entry, .repair, shard), payload: entry.payload, entry: entry))
        }
        return stagedThrough
    }

    /// Stages the record that entries of the shard from `from` on are void.
    /// - Parameter term: term of the leader on whose word they are; for the reader of the log only.
    @discardableResult
    public mutating func appendTruncate(shard: ShardID, from: LogIndex, term: Term) -> LogSequence {
        let slot = slot(shard)
        precondition(from > tails[slot].start.index, "truncation at or below the log's start")
        tails[slot].truncate(from: from)
        var header = RecordHeader(kind: .truncation, shard: shard, term: term, index: from)
        header.previousTerm = tails[slot].lastTerm.rawValue
        stage(StagedRecord(header: header))
        return stagedThrough
    }

    /// Stages term, vote and commit hint of the shard, together with what is in doubt about it.
    @discardableResult
    public mutating func appendHardState(_ state: HardState, shard: ShardID) -> LogSequence {
        let slot = slot(shard)
        tails[slot].hard = state
        stage(StagedRecord(header: hardHeader(slot)))
        return stagedThrough
    }

    /// Stages what the replica may not do, so that a restart does not forget it: call it when that changes. Only this ends a
    /// doubt, for what ends it stands in no log (see Raft's RaftReplica+Doubt.swift).
    ///
    /// `.noCampaign` is not written down: recovery finds the holes again for as long as they are not filled.
    @discardableResult
    public mutating func setFence(_ fence: Fence, shard: ShardID) -> LogSequence {
        let slot = slot(shard)
        var doubt: Doubt = []
        if fence.contains(.noVote) { doubt.insert(.vote) }
        if fence.contains(.quarantined) { doubt.insert(.quarantined) }
        if !tails[slot].doubt.contains(.vote) { tails[slot].doubtTerm = tails[slot].hard.term }
        tails[slot].doubt = doubt
        stage(StagedRecord(header: hardHeader(slot)))
        return stagedThrough
    }

    /// Stages that the shard's log starts after this entry: at the start of a group's life (0, 0), and after a snapshot was
    /// installed, once its checkpoint is durable.
    ///
    /// What lies above is kept where the log has an entry of this index and term (Raft §7), and is void otherwise.
    @discardableResult
    public mutating func appendLogStart(
        shard: ShardID, index: LogIndex, term: Term, membership: Membership
    ) -> LogSequence {
        let slot = slot(shard)
        let keep = tails[slot].last >= index && tails[slot].term(at: index) == term
        let start = LogStart(index: index, term: term, membership: membership)
        tails[slot].move(to: start, keepingSuffix: keep)
        var header = RecordHeader(kind: .logStart, shard: shard, term: term, index: index)
        header.extra = tails[slot].last.rawValue
        header.previousTerm = tails[slot].lastTerm.rawValue
        stage(StagedRecord(header: header, payload: membership.encoded(), start: start, keepsSuffix: keep))
        return stagedThrough
    }

    private mutating func stage(_ record: StagedRecord) {
        precondition(isRunning && !hasFailed, "appended before recovery or after a failure")
        precondition(
            record.bytes <= min(Layout.maximumGroupBytes, options.segmentBytes) / 2, "a record larger than half a group"
        )
        staged.append(record)
        stagedBytes += record.bytes
        stagedThrough = LogSequence(stagedThrough.rawValue + 1)
    }

    private func entryHeader(_ entry: RaftEntry, _ kind: RecordKind, _ shard: ShardID) -> RecordHeader {
        var header = RecordHeader(kind: kind, shard: shard, term: entry.term, index: entry.index)
        header.detail = entry.kind.rawValue
        if entry.kind == .data, let ledger = EntryHeader.peek(entry.payload.bytes) {
            header.extra = ledger.firstOrdinal.rawValue
            header.recordCount = UInt32(ledger.recordCount)
        }
        return header
    }

    private func hardHeader(_ slot: Int) -> RecordHeader {
        let tail = tails[slot]
        return Self.hardHeader(shards[slot], tail.hard, tail.doubt, tail.doubtTerm)
    }

    private static func hardHeader(
        _ shard: ShardID, _ hard: HardState, _ doubt: Doubt, _ doubtTerm: Term
    ) -> RecordHeader {
        var header = RecordHeader(kind: .hardState, shard: shard, term: hard.term, index: hard.commit)
        header.detail = doubt.rawValue
        header.extra = hard.packedVote
        header.previousTerm = doubtTerm.rawValue
        return header
    }

    /// Hard state and start of every shard, as the written log has them.
    func openingRecords() -> [StagedRecord] {
        shards.indices.flatMap { slot -> [StagedRecord] in
            let state = written[slot]
            var start = RecordHeader(
                kind: .logStart, shard: shards[slot], term: state.start.term, index: state.start.index)
            start.extra = state.last.rawValue
            start.previousTerm = state.lastTerm.rawValue
            let hard = Self.hardHeader(shards[slot], state.hard, state.doubt, state.doubtTerm)
            return [
                StagedRecord(header: hard),
                StagedRecord(
                    header: start, payload: state.start.membership.encoded(), start: state.start, keepsSuffix: true),
            ]
        }
    }
}
