import ClearingModel
import LogFormat
import Raft
import Testing
import Wire

private let one = ShardID(1)
private let two = ShardID(2)

/// Damage to the active segment: what was durable once is a hole, what never was is cut.
@Suite struct CorruptionTests {
    /// Ten groups, each with an entry of shards 1 and 2, and a closing mark.
    private func tenGroups(closing: Bool = true) throws -> LogHarness {
        var harness = try LogHarness.fresh()
        for i in 1...10 {
            harness.log.append([sample(UInt64(i), 1)], shard: one)
            harness.log.append([sample(UInt64(i), 1, salt: 5)], shard: two)
            harness.settle()
        }
        if closing {
            harness.log.closeIdle(&harness.ops)
            harness.settle()
        }
        harness.events = []
        return harness
    }

    private func expectWhole(
        _ harness: inout LogHarness, _ shard: ShardID, salt: UInt64 = 0, through last: UInt64 = 10,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let entries = harness.readAll(shard, from: LogIndex(1), through: LogIndex(last))
        #expect(
            entries == (1...last).map { sample($0, 1, salt: salt) }, sourceLocation: sourceLocation)
    }

    private func shard(_ id: ShardID, _ recovered: [RecoveredShard]?) throws -> RecoveredShard {
        try #require(recovered?.first { $0.shard == id })
    }

    @Test func aFlippedPayloadIsAHoleOfThatEntryAlone() throws {
        var harness = try tenGroups()
        let record = try #require(harness.disk.anatomy().entry(one, 4))
        harness.disk.flip(.segment(1), at: record.payloadOffset + 10)
        let recovered = harness.recover()
        let damaged = try shard(one, recovered)
        #expect(damaged.holes == [IndexRange(from: LogIndex(4), through: LogIndex(4))])
        #expect(damaged.raft.fence == .noCampaign && damaged.raft.holeIndex == LogIndex(4))
        #expect(damaged.raft.lastIndex == LogIndex(10))
        #expect(harness.events.damaged.count == 1)
        #expect(try shard(two, recovered).raft.fence.isEmpty)
        expectWhole(&harness, two, salt: 5)
    }

    @Test func aRepairDoesNotHideAHoleThatWasFoundMeanwhile() throws {
        var harness = try tenGroups()
        let anatomy = harness.disk.anatomy()
        harness.disk.flip(.segment(1), at: try #require(anatomy.entry(one, 4)).payloadOffset)
        harness.recover()
        harness.log.appendRepair([sample(4, 1)], shard: one)
        harness.log.flush(&harness.ops)
        let repair = harness.ops
        harness.ops = []
        harness.disk.flip(.segment(1), at: try #require(anatomy.entry(one, 6)).payloadOffset)
        let unreadable = harness.readAll(one, from: LogIndex(6), through: LogIndex(6))
        #expect(unreadable == nil)
        #expect(harness.log.holes(of: one) == [IndexRange(from: LogIndex(6), through: LogIndex(6))])
        func isFilled() -> Bool {
            harness.events.contains { if case .holesFilled(one) = $0 { true } else { false } }
        }
        harness.ops = repair
        harness.settle()
        #expect(!isFilled())
        harness.log.appendRepair([sample(6, 1)], shard: one)
        harness.settle()
        #expect(isFilled() && harness.log.holes(of: one).isEmpty)
        expectWhole(&harness, one)
    }

    @Test func whatAStagedTruncationMakesVoidIsNotRepaired() throws {
        var harness = try tenGroups()
        for index in [4, 8] {
            let record = try #require(harness.disk.anatomy().entry(one, UInt64(index)))
            harness.disk.flip(.segment(1), at: record.payloadOffset)
        }
        harness.recover()
        harness.log.appendTruncate(shard: one, from: LogIndex(7), term: Term(2))
        let wanted = harness.log.wanted([sample(3, 1), sample(4, 1), sample(8, 1)], of: one)
        try #require(wanted == [sample(4, 1)])
        harness.log.appendRepair(wanted, shard: one)
        harness.settle()
        #expect(harness.log.holes(of: one).isEmpty)
        expectWhole(&harness, one, through: 6)
    }

    @Test func whatStandsStagedAnewIsNotRepaired() throws {
        var harness = try tenGroups()
        let record = try #require(harness.disk.anatomy().entry(one, 8))
        harness.disk.flip(.segment(1), at: record.payloadOffset)
        harness.recover()
        harness.log.appendTruncate(shard: one, from: LogIndex(7), term: Term(2))
        harness.log.append([sample(7, 2), sample(8, 2)], shard: one)
        // A late answer about the hole, from a peer that knows of a later leader.
        #expect(harness.log.wanted([sample(8, 3)], of: one) == [])
        harness.log.append([sample(9, 2)], shard: one)
        harness.settle()
        #expect(harness.log.holes(of: one).isEmpty)
        #expect(harness.readAll(one, from: LogIndex(7), through: LogIndex(9)) == (7...9).map { sample($0, 2) })
    }

    @Test func whatIsStagedIsNoHole() throws {
        var harness = try LogHarness.fresh()
        harness.log.append((1...5).map { sample($0, 1) }, shard: one)
        #expect(harness.log.known(of: one).lastIndex == LogIndex(5) && harness.log.known(of: one).guessed.isEmpty)
        harness.settle()
        #expect(harness.log.known(of: one).guessed.isEmpty)
    }

    @Test func aRepairFillsTheHoleForGood() throws {
        var harness = try tenGroups()
        let record = try #require(harness.disk.anatomy().entry(one, 4))
        harness.disk.flip(.segment(1), at: record.payloadOffset)
        harness.recover()
        harness.events = []
        harness.log.appendRepair([sample(4, 1)], shard: one)
        harness.settle()
        #expect(harness.events.contains { if case .holesFilled(one) = $0 { true } else { false } })
        #expect(harness.log.lastIndex(of: one) == LogIndex(10))
        expectWhole(&harness, one)
        let again = harness.recover()
        #expect(try shard(one, again).raft.fence.isEmpty)
        expectWhole(&harness, one)
    }

    @Test func aFlippedRecordHeaderHidesOneRecord() throws {
        var harness = try tenGroups()
        let record = try #require(harness.disk.anatomy().entry(one, 4))
        harness.disk.flip(.segment(1), at: record.offset + 20)
        let recovered = harness.recover()
        #expect(try shard(one, recovered).holes == [IndexRange(from: LogIndex(4), through: LogIndex(4))])
        #expect(try shard(one, recovered).raft.fence == .noCampaign)
        #expect(try shard(one, recovered).raft.termRuns == [TermRun(firstIndex: LogIndex(1), term: Term(1))])
        #expect(try shard(two, recovered).raft.fence.isEmpty)
        #expect(try shard(ShardID(0), recovered).raft.fence.isEmpty)
    }

    @Test func aFlippedGroupHeaderHidesNothing() throws {
        var harness = try tenGroups()
        let anatomy = harness.disk.anatomy()
        let group = anatomy.group(of: try #require(anatomy.entry(one, 4)))
        harness.disk.flip(.segment(1), at: group.offset + 50)
        let recovered = harness.recover()
        for id in [one, two] { #expect(try shard(id, recovered).raft.fence.isEmpty) }
        expectWhole(&harness, one)
        expectWhole(&harness, two, salt: 5)
        #expect(try shard(ShardID(0), recovered).raft.fence.isEmpty)
    }

    @Test func aLostBlockIsAHoleInEveryShardThatHadRecordsThere() throws {
        var harness = try tenGroups()
        let anatomy = harness.disk.anatomy()
        let group = anatomy.group(of: try #require(anatomy.entry(one, 4)))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(group.offset..<group.offset + group.length, with: repeatElement(0, count: group.length))
        }
        let recovered = harness.recover()
        for id in [one, two] {
            #expect(try shard(id, recovered).holes == [IndexRange(from: LogIndex(4), through: LogIndex(4))])
            #expect(try shard(id, recovered).raft.lastIndex == LogIndex(10))
        }
    }

    @Test func theLastGroupIsTornUnlessAMarkSaysThatItWasDurable() throws {
        for closing in [false, true] {
            var harness = try tenGroups(closing: closing)
            let record = try #require(harness.disk.anatomy().entry(one, 10))
            harness.disk.flip(.segment(1), at: record.payloadOffset + 1)
            let recovered = harness.recover()
            let found = try shard(one, recovered)
            if closing {
                #expect(found.raft.lastIndex == LogIndex(10))
                #expect(found.holes == [IndexRange(from: LogIndex(10), through: LogIndex(10))])
            } else {
                #expect(found.raft.lastIndex == LogIndex(9))
                #expect(found.raft.fence.isEmpty)
                #expect(try shard(two, recovered).raft.lastIndex == LogIndex(9))
            }
        }
    }

    @Test func aLostTailEntryLeavesTheVoteInDoubt() throws {
        var harness = try tenGroups()
        let record = try #require(harness.disk.anatomy().entry(one, 10))
        harness.disk.flip(.segment(1), at: record.offset + 33)
        let recovered = harness.recover()
        #expect(try shard(one, recovered).raft.lastIndex == LogIndex(9))
        #expect(try shard(one, recovered).raft.fence == .noVote)
        #expect(
            try shard(two, recovered).raft.fence == .noVote, "the lost header may have been shard 2's second record")
        #expect(try shard(ShardID(0), recovered).raft.fence.isEmpty, "the group's shard set does not name it")
    }

    @Test func aLostHardStateForbidsVotesUntilToldOtherwise() throws {
        var harness = try tenGroups(closing: false)
        harness.log.appendHardState(
            HardState(term: Term(5), vote: LogHarness.me, commit: LogIndex(3)), shard: one)
        harness.settle()
        harness.log.append([sample(11, 1)], shard: one)
        harness.settle()
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        let record = try #require(harness.disk.anatomy().records.last { $0.kind == 3 })
        harness.disk.flip(.segment(1), at: record.offset + 17)
        #expect(try shard(one, harness.recover()).raft.fence == .noVote)
        // The doubt outlives a restart, though the next life opens with a hard state that is whole.
        let again = try shard(one, harness.recover())
        #expect(again.raft.fence == .noVote)
        // Nothing in the log ends it, not even that a leader of term 6 replicated and committed an entry of its term.
        harness.log.appendHardState(HardState(term: Term(6), vote: nil, commit: LogIndex(11)), shard: one)
        harness.log.append([sample(12, 6)], shard: one)
        harness.settle()
        #expect(try shard(one, harness.recover()).raft.fence == .noVote)
        harness.log.appendHardState(HardState(term: Term(6), vote: nil, commit: LogIndex(12)), shard: one)
        harness.settle()
        #expect(try shard(one, harness.recover()).raft.fence == .noVote)
        harness.log.setFence([], shard: one)
        harness.settle()
        let settled = try shard(one, harness.recover())
        #expect(settled.raft.fence.isEmpty)
        #expect(settled.raft.hardState == HardState(term: Term(6), vote: nil, commit: LogIndex(12)))
    }

    @Test func aLostTruncationIsSeenByTheTermsBehindIt() throws {
        var harness = try tenGroups(closing: false)
        harness.log.appendHardState(HardState(term: Term(1), vote: nil, commit: LogIndex(6)), shard: one)
        harness.settle()
        harness.log.appendTruncate(shard: one, from: LogIndex(9), term: Term(2))
        harness.log.append([sample(9, 2), sample(10, 2)], shard: one)
        harness.settle()
        harness.log.append([sample(11, 2)], shard: one)
        harness.settle()
        let anatomy = harness.disk.anatomy()
        let group = anatomy.group(of: try #require(anatomy.records.first { $0.kind == 2 }))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(group.offset..<group.offset + group.length, with: repeatElement(0, count: group.length))
        }
        let recovered = try shard(one, harness.recover())
        // Entries above the commit hint may be the wrong ones; 11 is the right one.
        #expect(recovered.holes == [IndexRange(from: LogIndex(7), through: LogIndex(10))])
        #expect(recovered.raft.lastIndex == LogIndex(11))
        let read = harness.readAll(one, from: LogIndex(11), through: LogIndex(11))
        #expect(read == [sample(11, 2)])
        harness.log.appendRepair([sample(7, 1), sample(8, 1), sample(9, 2), sample(10, 2)], shard: one)
        harness.settle()
        let repaired = try shard(one, harness.recover())
        #expect(repaired.raft.fence == .noVote, "the lost group may have held a hard state")
        let firstOfTwo = TermRun(firstIndex: LogIndex(9), term: Term(2))
        #expect(repaired.raft.termRuns == [TermRun(firstIndex: LogIndex(1), term: Term(1)), firstOfTwo])
        let all = harness.readAll(one, from: LogIndex(7), through: LogIndex(11))
        #expect(all == [sample(7, 1), sample(8, 1), sample(9, 2), sample(10, 2), sample(11, 2)])
    }

    @Test(arguments: [false, true], [false, true])
    func aLostTruncationThatNothingFollowsCommitsNothing(hint: Bool, sealed: Bool) throws {
        var harness = try tenGroups(closing: false)
        harness.log.appendHardState(HardState(term: Term(1), vote: nil, commit: LogIndex(6)), shard: one)
        harness.settle()
        harness.log.appendTruncate(shard: one, from: LogIndex(8), term: Term(2))
        harness.log.append([sample(8, 2)], shard: one)
        harness.settle()
        if hint {
            // A second later the commit of the new entry 8 is noted.
            harness.log.appendHardState(HardState(term: Term(2), vote: nil, commit: LogIndex(8)), shard: one)
            harness.settle()
        }
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        let anatomy = harness.disk.anatomy()
        let group = anatomy.group(of: try #require(anatomy.records.first { $0.kind == 2 }))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(group.offset..<group.offset + group.length, with: repeatElement(0, count: group.length))
        }
        for _ in 0..<2 {
            // The void entries 8 to 10 are here, and nothing in the log contradicts them.
            let recovered = try shard(one, harness.recover())
            #expect(recovered.raft.lastIndex == LogIndex(10) && recovered.holes.isEmpty)
            #expect(recovered.raft.fence == .noVote)
            #expect(recovered.raft.hardState.commit == LogIndex(6))
            #expect(recovered.raft.hardState.term == Term(hint ? 2 : 1))
            guard sealed else { continue }
            for i in 1...20 {
                let last = harness.log.lastIndex(of: two).rawValue
                harness.log.append([sample(last + 1, 1, bytes: 20_000, salt: UInt64(i))], shard: two)
                harness.settle()
            }
            #expect(harness.disk.segmentNumbers.count > 1)
        }
    }

    @Test func aCommitHintBehindTheDamageSaysNothingOfWhatStandsBefore() throws {
        var harness = try tenGroups(closing: false)
        harness.log.appendHardState(HardState(term: Term(1), vote: nil, commit: LogIndex(3)), shard: one)
        harness.settle()
        harness.log.appendTruncate(shard: one, from: LogIndex(5), term: Term(2))
        harness.log.append((5...12).map { sample($0, 2) }, shard: one)
        harness.settle()
        harness.log.appendHardState(HardState(term: Term(2), vote: nil, commit: LogIndex(12)), shard: one)
        harness.log.append([sample(13, 2)], shard: one)
        harness.settle()
        let anatomy = harness.disk.anatomy()
        let group = anatomy.group(of: try #require(anatomy.records.first { $0.kind == 2 }))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(group.offset..<group.offset + group.length, with: repeatElement(0, count: group.length))
        }
        let recovered = try shard(one, harness.recover())
        #expect(recovered.holes == [IndexRange(from: LogIndex(4), through: LogIndex(12))])
        // Nor does it when the segment is sealed and read by its table.
        for i in 1...20 {
            harness.log.append([sample(UInt64(10 + i), 1, bytes: 20_000)], shard: two)
            harness.settle()
        }
        #expect(harness.disk.segmentNumbers.count > 1)
        let again = try shard(one, harness.recover())
        #expect(again.holes == [IndexRange(from: LogIndex(4), through: LogIndex(12))])
    }

    @Test func aGroupWrittenToAnotherPlaceIsDamageThere() throws {
        var harness = try tenGroups()
        let anatomy = harness.disk.anatomy()
        let from = anatomy.group(of: try #require(anatomy.entry(one, 3)))
        let over = anatomy.group(of: try #require(anatomy.entry(one, 6)))
        let end = try #require(anatomy.groups.last)
        harness.disk.edit(.segment(1)) { bytes in
            let group = Array(bytes[from.offset..<from.offset + from.length])
            bytes.replaceSubrange(over.offset..<over.offset + group.count, with: group)
            // And once more behind the end.
            let behind = end.offset + end.length
            bytes.replaceSubrange(behind..<behind + group.count, with: group)
        }
        let recovered = try shard(one, harness.recover())
        #expect(recovered.holes == [IndexRange(from: LogIndex(6), through: LogIndex(6))])
        #expect(recovered.raft.lastIndex == LogIndex(10))
    }

    @Test func aBlockThatShowsOldDataIsDamage() throws {
        var harness = try tenGroups(closing: false)
        let before = harness.disk.bytes(.segment(1))
        let end = try #require(harness.disk.anatomy().groups.last)
        let place = end.offset + end.length
        for index in 11...13 {
            harness.log.append([sample(UInt64(index), 1)], shard: one)
            harness.settle()
        }
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(place..<place + 4_096, with: before[place..<place + 4_096])
        }
        let recovered = try shard(one, harness.recover())
        #expect(recovered.raft.lastIndex == LogIndex(13))
        #expect(recovered.holes == [IndexRange(from: LogIndex(11), through: LogIndex(11))])
    }

    @Test func aSurvivorBehindACutNeverComesBack() throws {
        var harness = try tenGroups(closing: false)
        // Two groups under way at once: the second does not know that the first is durable.
        harness.log.append([sample(11, 1, bytes: 100)], shard: one)
        harness.log.flush(&harness.ops)
        harness.log.append([sample(12, 1, bytes: 100)], shard: one)
        harness.log.flush(&harness.ops)
        while harness.step() {}
        let anatomy = harness.disk.anatomy()
        let lost = anatomy.group(of: try #require(anatomy.entry(one, 11)))
        let survivor = anatomy.group(of: try #require(anatomy.entry(one, 12)))
        #expect(survivor.synced <= 1 << 32 + UInt64(lost.offset))
        harness.disk.edit(.segment(1)) {
            $0.replaceSubrange(lost.offset..<lost.offset + lost.length, with: repeatElement(0, count: lost.length))
        }
        let recovered = try shard(one, harness.recover())
        #expect(recovered.raft.lastIndex == LogIndex(10))
        #expect(recovered.raft.fence.isEmpty)
        // The new life's first group has the size of the lost one: the survivor stands right behind it.
        let now = harness.disk.anatomy()
        #expect(now.groups.contains { $0.offset == survivor.offset })
        let again = try shard(one, harness.recover())
        #expect(again.raft.lastIndex == LogIndex(10))
        #expect(again.raft.fence.isEmpty)
        // Nor when the new life's group is damaged in its turn.
        harness.disk.flip(.segment(1), at: lost.offset + 8)
        let third = try shard(one, harness.recover())
        #expect(third.raft.lastIndex == LogIndex(10))
        harness.log.append([sample(11, 2)], shard: one)
        harness.settle()
        let fourth = try shard(one, harness.recover())
        #expect(fourth.raft.lastIndex == LogIndex(11))
        let read = harness.readAll(one, from: LogIndex(11), through: LogIndex(11))
        #expect(read == [sample(11, 2)])
    }

    /// The process dies between write and sync, comes back, reads its page cache, and then the power fails.
    @Test(arguments: 0..<40)
    func whatWasOnlyInThePageCacheIsNotCalledDurable(steps: Int) throws {
        for seed in 1...20 {
            var harness = try tenGroups(closing: false)
            for i in 11...13 { harness.log.append([sample(UInt64(i), 1, bytes: 5_000)], shard: one) }
            harness.log.flush(&harness.ops)
            // The write, and not the sync.
            harness.step()
            harness.disk.processDies()
            harness.reopen()
            for _ in 0..<steps { harness.step() }
            var random = SeededRandom(seed: UInt64(seed + 1_000 * steps))
            harness.disk.crash(&random)
            let recovered = try shard(one, harness.recover())
            #expect(recovered.raft.fence.isEmpty && recovered.holes.isEmpty && harness.events.damaged.isEmpty)
            #expect(recovered.raft.lastIndex == LogIndex(10) || recovered.raft.lastIndex == LogIndex(13))
        }
    }

    @Test func aLostSegmentHeaderIsNoLoss() throws {
        var harness = try tenGroups()
        harness.disk.flip(.segment(1), at: 20)
        #expect(try shard(one, harness.recover()).raft.fence.isEmpty)
        expectWhole(&harness, one)
    }

    @Test func aLostIdentityIsNoLoss() throws {
        var harness = try tenGroups()
        harness.disk.flip(.identity, at: 9)
        #expect(try shard(one, harness.recover()).raft.fence.isEmpty, "the second copy is whole")
        harness.disk.flip(.identity, at: 9)
        harness.disk.flip(.identity, at: 4_096 + 41)
        let lives = harness.disk.anatomy().groups.map { $0.number >> 40 }
        #expect(try shard(one, harness.recover()).raft.fence.isEmpty)
        let newLife = try #require(harness.disk.anatomy().groups.last).number >> 40
        #expect(newLife > lives.max()!)
        expectWhole(&harness, one)
    }

    /// One bit, anywhere: what is not fenced is right, and what is read is what was written.
    @Test(arguments: 1...200)
    func oneFlippedBitNeverGivesAWrongAnswer(seed: Int) throws {
        var harness = try LogHarness.fresh(seed: UInt64(seed), segmentBytes: 64 << 10)
        var random = SeededRandom(seed: UInt64(seed) &* 31)
        var expected: [ShardID: [RaftEntry]] = [:]
        var hard: [ShardID: HardState] = [:]
        for _ in 0..<40 {
            let id = LogHarness.shards[Int(random.below(3))]
            var mine = expected[id] ?? []
            let isCut = mine.count > 3 && random.below(8) == 0
            if isCut {
                let from = mine[mine.count - 1 - Int(random.below(2))].index
                harness.log.appendTruncate(shard: id, from: from, term: Term(9))
                mine.removeAll { $0.index >= from }
            }
            let term = max(expected[id]?.last?.term.rawValue ?? 1, 1) + (isCut ? 1 : 0) + random.below(2)
            let entries = (0..<1 + random.below(3)).map {
                sample(UInt64(mine.count) + 1 + $0, term, bytes: Int(random.below(900)), salt: random.next())
            }
            harness.log.append(entries, shard: id)
            expected[id] = mine + entries
            let state = HardState(term: Term(term), vote: LogHarness.me, commit: .zero)
            harness.log.appendHardState(state, shard: id)
            hard[id] = state
            if random.below(3) > 0 { harness.settle() }
        }
        harness.settle()
        harness.log.closeIdle(&harness.ops)
        harness.settle()

        let names = harness.disk.fileNames.filter { $0 != .spareSegment }
        let name = names[Int(random.below(UInt64(names.count)))]
        // Rather where something stands than in the empty end.
        let bytes = harness.disk.bytes(name)
        let used = bytes.indices.filter { bytes[$0] != 0 }
        let at = used[Int(random.below(UInt64(used.count)))]
        harness.disk.flip(name, at: at, bit: Int(random.below(8)))

        let result = harness.recover()
        let recovered = try #require(result, "\(name) \(at): \(harness.events)")
        for shard in recovered {
            let mine = expected[shard.shard] ?? []
            let last = LogIndex(UInt64(mine.count))
            let isFenced = shard.raft.fence.contains(.noVote)
            if !isFenced {
                #expect(shard.raft.lastIndex == last, "\(name) \(at)")
                #expect(shard.raft.hardState.term == hard[shard.shard]?.term ?? .zero)
                for (position, run) in shard.raft.termRuns.enumerated() {
                    let next =
                        position + 1 < shard.raft.termRuns.count
                        ? shard.raft.termRuns[position + 1].firstIndex : last.next
                    for index in run.firstIndex.rawValue..<next.rawValue {
                        let isHole = shard.holes.contains { $0.from.rawValue <= index && index <= $0.through.rawValue }
                        #expect(isHole || mine[Int(index) - 1].term == run.term)
                    }
                }
            }
            for entry in mine where entry.index <= shard.raft.lastIndex {
                guard let read = harness.readAll(shard.shard, from: entry.index, through: entry.index) else { continue }
                #expect(read == [entry], "\(name) \(at) shard \(shard.shard)")
            }
            // Every hole can be filled, and then nothing is missing.
            if !isFenced {
                for hole in harness.log.holes(of: shard.shard) {
                    let range = Int(hole.from.rawValue) - 1..<Int(hole.through.rawValue)
                    harness.log.appendRepair(Array(mine[range]), shard: shard.shard)
                }
                harness.settle()
                if !mine.isEmpty {
                    let all = harness.readAll(shard.shard, from: LogIndex(1), through: last)
                    #expect(all == mine, "\(name) \(at) shard \(shard.shard)")
                }
            }
        }
        let again = harness.recover()
        #expect(again?.allSatisfy { !$0.raft.fence.contains(.noCampaign) || $0.raft.fence.contains(.noVote) } == true)
    }
}
