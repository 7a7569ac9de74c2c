import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

private let one = ShardID(1)

/// Checkpoint files: durable or not there at all, in chains, and what the log makes of them.
@Suite struct CheckpointTests {
    private func slab(_ text: String, repeated count: Int = 1) -> Slab {
        Slab(Array(String(repeating: text, count: count).utf8))
    }

    private func withEntries(_ count: UInt64) throws -> LogHarness {
        var harness = try LogHarness.fresh()
        for i in 1...count { harness.log.append([sample(i, 1)], shard: one) }
        harness.settle()
        return harness
    }

    private func write(_ index: UInt64, _ harness: inout LogHarness, alone: Bool = false, term: UInt64 = 1) {
        harness.log.writeCheckpoint(
            shard: one, index: LogIndex(index), term: Term(term), membership: LogHarness.membership,
            content: CheckpointContent(
                state: slab("state \(index) ", repeated: 900), index: [slab("del"), slab("ta \(index)")]),
            standsAlone: alone,
            ops: &harness.ops)
        harness.settle()
    }

    private func load(_ harness: inout LogHarness) -> LoadedCheckpoint? {
        harness.log.loadCheckpoint(shard: one, ops: &harness.ops, events: &harness.events)
        harness.settle()
        for case .checkpointLoaded(one, let loaded) in harness.events { return loaded }
        return nil
    }

    private func text(_ slab: Slab) -> String { String(decoding: Array(slab.bytes), as: UTF8.self) }

    @Test func aChainIsRestoredOldestDeltaFirst() throws {
        var harness = try withEntries(40)
        for index in [10, 20, 30] as [UInt64] { write(index, &harness) }
        #expect(harness.events.contains { if case .checkpointDurable(one, LogIndex(30)) = $0 { true } else { false } })
        let recovered = harness.recover()?.first { $0.shard == one }
        #expect(recovered?.checkpoints.map(\.index) == [30, 20, 10].map { LogIndex($0) })
        #expect(recovered?.checkpoints.map(\.previous) == [LogIndex(20), LogIndex(10), nil])
        #expect(recovered?.raft.hardState.commit == LogIndex(30), "a checkpoint holds committed entries only")
        let result = load(&harness)
        let loaded = try #require(result)
        #expect(text(loaded.state).hasPrefix("state 30"))
        #expect(loaded.deltas.map(text) == ["delta 10", "delta 20", "delta 30"])
        #expect(loaded.info.membership == LogHarness.membership)
    }

    @Test func aCheckpointThatStandsAloneEndsTheChainBelow() throws {
        var harness = try withEntries(50)
        for index in [10, 20] as [UInt64] { write(index, &harness) }
        write(30, &harness, alone: true)
        write(40, &harness)
        let result = load(&harness)
        let loaded = try #require(result)
        #expect(loaded.deltas.map(text) == ["delta 30", "delta 40"])
        // The newest two chains need no more than these.
        #expect(harness.log.checkpoints(of: one).map(\.index) == [40, 30].map { LogIndex($0) })
        #expect(!harness.disk.exists(.checkpoint(one, LogIndex(10))))
    }

    @Test func aDamagedSectionFallsBackToTheOneBefore() throws {
        var harness = try withEntries(40)
        for index in [10, 20, 30] as [UInt64] { write(index, &harness) }
        harness.disk.flip(.checkpoint(one, LogIndex(30)), at: 4_096 + 77)
        harness.recover()
        harness.events = []
        let result = load(&harness)
        let loaded = try #require(result)
        #expect(loaded.info.index == LogIndex(20))
        #expect(harness.events.contains { if case .checkpointDamaged(one, LogIndex(30)) = $0 { true } else { false } })
        // The next one continues the one that was restored.
        write(35, &harness)
        harness.recover()
        harness.events = []
        #expect(load(&harness)?.deltas.map(text) == ["delta 10", "delta 20", "delta 35"])
    }

    @Test func aDamagedDeltaTakesEverythingThatContinuesIt() throws {
        var harness = try withEntries(40)
        for index in [10, 20, 30] as [UInt64] { write(index, &harness) }
        let file = FileName.checkpoint(one, LogIndex(20))
        harness.disk.flip(file, at: harness.disk.bytes(file).count - 3)
        harness.recover()
        harness.events = []
        let result = load(&harness)
        let loaded = try #require(result)
        #expect(loaded.info.index == LogIndex(10))
        #expect(text(loaded.state).hasPrefix("state 10"))
        // Found as seed 4573: what nobody can restore from must not stand in the way of a leader's snapshot.
        #expect(harness.log.checkpoints(of: one).map(\.index) == [LogIndex(10)])
    }

    @Test func aDamagedHeaderIsReported() throws {
        var harness = try withEntries(40)
        for index in [10, 20] as [UInt64] { write(index, &harness) }
        harness.disk.flip(.checkpoint(one, LogIndex(20)), at: 40)
        let recovered = harness.recover()?.first { $0.shard == one }
        #expect(recovered?.checkpoints.map(\.index) == [LogIndex(10)])
        #expect(harness.events.contains { if case .checkpointDamaged(one, LogIndex(20)) = $0 { true } else { false } })
    }

    /// The power fails after every single operation of a checkpoint: the old one or the new one is there, whole.
    @Test(arguments: 0..<14)
    func aCrashAtAnyStepLeavesTheOldOrTheNewOne(steps: Int) throws {
        for seed in 1...8 {
            var harness = try withEntries(40)
            write(10, &harness)
            harness.events = []
            harness.log.writeCheckpoint(
                shard: one, index: LogIndex(20), term: Term(1), membership: LogHarness.membership,
                content: CheckpointContent(state: slab("state 20 ", repeated: 900), index: [slab("delta 20")]),
                ops: &harness.ops)
            for _ in 0..<steps { harness.step() }
            let said = harness.events.contains { if case .checkpointDurable = $0 { true } else { false } }
            var random = SeededRandom(seed: UInt64(seed * 100 + steps))
            harness.disk.crash(&random)
            harness.recover()
            harness.events = []
            let result = load(&harness)
            let loaded = try #require(result)
            #expect(loaded.info.index == LogIndex(20) || !said && loaded.info.index == LogIndex(10))
            #expect(text(loaded.state) == String(repeating: "state \(loaded.info.index) ", count: 900))
            #expect(!harness.disk.exists(.checkpointTemporary(one)))
        }
    }

    @Test func aFailedWriteLeavesTheOldOne() throws {
        var harness = try withEntries(40)
        write(10, &harness)
        harness.disk.fault = { kind in
            if case .write(.checkpointTemporary, _, _) = kind { return DiskError(code: 28, message: "full") }
            return nil
        }
        harness.events = []
        write(20, &harness)
        #expect(
            harness.events.contains { if case .checkpointFailed(one, LogIndex(20), _) = $0 { true } else { false } })
        harness.disk.fault = nil
        #expect(load(&harness)?.info.index == LogIndex(10))
        write(21, &harness)
        harness.events = []
        #expect(load(&harness)?.info.index == LogIndex(21))
    }

    @Test func aCheckpointAboveTheLogReplacesIt() throws {
        var harness = try withEntries(5)
        write(9, &harness)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(9) && recovered.raft.lastIndex == LogIndex(9))
        #expect(recovered.raft.membership == LogHarness.membership)
        harness.log.append([sample(10, 1)], shard: one)
        harness.settle()
        let again = try harness.recovered(one)
        #expect(again.raft.lastIndex == LogIndex(10) && again.raft.fence.isEmpty)
    }

    @Test func aHoleBelowACheckpointFencesNothing() throws {
        var harness = try withEntries(20)
        write(10, &harness)
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        let record = try #require(harness.disk.anatomy().entry(one, 6))
        harness.disk.flip(.segment(1), at: record.payloadOffset)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.fence.isEmpty)
        #expect(recovered.raft.snapshotIndex == LogIndex(10) && recovered.raft.lastIndex == LogIndex(20))
        let after = harness.readAll(one, from: LogIndex(11), through: LogIndex(20))
        #expect(after == (11...20).map { sample($0, 1) })
        let before = harness.readAll(one, from: LogIndex(1), through: LogIndex(5))
        #expect(before == (1...5).map { sample($0, 1) })
    }

    /// A crash came between a snapshot's checkpoint and the hard state of its term: nobody was told anything in that term.
    @Test func aCheckpointOfALaterTermThanTheHardStatesBringsItsTerm() throws {
        var harness = try withEntries(5)
        harness.log.appendHardState(HardState(term: Term(1), vote: nil, commit: .zero), shard: one)
        harness.settle()
        write(9, &harness, alone: true, term: 5)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(9) && recovered.raft.hardState.term == Term(5))
        let raft = RaftReplica(
            group: one, me: ReplicaID(node: NodeID(1), incarnation: Incarnation(1)), recovered: recovered.raft,
            preferred: nil, seed: 1, now: MonotonicTime(1))
        #expect(raft.term == Term(5) && raft.fence.isEmpty)
    }

    /// The log of an old leader, 5 to 10 of term 3 and never committed; 5 is damaged.
    private func uncommittedTail(damaged: [UInt64], checkpoint: UInt64, term: UInt64) throws -> LogHarness {
        var harness = try withEntries(4)
        harness.log.appendHardState(HardState(term: Term(3), vote: nil, commit: LogIndex(4)), shard: one)
        harness.log.append((5...10).map { sample($0, 3) }, shard: one)
        harness.settle()
        write(checkpoint, &harness, alone: true, term: term)
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        for index in damaged {
            let record = try #require(harness.disk.anatomy().entry(one, index))
            harness.disk.flip(.segment(1), at: record.payloadOffset)
        }
        return harness
    }

    @Test func aSnapshotBehindAHoleReplacesALogThatHasAnotherEntryThere() throws {
        var harness = try uncommittedTail(damaged: [5], checkpoint: 8, term: 5)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(8) && recovered.raft.snapshotTerm == Term(5))
        #expect(recovered.raft.lastIndex == LogIndex(8), "9 and 10 follow another entry 8")
        #expect(harness.readAll(one, from: LogIndex(6), through: LogIndex(7)) == nil, "they never were committed")
        _ = try harness.recovered(one)
        #expect(harness.readAll(one, from: LogIndex(6), through: LogIndex(7)) == nil, "nor since")
        #expect(harness.readAll(one, from: LogIndex(1), through: LogIndex(4)) == (1...4).map { sample($0, 1) })
    }

    /// The entry itself cannot be read; what follows names its term.
    @Test func aSnapshotAtTheEndOfAHoleReplacesALogThatHasAnotherEntryThere() throws {
        var harness = try uncommittedTail(damaged: [8], checkpoint: 8, term: 5)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotTerm == Term(5) && recovered.raft.lastIndex == LogIndex(8))
    }

    @Test func aSnapshotThatEndsInAHoleVouchesForNothingInFrontOfIt() throws {
        var harness = try uncommittedTail(damaged: [7, 8, 9], checkpoint: 8, term: 5)
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(8) && recovered.raft.lastIndex == LogIndex(10))
        #expect(recovered.holes == [IndexRange(from: LogIndex(9), through: LogIndex(9))])
        #expect(recovered.raft.guessed == [LogIndex(9)..<LogIndex(10)])
        #expect(harness.readAll(one, from: LogIndex(5), through: LogIndex(6)) == nil)
        _ = try harness.recovered(one)
        #expect(harness.readAll(one, from: LogIndex(5), through: LogIndex(6)) == nil)
    }

    @Test func whatASnapshotAheadOfTheLogVoidedStaysVoid() throws {
        var harness = try uncommittedTail(damaged: [], checkpoint: 30, term: 5)
        for _ in 0..<3 {
            let recovered = try harness.recovered(one)
            #expect(recovered.raft.snapshotIndex == LogIndex(30) && recovered.raft.hardState.commit == LogIndex(30))
            #expect(harness.readAll(one, from: LogIndex(5), through: LogIndex(6)) == nil)
            #expect(harness.readAll(one, from: LogIndex(1), through: LogIndex(4)) == (1...4).map { sample($0, 1) })
        }
    }

    @Test func aSnapshotReplacesALogThatDiffers() throws {
        var harness = try withEntries(20)
        write(30, &harness, alone: true)
        harness.log.appendLogStart(
            shard: one, index: LogIndex(30), term: Term(4), membership: LogHarness.membership)
        harness.log.append([sample(31, 4)], shard: one)
        harness.settle()
        let recovered = try harness.recovered(one)
        #expect(recovered.raft.snapshotIndex == LogIndex(30) && recovered.raft.snapshotTerm == Term(4))
        #expect(recovered.raft.lastIndex == LogIndex(31) && recovered.raft.fence.isEmpty)
    }
}
