import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

private let one = ShardID(1)
private let two = ShardID(2)

/// Segments that are full: read by their table, which may be damaged too.
@Suite struct SealedSegmentTests {
    /// Several sealed segments and an active one; entry `i` of shard 1 and 2 each.
    private func manySegments(entries: UInt64 = 120) throws -> LogHarness {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        for i in 1...entries {
            harness.log.append([sample(i, 1 + i / 40, bytes: 1_500)], shard: one)
            if i % 10 == 0 {
                let commit = LogIndex(i - 1)
                harness.log.appendHardState(HardState(term: Term(1 + i / 40), vote: nil, commit: commit), shard: one)
            }
            if i % 3 == 0 { harness.log.append([sample(i / 3, 1, bytes: 50, salt: 5)], shard: two) }
            harness.settle()
        }
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        harness.events = []
        #expect(harness.disk.segmentNumbers.count > 4)
        return harness
    }

    /// An entry of shard 1 in the midst of segment 2.
    private func middle(_ harness: LogHarness) throws -> Anatomy.Record {
        let entries = harness.disk.anatomy(2).records.filter { $0.kind == 1 && $0.shard == 1 }
        try #require(entries.count > 6)
        return entries[3]
    }

    private func expectAll(
        _ harness: inout LogHarness, entries: UInt64 = 120, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let ones = harness.readAll(one, from: LogIndex(1), through: LogIndex(entries))
        #expect(ones == (1...entries).map { sample($0, 1 + $0 / 40, bytes: 1_500) }, sourceLocation: sourceLocation)
        let twos = harness.readAll(two, from: LogIndex(1), through: LogIndex(entries / 3))
        #expect(twos == (1...entries / 3).map { sample($0, 1, bytes: 50, salt: 5) }, sourceLocation: sourceLocation)
    }

    private func shard(_ id: ShardID, _ recovered: [RecoveredShard]?) throws -> RecoveredShard {
        try #require(recovered?.first { $0.shard == id })
    }

    @Test func olderSegmentsAreReadThroughTheirTables() throws {
        var harness = try manySegments()
        expectAll(&harness)
        let recovered = try shard(one, harness.recover())
        #expect(recovered.raft.lastIndex == LogIndex(120))
        #expect(
            recovered.raft.termRuns
                == [(1, 1), (40, 2), (80, 3), (120, 4)].map { TermRun(firstIndex: LogIndex($0), term: Term($1)) })
        expectAll(&harness)
    }

    @Test func recoveryReadsNoPayloadOfASealedSegment() throws {
        var harness = try manySegments()
        let newest = try #require(harness.disk.segmentNumbers.last)
        var read = 0
        harness.disk.fault = { kind in
            if case .read(.segment(let number), _, let count) = kind, number != newest { read += count }
            return nil
        }
        harness.recover()
        let sealed = harness.disk.segmentNumbers.count - 1
        // Header, footer and table of each.
        #expect(read < sealed * (4_096 + 64 + 64 * 64))
    }

    @Test func aFlippedPayloadShowsWhenItIsRead() throws {
        var harness = try manySegments()
        let record = try middle(harness)
        let index = LogIndex(record.index)
        harness.disk.flip(.segment(2), at: record.payloadOffset + 700)
        let recovered = try shard(one, harness.recover())
        #expect(recovered.raft.fence.isEmpty && recovered.holes.isEmpty)
        harness.events = []
        harness.log.read(
            shard: one, from: index, maxBytes: 5_000, token: 77, ops: &harness.ops, events: &harness.events)
        harness.settle()
        #expect(harness.events.contains { if case .readFailed(77, .damaged) = $0 { true } else { false } })
        #expect(harness.events.damaged.map { [$0.from, $0.through] } == [[record.index, record.index]])
        #expect(harness.log.holes(of: one) == [IndexRange(from: index, through: index)])
        harness.log.appendRepair([sample(record.index, 1 + record.index / 40, bytes: 1_500)], shard: one)
        harness.settle()
        #expect(harness.log.holes(of: one).isEmpty)
        expectAll(&harness)
        harness.recover()
        expectAll(&harness)
    }

    @Test func anUnreadableSectorHidesNoNeighbours() throws {
        var harness = try manySegments()
        let record = try middle(harness)
        let index = LogIndex(record.index)
        harness.recover()
        harness.events = []
        harness.disk.fault = { kind in
            guard case .read(.segment(2), let offset, let count) = kind,
                Int(offset) < record.payloadOffset + 512, record.payloadOffset < Int(offset) + count
            else { return nil }
            return DiskError(code: DiskError.unreadableCode, message: "unreadable sector")
        }
        // One read spans the neighbours on both sides.
        harness.log.read(
            shard: one, from: LogIndex(record.index - 2), maxBytes: 10_000, token: 77, ops: &harness.ops,
            events: &harness.events)
        harness.settle()
        let read = harness.events.compactMap { event in
            if case .entries(77, let entries) = event { entries.map(\.index) } else { nil }
        }
        #expect(read == [[LogIndex(record.index - 2), LogIndex(record.index - 1)]])
        #expect(harness.log.holes(of: one) == [IndexRange(from: index, through: index)])
    }

    @Test(arguments: [0, 1, 2])
    func aDamagedTableIsRebuiltFromTheGroups(place: Int) throws {
        var harness = try manySegments()
        let size = 64 << 10
        // The table's last record, the footer, or both.
        if place != 1 { harness.disk.flip(.segment(2), at: size - 64 - 30) }
        if place != 0 { harness.disk.flip(.segment(2), at: size - 20) }
        let recovered = harness.recover()
        for id in [one, two] { #expect(try shard(id, recovered).raft.fence.isEmpty) }
        expectAll(&harness)
    }

    @Test(arguments: [DiskError.unreadableCode, 24])
    func aTableThatTheDeviceCannotReadIsDamage(code: Int32) throws {
        var harness = try manySegments()
        let index = LogIndex(try middle(harness).index)
        harness.recover()
        harness.events = []
        let error = DiskError(code: code, message: "refused")
        harness.disk.fault = { if case .read(.segment(2), offset: _, count: 64) = $0 { error } else { nil } }
        harness.log.read(
            shard: one, from: index, maxBytes: 5_000, token: 77, ops: &harness.ops, events: &harness.events)
        harness.settle()
        let isDamage = code == DiskError.unreadableCode
        let failures = harness.events.compactMap { event in
            if case .readFailed(77, let failure) = event { failure } else { nil }
        }
        #expect(failures == [isDamage ? .damaged : .disk(error)])
        #expect(harness.log.holes(of: one).contains { $0.from <= index && index <= $0.through } == isDamage)
        harness.disk.fault = nil
        for hole in harness.log.holes(of: one) {
            let lost = hole.from.rawValue...hole.through.rawValue
            harness.log.appendRepair(lost.map { sample($0, 1 + $0 / 40, bytes: 1_500) }, shard: one)
        }
        for hole in harness.log.holes(of: two) {
            let lost = hole.from.rawValue...hole.through.rawValue
            harness.log.appendRepair(lost.map { sample($0, 1, bytes: 50, salt: 5) }, shard: two)
        }
        harness.settle()
        expectAll(&harness)
    }

    @Test func aDamagedTableAndPayloadAreAHole() throws {
        var harness = try manySegments()
        harness.disk.flip(.segment(2), at: (64 << 10) - 64 - 30)
        let record = try middle(harness)
        let index = LogIndex(record.index)
        harness.disk.flip(.segment(2), at: record.payloadOffset)
        let recovered = harness.recover()
        #expect(try shard(one, recovered).holes == [IndexRange(from: index, through: index)])
        #expect(try shard(one, recovered).raft.fence == .noCampaign)
        #expect(try shard(two, recovered).raft.fence.isEmpty)
    }

    /// The table of the sealed segment still lists the entry that was replaced.
    @Test func aRepairByAnotherEntryThatIsDamagedItselfIsAHoleAgain() throws {
        var harness = try manySegments()
        let record = try middle(harness)
        let index = LogIndex(record.index)
        harness.disk.flip(.segment(2), at: record.payloadOffset)
        _ = harness.readAll(one, from: index, through: index)
        #expect(harness.log.holes(of: one) == [IndexRange(from: index, through: index)])
        let other = sample(record.index, 1 + record.index / 40 + 1, bytes: 1_400)
        harness.log.appendRepair([other], shard: one)
        harness.settle()
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        #expect(harness.readAll(one, from: index, through: index) == [other])
        let last = try #require(harness.disk.segmentNumbers.last)
        let repair = try #require(
            harness.disk.anatomy(last).records.last { $0.kind == 5 && $0.index == record.index })
        harness.disk.flip(.segment(last), at: repair.payloadOffset)
        let recovered = harness.recover()
        #expect(try shard(one, recovered).holes == [IndexRange(from: index, through: index)])
    }

    @Test func aLostSegmentIsAHole() throws {
        var harness = try manySegments()
        let indexes = harness.disk.anatomy(3).records.filter { $0.kind == 1 && $0.shard == 1 }.map(\.index)
        harness.disk.delete(.segment(3))
        let recovered = try shard(one, harness.recover())
        // The term changed in what was lost: entries above the commit hint may have been replaced there, too.
        let hint = indexes.first! / 10 * 10 - 1
        #expect(recovered.holes == [IndexRange(from: LogIndex(hint + 1), through: LogIndex(indexes.last!))])
        #expect(recovered.raft.fence == .noCampaign)
        #expect(recovered.raft.lastIndex == LogIndex(120))
        harness.log.appendRepair(
            (hint + 1...indexes.last!).map { sample($0, 1 + $0 / 40, bytes: 1_500) }, shard: one)
        let twos = harness.log.holes(of: two)[0]
        harness.log.appendRepair(
            (twos.from.rawValue...twos.through.rawValue).map { sample($0, 1, bytes: 50, salt: 5) }, shard: two)
        harness.settle()
        expectAll(&harness)
    }

    @Test func aCutSurvivorInASealedSegmentStaysOutWithoutItsTable() throws {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        for i in 1...10 {
            harness.log.append([sample(UInt64(i), 1)], shard: one)
            harness.settle()
        }
        harness.log.append([sample(11, 1)], shard: one)
        harness.log.flush(&harness.ops)
        harness.log.append([sample(12, 1)], shard: one)
        harness.log.flush(&harness.ops)
        while harness.step() {}
        let anatomy = harness.disk.anatomy()
        let lost = anatomy.group(of: try #require(anatomy.entry(one, 11)))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(lost.offset..<lost.offset + lost.length, with: repeatElement(0, count: lost.length))
        }
        harness.recover()
        // The next record does not fit: the segment is sealed with nothing but the new life's opening behind the cut.
        harness.log.append([sample(11, 2, bytes: 30_000)], shard: one)
        harness.settle()
        #expect(harness.disk.segmentNumbers == [1, 2])
        for at in [(64 << 10) - 10, (64 << 10) - 64 - 10] { harness.disk.flip(.segment(1), at: at) }
        let recovered = try shard(one, harness.recover())
        #expect(recovered.raft.lastIndex == LogIndex(11))
        #expect(recovered.raft.fence.isEmpty)
        let read = harness.readAll(one, from: LogIndex(9), through: LogIndex(11))
        #expect(read == [sample(9, 1), sample(10, 1), sample(11, 2, bytes: 30_000)])
    }

    @Test func theRollNeverWaitsForTheNextFileWhenThereWasTime() throws {
        var harness = try manySegments()
        #expect(harness.disk.exists(.spareSegment))
        let spare = harness.disk.bytes(.spareSegment)
        #expect(spare.count == 64 << 10)
        harness.disk.processDies()
        harness.reopen()
        harness.settle()
        #expect(harness.disk.exists(.spareSegment))
    }

    @Test func zerosForTheNextSegmentNeverMeetItsGroups() throws {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        let isFill = { (kind: DiskOperation.Kind) in if case .fill = kind { true } else { false } }
        var next: UInt64 = 1
        while harness.disk.segmentNumbers.count < 2 {
            harness.log.append([sample(next, 1, bytes: 6_000)], shard: one)
            harness.settle(holding: isFill)
            next += 1
        }
        // The active segment fills up while a piece of zeros is under way: the next one is not taken into use before it is there.
        for _ in 0..<40 {
            harness.log.append([sample(next, 1, bytes: 6_000)], shard: one)
            harness.settle(holding: isFill)
            next += 1
        }
        #expect(harness.disk.segmentNumbers == [1, 2])
        #expect(harness.log.unsyncedBytes > 0)
        harness.settle()
        #expect(harness.disk.segmentNumbers.count > 2)
        #expect(harness.log.unsyncedBytes == 0)
        harness.recover()
        let read = harness.readAll(one, from: LogIndex(1), through: LogIndex(next - 1))
        #expect(read == (1..<next).map { sample($0, 1, bytes: 6_000) })
    }

    @Test func aChangeOfSegmentsDoesNotWaitForACheckpoint() throws {
        var harness = try LogHarness.fresh(segmentBytes: 8 << 20)
        let payload = 60_000
        var next: UInt64 = 1
        func append(_ harness: inout LogHarness) -> LogSequence {
            defer { next += 1 }
            return harness.log.append([sample(next, 1, bytes: payload)], shard: one)
        }
        for _ in 0..<20 {
            _ = append(&harness)
            harness.settle()
        }
        harness.log.writeCheckpoint(
            shard: two, index: LogIndex(1), term: Term(1), membership: LogHarness.membership,
            content: CheckpointContent(state: Slab([1, 2, 3])), ops: &harness.ops)
        let isCheckpointSync = { (kind: DiskOperation.Kind) in
            if case .sync(.checkpointTemporary) = kind { true } else { false }
        }
        // The spare segment is there, half of its zeros are not, and the background lane is busy for long.
        while harness.disk.segmentNumbers.count < 2, next < 400 {
            _ = append(&harness)
            harness.settle(holding: isCheckpointSync)
        }
        #expect(harness.disk.segmentNumbers == [1, 2])
        let last = append(&harness)
        harness.settle(holding: isCheckpointSync)
        #expect(harness.log.syncedThrough == last && harness.log.unsyncedBytes == 0)
        harness.settle()
    }

    @Test func recordsAreFoundByOrdinal() throws {
        var harness = try LogHarness.fresh(segmentBytes: 256 << 10)
        var ordinal: UInt64 = 0
        for i in 1...60 {
            if i % 10 == 0 {
                harness.log.append(
                    [RaftEntry(index: LogIndex(UInt64(i)), term: Term(1), kind: .noop, payload: .empty)], shard: one)
                continue
            }
            let count = i % 7 == 0 ? 200 : i % 5
            harness.log.append([ledgerEntry(UInt64(i), 1, records: count, ordinal: ordinal)], shard: one)
            ordinal += UInt64(count)
            harness.settle()
        }
        for reopened in [false, true] {
            if reopened {
                let recovered = try shard(one, harness.recover())
                #expect(recovered.lastOrdinal == Ordinal(ordinal - 1))
            }
            for wanted in stride(from: 0, to: ordinal, by: 13) {
                for verify in [false, true] {
                    let record = harness.record(one, wanted, verify: verify)
                    #expect(record?.instruction == instruction(wanted))
                    #expect(record?.window == WindowID(scheme: .domestic, number: 7))
                    #expect(record?.verified == verify)
                    #expect(record.map { $0.ledgerTime.rawValue == $0.index.rawValue * 1_000 } == true)
                }
            }
            let beyond = harness.record(one, ordinal)
            #expect(beyond == nil)
        }
    }

    @Test func aRecordIsReadBeforeItsEntryIsWritten() throws {
        var harness = try LogHarness.fresh()
        harness.log.append([ledgerEntry(1, 1, records: 5, ordinal: 0)], shard: one)
        let token = harness.token()
        harness.log.readRecord(
            shard: one, ordinal: Ordinal(3), token: token, ops: &harness.ops, events: &harness.events)
        harness.log.flush(&harness.ops)
        // In flight: the read waits behind the write.
        harness.log.readRecord(
            shard: one, ordinal: Ordinal(4), token: token + 1, ops: &harness.ops, events: &harness.events)
        while harness.step() {}
        let found = harness.events.compactMap { event -> UInt64? in
            if case .record(_, let record) = event { record.instruction.id.sequence } else { nil }
        }
        #expect(found.sorted() == [3, 4])
    }

    @Test func whatIsTruncatedWhileItIsReadIsLeftOut() throws {
        var harness = try LogHarness.fresh()
        harness.log.append((1...6).map { sample($0, 1) }, shard: one)
        harness.settle()
        harness.log.read(
            shard: one, from: LogIndex(2), maxBytes: 10_000, token: 5, ops: &harness.ops, events: &harness.events)
        harness.log.appendTruncate(shard: one, from: LogIndex(5), term: Term(2))
        harness.log.append([sample(5, 2)], shard: one)
        harness.settle()
        let read = harness.events.compactMap { if case .entries(5, let entries) = $0 { entries } else { nil } }
        #expect(read == [(2...4).map { sample($0, 1) }])
    }

    @Test func aDamagedRecordShowsWhenItIsVerified() throws {
        var harness = try LogHarness.fresh()
        harness.log.append([ledgerEntry(1, 1, records: 5, ordinal: 0)], shard: one)
        harness.settle()
        let record = try #require(harness.disk.anatomy().entry(one, 1))
        harness.disk.flip(.segment(1), at: record.payloadOffset + 64 + 2 * 128 + 90)
        let unverified = harness.record(one, 2)
        #expect(unverified?.instruction != instruction(2) && unverified?.verified == false)
        let verified = harness.record(one, 2, verify: true)
        #expect(verified == nil)
        #expect(harness.log.holes(of: one) == [IndexRange(from: LogIndex(1), through: LogIndex(1))])
    }
}
