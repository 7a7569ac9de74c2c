import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

private let one = ShardID(1)

/// Whose directory it is, how full the disk is, and what goes when.
@Suite struct DirectoryTests {
    @Test func namesReadBackAsTheyAreWritten() {
        let names: [FileName] = [
            .identity, .identityTemporary, .segment(42), .spareSegment, .checkpoint(ShardID(7), LogIndex(99)),
            .checkpointTemporary(ShardID(256)), .snapshotIncoming(ShardID(3), LogIndex(12)),
        ]
        for name in names { #expect(FileName(name.description) == name) }
        for text in [
            "", "segment-1.log", "segment-00000000x1.log", "lost+found", "identity.new.new", "checkpoint-00001.state",
        ] {
            #expect(FileName(text) == nil)
        }
    }

    @Test func anotherClustersDirectoryIsRefused() throws {
        var harness = try LogHarness.fresh()
        let other = ClusterID(high: 1, low: 2)
        harness.reopen(cluster: other)
        harness.settle()
        #expect(
            harness.events.refusal
                == .foreignCluster(found: LogHarness.cluster, configured: other, file: .identity))
        #expect("\(harness.events.refusal!)".contains("point the node at its own data directory"))
    }

    @Test func anotherNodesOrIncarnationsDirectoryIsRefused() throws {
        var harness = try LogHarness.fresh()
        harness.reopen(me: ReplicaID(node: NodeID(4), incarnation: Incarnation(1)))
        harness.settle()
        #expect(harness.events.refusal == .otherNode(found: NodeID(3), configured: NodeID(4), file: .identity))
        harness.reopen(me: ReplicaID(node: NodeID(3), incarnation: Incarnation(2)))
        harness.settle()
        #expect(
            harness.events.refusal
                == .otherIncarnation(found: Incarnation(1), configured: Incarnation(2), file: .identity))
        #expect("\(harness.events.refusal!)".contains("rejoin as a new incarnation"))
    }

    @Test func theSegmentsSpeakWhereTheIdentityIsLost() throws {
        var harness = try LogHarness.fresh()
        harness.disk.delete(.identity)
        harness.reopen(me: ReplicaID(node: NodeID(3), incarnation: Incarnation(2)))
        harness.settle()
        #expect(
            harness.events.refusal
                == .otherIncarnation(found: Incarnation(1), configured: Incarnation(2), file: .segment(1)))
    }

    @Test func segmentsThatAreGoneAreNotTakenForANewNode() throws {
        var harness = try LogHarness.fresh()
        harness.disk.delete(.segment(1))
        harness.disk.delete(.spareSegment)
        let recovered = harness.recover()
        #expect(recovered == nil && harness.events.refusal == .segmentsMissing(Incarnation(1)))
    }

    @Test func aNewDirectoryIsEmptyAndOnlyThen() throws {
        var harness = LogHarness()
        let result = harness.recover()
        let recovered = try #require(result)
        #expect(harness.log.wasEmpty)
        #expect(recovered.map(\.shard) == LogHarness.shards)
        #expect(recovered.allSatisfy { $0.raft.lastIndex == .zero && $0.raft.membership == .empty })
        harness.recover()
        #expect(!harness.log.wasEmpty)
    }

    @Test(arguments: 0..<24)
    func aCrashInTheFirstStartIsNoLoss(steps: Int) throws {
        for seed in 1...6 {
            var harness = LogHarness(seed: UInt64(seed))
            harness.reopen()
            for _ in 0..<steps { harness.step() }
            var random = SeededRandom(seed: UInt64(seed + 100 * steps))
            harness.disk.crash(&random)
            let recovered = harness.recover()
            #expect(recovered != nil, "\(harness.events)")
        }
    }

    @Test func aFullDiskIsSaidOnceAndWhatIsStagedIsStillWritten() throws {
        var harness = try LogHarness.fresh(segmentBytes: 128 << 10)
        harness.disk.freeBytes = 100_000
        harness.log.checkFreeSpace(&harness.ops)
        harness.settle()
        harness.log.checkFreeSpace(&harness.ops)
        harness.settle()
        let full = harness.events.filter { if case .diskFull = $0 { true } else { false } }
        #expect(full.count == 1 && harness.log.isDiskFull)
        let staged = harness.log.append([sample(1, 1, bytes: 20_000)], shard: one)
        harness.settle()
        #expect(harness.events.durableThrough == staged)
        harness.disk.freeBytes = 1 << 30
        harness.log.checkFreeSpace(&harness.ops)
        harness.settle()
        #expect(!harness.log.isDiskFull)
        #expect(harness.events.contains { if case .diskRecovered = $0 { true } else { false } })
    }

    @Test func aSegmentThatFindsNoSpaceIsMadeLater() throws {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        harness.disk.freeBytes = 1_000
        var last = LogSequence.zero
        // More than the segment and its spare hold.
        for i in 1...60 {
            last = harness.log.append([sample(UInt64(i), 1, bytes: 3_000)], shard: one)
            harness.settle()
        }
        #expect(harness.log.isDiskFull && harness.log.syncedThrough < last && harness.log.unsyncedBytes > 0)
        harness.disk.freeBytes = 1 << 30
        harness.log.checkFreeSpace(&harness.ops)
        harness.settle()
        harness.log.checkFreeSpace(&harness.ops)
        harness.settle()
        #expect(harness.log.syncedThrough == last && !harness.log.isDiskFull && harness.log.unsyncedBytes == 0)
    }

    @Test func aFailedSyncEndsTheLog() throws {
        var harness = try LogHarness.fresh()
        harness.log.append([sample(1, 1)], shard: one)
        harness.disk.fault = { if case .sync(.segment) = $0 { DiskError(code: 5, message: "I/O error") } else { nil } }
        harness.settle()
        #expect(harness.events.contains { if case .failed = $0 { true } else { false } })
        #expect(harness.events.durableThrough == nil)
    }

    @Test func oneClosingMarkIsWrittenWhenIdle() throws {
        var harness = try LogHarness.fresh()
        harness.log.append([sample(1, 1)], shard: one)
        harness.settle()
        let before = harness.disk.anatomy().groups.count
        for _ in 0..<3 {
            harness.log.closeIdle(&harness.ops)
            harness.settle()
        }
        let groups = harness.disk.anatomy().groups
        #expect(groups.count == before + 1)
        #expect(groups.last?.flags == 1 && groups.last?.records.isEmpty == true)
    }

    @Test func aSegmentGoesOnlyWhenNothingNeedsIt() throws {
        var harness = try LogHarness.fresh(segmentBytes: 64 << 10)
        let two = ShardID(2)
        for i in 1...200 {
            harness.log.append([sample(UInt64(i), 1 + UInt64(i) / 100, bytes: 1_000)], shard: one)
            if i % 20 == 1 { harness.log.append([sample(UInt64(i) / 20 + 1, 1)], shard: two) }
            harness.settle()
        }
        let all = harness.disk.segmentNumbers
        func expire(_ one: UInt64, _ twoFrom: UInt64, _ harness: inout LogHarness) {
            harness.log.expire(
                retained: [(ShardID(1), LogIndex(one)), (two, LogIndex(twoFrom)), (ShardID(0), LogIndex(1))],
                ops: &harness.ops, events: &harness.events)
            harness.settle()
        }
        expire(150, 100, &harness)
        #expect(harness.disk.segmentNumbers == all, "no checkpoints yet")
        for (index, twoIndex) in [(120, 6), (160, 8)] as [(UInt64, UInt64)] {
            for (shard, at) in [(one, index), (two, twoIndex)] {
                harness.log.writeCheckpoint(
                    shard: shard, index: LogIndex(at), term: harness.log.term(of: shard, at: LogIndex(at))!,
                    membership: LogHarness.membership, content: CheckpointContent(state: Slab([1]), index: [Slab([2])]),
                    ops: &harness.ops)
                harness.settle()
            }
        }
        expire(150, 1, &harness)
        #expect(harness.disk.segmentNumbers == all, "shard 2 still wants its first entries")
        expire(150, 100, &harness)
        let left = harness.disk.segmentNumbers
        #expect(left.count < all.count && left == Array(all.suffix(left.count)))
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.fence.isEmpty && recovered.holes.isEmpty)
        #expect(recovered.raft.snapshotIndex > .zero && recovered.raft.snapshotIndex <= LogIndex(120))
        #expect(recovered.raft.membership == LogHarness.membership)
        let rest = harness.readAll(one, from: recovered.raft.snapshotIndex.next, through: LogIndex(200))
        #expect(
            rest == (recovered.raft.snapshotIndex.rawValue + 1...200).map { sample($0, 1 + $0 / 100, bytes: 1_000) })
        harness.log.read(
            shard: one, from: LogIndex(1), maxBytes: 100, token: 9, ops: &harness.ops, events: &harness.events)
        #expect(harness.events.contains { if case .readFailed(9, .notFound) = $0 { true } else { false } })
    }
}
