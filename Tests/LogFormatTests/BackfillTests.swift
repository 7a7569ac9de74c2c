import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

private let one = ShardID(1)
private let two = ShardID(2)

/// Repairs of entries below the log's start: a snapshot led past them.
@Suite struct BackfillTests {
    /// Entry `index` as it is logged everywhere: two records each, a no-op every seventh time.
    private func entry(_ index: UInt64) -> RaftEntry {
        let before = (1..<index).reduce(UInt64(0)) { $0 + ($1 % 7 == 0 ? 0 : 2) }
        if index % 7 == 0 {
            return RaftEntry(index: LogIndex(index), term: Term(1 + index / 50), kind: .noop, payload: .empty)
        }
        return ledgerEntry(index, 1 + index / 50, records: 2, ordinal: before)
    }

    /// First ordinal of an entry with records.
    private func ordinal(_ index: UInt64) -> UInt64 { (1..<index).reduce(UInt64(0)) { $0 + ($1 % 7 == 0 ? 0 : 2) } }

    /// Entries 1 to 20 are here; a snapshot after entry 100 came, and entries 101 to `last` after it.
    private func behindSnapshot(
        seed: UInt64 = 1, last: UInt64 = 120, segmentBytes: Int = 64 << 10
    ) throws -> LogHarness {
        var harness = try LogHarness.fresh(seed: seed, segmentBytes: segmentBytes)
        harness.log.append((1...20).map { entry($0) }, shard: one)
        harness.log.appendHardState(HardState(term: Term(3), vote: nil, commit: LogIndex(20)), shard: one)
        harness.settle()
        harness.log.appendLogStart(
            shard: one, index: LogIndex(100), term: entry(100).term, membership: LogHarness.membership)
        harness.settle()
        if last > 100 { harness.log.append((101...last).map { entry($0) }, shard: one) }
        harness.settle()
        harness.events = []
        return harness
    }

    private func missing(_ harness: LogHarness, from: UInt64 = 1) -> [IndexRange] {
        harness.log.missing(of: one, from: LogIndex(from))
    }

    private func range(_ from: UInt64, _ through: UInt64) -> IndexRange {
        IndexRange(from: LogIndex(from), through: LogIndex(through))
    }

    private func backfill(_ harness: inout LogHarness, _ indexes: ClosedRange<UInt64>) {
        harness.log.appendRepair(indexes.map { entry($0) }, shard: one)
        harness.settle()
    }

    /// Every entry and every record of the range can be read back.
    private func expectReadable(
        _ harness: inout LogHarness, _ indexes: ClosedRange<UInt64>,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let found = harness.readAll(one, from: LogIndex(indexes.lowerBound), through: LogIndex(indexes.upperBound))
        #expect(found == indexes.map { entry($0) }, sourceLocation: sourceLocation)
        for index in indexes where index % 7 != 0 {
            for slot in 0..<2 {
                let record = harness.record(one, ordinal(index) + UInt64(slot), verify: slot == 1)
                #expect(
                    record?.index == LogIndex(index) && record?.slot == slot
                        && record?.instruction == instruction(ordinal(index) + UInt64(slot)),
                    "entry \(index), record \(slot): \(record as Any)", sourceLocation: sourceLocation)
            }
        }
    }

    @Test func whatASnapshotLedPastIsMissingUntilItIsWritten() throws {
        var harness = try behindSnapshot()
        #expect(missing(harness) == [range(21, 100)] && missing(harness, from: 50) == [range(50, 100)])
        #expect(harness.log.firstReadable(of: one, from: LogIndex(21)) == LogIndex(101))
        backfill(&harness, 50...70)
        #expect(missing(harness) == [range(21, 49), range(71, 100)])
        backfill(&harness, 21...49)
        backfill(&harness, 71...100)
        #expect(missing(harness).isEmpty)
        expectReadable(&harness, 1...120)
        // The log itself is where it was.
        #expect(harness.log.start(of: one).index == LogIndex(100) && harness.log.lastIndex(of: one) == LogIndex(120))
        #expect(harness.log.holes(of: one).isEmpty)
    }

    @Test func aRestartInTheMiddleFindsWhatWasWritten() throws {
        var harness = try behindSnapshot()
        backfill(&harness, 21...60)
        var recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(100) && recovered.raft.lastIndex == LogIndex(120))
        #expect(recovered.raft.fence.isEmpty && recovered.holes.isEmpty && recovered.firstReadable == LogIndex(1))
        #expect(missing(harness) == [range(61, 100)])
        expectReadable(&harness, 1...60)
        backfill(&harness, 61...100)
        harness.log.append((121...140).map { entry($0) }, shard: one)
        harness.settle()
        recovered = try harness.recovered(one)
        #expect(recovered.raft.lastIndex == LogIndex(140) && recovered.raft.fence.isEmpty)
        #expect(missing(harness).isEmpty)
        expectReadable(&harness, 1...140)
    }

    @Test func sealedSegmentsAreFoundThroughTheirTables() throws {
        var harness = try behindSnapshot()
        // In pieces, with much else between them: spread over many segments, all but the last sealed.
        for from in stride(from: UInt64(21), through: 91, by: 10) {
            backfill(&harness, from...from + 9)
            for _ in 0..<40 {
                harness.log.append([sample(harness.log.lastIndex(of: two).rawValue + 1, 1, bytes: 1_500)], shard: two)
            }
            harness.settle()
        }
        #expect(harness.disk.segmentNumbers.count > 5)
        expectReadable(&harness, 1...120)
        harness.recover()
        #expect(missing(harness).isEmpty)
        expectReadable(&harness, 1...120)
    }

    @Test(arguments: UInt64(1)...40)
    func aPowerCutAtAnyStepLosesNothingButWhatWasUnderWay(seed: UInt64) throws {
        var harness = try behindSnapshot(seed: seed)
        var next: UInt64 = 21
        while next <= 100 {
            let through = min(100, next + harness.random.below(12))
            harness.log.appendRepair((next...through).map { entry($0) }, shard: one)
            next = through + 1
            harness.log.flush(&harness.ops)
            for _ in 0..<harness.random.below(6) where !harness.isIdle {
                harness.step()
                harness.log.flush(&harness.ops)
            }
        }
        harness.disk.crash(&harness.random)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(100) && recovered.raft.lastIndex == LogIndex(120))
        #expect(recovered.raft.fence.isEmpty && recovered.holes.isEmpty)
        for gap in missing(harness) { backfill(&harness, gap.from.rawValue...gap.through.rawValue) }
        #expect(missing(harness).isEmpty)
        expectReadable(&harness, 1...120)
    }

    @Test(arguments: [false, true])
    func aDamagedOneIsMissingAgain(isSealed: Bool) throws {
        var harness = try behindSnapshot(segmentBytes: isSealed ? 64 << 10 : 256 << 10)
        backfill(&harness, 21...100)
        harness.log.append([entry(121)], shard: one)
        harness.settle()
        if isSealed {
            for i in 1...60 { harness.log.append([sample(UInt64(i), 1, bytes: 1_500)], shard: two) }
            harness.settle()
        }
        let record = try #require(
            harness.disk.segmentNumbers.lazy.compactMap { number in
                harness.disk.anatomy(number).records.first { $0.kind == 5 && $0.index == 44 }.map { (number, $0) }
            }.first)
        harness.disk.flip(.segment(record.0), at: record.1.payloadOffset + 100)
        let recovered = try harness.recovered(one)
        #expect(recovered.holes.isEmpty && recovered.raft.holeIndex == nil && recovered.raft.lastIndex == LogIndex(121))
        if isSealed {
            // Payloads of sealed segments are not read at the start.
            #expect(harness.record(one, ordinal(44), verify: true) == nil)
        }
        #expect(missing(harness) == [range(44, 44)])
        expectReadable(&harness, 1...43)
        expectReadable(&harness, 45...121)
        backfill(&harness, 44...44)
        #expect(missing(harness).isEmpty)
        expectReadable(&harness, 1...121)
        harness.recover()
        expectReadable(&harness, 1...121)
    }

    @Test func aRepairedEntryIsFoundByItsRecordsToo() throws {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        harness.log.append((1...40).map { entry($0) }, shard: one)
        harness.settle()
        harness.log.append([entry(41)], shard: one)
        harness.settle()
        let record = try #require(harness.disk.anatomy().entry(one, 20))
        harness.disk.flip(.segment(1), at: record.payloadOffset + 100)
        _ = try harness.recovered(one)
        #expect(harness.log.holes(of: one) == [range(20, 20)])
        harness.log.appendRepair([entry(20)], shard: one)
        harness.settle()
        expectReadable(&harness, 1...41)
    }

    @Test func theySpillOverANewSnapshotOnlyWhereTheyWereCommittedHere() throws {
        var harness = try behindSnapshot(last: 100)
        backfill(&harness, 21...100)
        harness.log.appendHardState(HardState(term: Term(3), vote: nil, commit: LogIndex(100)), shard: one)
        harness.settle()
        // A later snapshot, past the log's end.
        harness.log.appendLogStart(
            shard: one, index: LogIndex(200), term: entry(200).term, membership: LogHarness.membership)
        harness.settle()
        #expect(missing(harness) == [range(101, 200)])
        harness.recover()
        #expect(missing(harness) == [range(101, 200)])
        expectReadable(&harness, 1...100)
        backfill(&harness, 101...200)
        expectReadable(&harness, 1...200)
    }

    @Test func theyGoWithTheirSegmentsWhenNothingRetainsThem() throws {
        var harness = try behindSnapshot()
        backfill(&harness, 21...100)
        for i in 121...300 {
            harness.log.append([entry(UInt64(i))], shard: one)
            harness.log.append([sample(UInt64(i) - 120, 1, bytes: 1_500)], shard: two)
            harness.settle()
        }
        let backfilled = harness.disk.segmentNumbers.filter { number in
            harness.disk.anatomy(number).records.contains { $0.kind == 5 }
        }
        for (ones, twos) in [(250, 130), (260, 140)] as [(UInt64, UInt64)] {
            for (shard, at) in [(one, ones), (two, twos)] {
                harness.log.writeCheckpoint(
                    shard: shard, index: LogIndex(at), term: harness.log.term(of: shard, at: LogIndex(at))!,
                    membership: LogHarness.membership, content: CheckpointContent(state: Slab([1]), index: [Slab([2])]),
                    ops: &harness.ops)
                harness.settle()
            }
        }
        func expire(_ from: UInt64, _ harness: inout LogHarness) {
            harness.log.expire(
                retained: [(one, LogIndex(from)), (two, LogIndex(100)), (ShardID(0), LogIndex(1))],
                ops: &harness.ops, events: &harness.events)
            harness.settle()
        }
        expire(30, &harness)
        #expect(backfilled.allSatisfy { harness.disk.segmentNumbers.contains($0) }, "their day is retained")
        expire(200, &harness)
        #expect(!backfilled.isEmpty && backfilled.allSatisfy { !harness.disk.segmentNumbers.contains($0) })
        #expect(missing(harness, from: 200).isEmpty)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.fence.isEmpty && recovered.raft.lastIndex == LogIndex(300))
        expectReadable(&harness, 200...300)
    }
}
