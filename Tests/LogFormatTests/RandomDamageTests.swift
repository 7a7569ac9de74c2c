import ClearingModel
import LogFormat
import Raft
import Testing
import Wire

/// Damage of every kind anywhere: what is not fenced is right, and what is read is what was written.
@Suite struct RandomDamageTests {
    private struct World {
        var harness: LogHarness
        var entries: [ShardID: [RaftEntry]] = [:]
        var hard: [ShardID: HardState] = [:]
        /// The files at some earlier moment, for old data to come back.
        var earlier: [FileName: [UInt8]] = [:]
        var random: SeededRandom
    }

    /// A log with a few segments, truncations, restarts and a closing mark.
    private func world(_ seed: Int) throws -> World {
        var world = World(
            harness: try LogHarness.fresh(seed: UInt64(seed), segmentBytes: 64 << 10),
            random: SeededRandom(seed: UInt64(seed) &* 31))
        let steps = 20 + world.random.below(40)
        let moment = world.random.below(steps)
        for step in 0..<steps {
            if step == moment {
                for name in world.harness.disk.fileNames { world.earlier[name] = world.harness.disk.bytes(name) }
            }
            let id = LogHarness.shards[Int(world.random.below(3))]
            var mine = world.entries[id] ?? []
            let isCut = mine.count > 3 && world.random.below(8) == 0
            if isCut {
                let from = mine[mine.count - 1 - Int(world.random.below(2))].index
                world.harness.log.appendTruncate(shard: id, from: from, term: Term(9))
                mine.removeAll { $0.index >= from }
            }
            let term = max(world.entries[id]?.last?.term.rawValue ?? 1, 1) + (isCut ? 1 : 0) + world.random.below(2)
            let entries = (0..<1 + world.random.below(3)).map {
                sample(
                    UInt64(mine.count) + 1 + $0, term, bytes: Int(world.random.below(900)), salt: world.random.next())
            }
            world.harness.log.append(entries, shard: id)
            world.entries[id] = mine + entries
            let state = HardState(term: Term(term), vote: LogHarness.me, commit: .zero)
            world.harness.log.appendHardState(state, shard: id)
            world.hard[id] = state
            if world.random.below(3) > 0 { world.harness.settle() }
            if world.random.below(12) == 0 {
                world.harness.settle()
                let recovered = world.harness.recover()
                _ = try #require(recovered)
            }
        }
        world.harness.settle()
        world.harness.log.closeIdle(&world.harness.ops)
        world.harness.settle()
        return world
    }

    /// Harms one place; says which, for the message of a failure.
    private func harm(_ world: inout World) -> String {
        let disk = world.harness.disk
        let names = disk.fileNames.filter { name in name != .spareSegment && disk.bytes(name).contains { $0 != 0 } }
        let name = names[Int(world.random.below(UInt64(names.count)))]
        // Rather where something stands than in the empty end.
        let bytes = world.harness.disk.bytes(name)
        let used = bytes.indices.filter { bytes[$0] != 0 }
        let at = used[Int(world.random.below(UInt64(used.count)))]
        let block = at / 4_096 * 4_096
        switch world.random.below(6) {
        case 0:
            let sector = at / 512 * 512
            world.harness.disk.edit(name) {
                $0.replaceSubrange(sector..<sector + 512, with: repeatElement(0, count: 512))
            }
            return "\(name) sector \(sector) zeroed"
        case 1:
            world.harness.disk.edit(name) {
                $0.replaceSubrange(block..<block + 4_096, with: repeatElement(0, count: 4_096))
            }
            return "\(name) block \(block) zeroed"
        case 2:
            guard let old = world.earlier[name] else { fallthrough }
            world.harness.disk.edit(name) {
                $0.replaceSubrange(block..<block + 4_096, with: old[block..<block + 4_096])
            }
            return "\(name) block \(block) of old"
        case 3:
            let from = used[Int(world.random.below(UInt64(used.count)))] / 4_096 * 4_096
            world.harness.disk.edit(name) {
                $0.replaceSubrange(block..<block + 4_096, with: bytes[from..<from + 4_096])
            }
            return "\(name) block \(from) over \(block)"
        default:
            world.harness.disk.flip(name, at: at, bit: Int(world.random.below(8)))
            return "\(name) bit at \(at)"
        }
    }

    private func expectRight(_ shard: RecoveredShard, _ world: inout World, _ what: String) {
        let mine = world.entries[shard.shard] ?? []
        for entry in mine where entry.index <= shard.raft.lastIndex {
            guard let read = world.harness.readAll(shard.shard, from: entry.index, through: entry.index) else {
                continue
            }
            #expect(read == [entry], "\(what), shard \(shard.shard)")
        }
        for (position, run) in shard.raft.termRuns.enumerated() {
            let isLast = position + 1 == shard.raft.termRuns.count
            let next = isLast ? shard.raft.lastIndex.next : shard.raft.termRuns[position + 1].firstIndex
            for index in run.firstIndex.rawValue..<next.rawValue where index <= mine.count {
                let isHole = shard.holes.contains { $0.from.rawValue <= index && index <= $0.through.rawValue }
                #expect(
                    isHole || mine[Int(index) - 1].term == run.term, "\(what), shard \(shard.shard), term at \(index)")
            }
        }
    }

    @Test(arguments: 1...300)
    func oneHarmNeverGivesAWrongAnswer(seed: Int) throws {
        var world = try world(seed)
        let what = harm(&world)
        let result = world.harness.recover()
        let recovered = try #require(result, "\(what): \(world.harness.events)")
        for shard in recovered where !shard.raft.fence.contains(.noVote) {
            let mine = world.entries[shard.shard] ?? []
            #expect(shard.raft.lastIndex == LogIndex(UInt64(mine.count)), "\(what), shard \(shard.shard)")
            #expect(shard.raft.hardState.term == world.hard[shard.shard]?.term ?? .zero, "\(what)")
            expectRight(shard, &world, what)
            // Every hole can be filled, and then nothing is missing.
            for hole in world.harness.log.holes(of: shard.shard) {
                let range = Int(hole.from.rawValue) - 1..<Int(hole.through.rawValue)
                world.harness.log.appendRepair(Array(mine[range]), shard: shard.shard)
            }
            world.harness.settle()
            guard !mine.isEmpty else { continue }
            let all = world.harness.readAll(shard.shard, from: LogIndex(1), through: shard.raft.lastIndex)
            #expect(all == mine, "\(what), shard \(shard.shard)")
        }
        let again = world.harness.recover()
        #expect(again?.allSatisfy { $0.raft.fence.contains(.noVote) || $0.raft.fence.isEmpty } == true, "\(what)")
    }

    @Test(arguments: 1...100)
    func severalHarmsAreNeverAWrongEntry(seed: Int) throws {
        var world = try world(10_000 + seed)
        var what: [String] = []
        for _ in 0..<2 + world.random.below(4) { what.append(harm(&world)) }
        guard let recovered = world.harness.recover() else {
            Issue.record("\(what): \(world.harness.events)")
            return
        }
        // The end of the log may be cut as a torn tail, where the mark behind it is harmed as well.
        for shard in recovered where !shard.raft.fence.contains(.noVote) { expectRight(shard, &world, "\(what)") }
    }

    @Test func sectorsThatCannotBeReadAreDamage() throws {
        var harness = try LogHarness.fresh()
        let one = ShardID(1)
        for i in 1...10 {
            harness.log.append([sample(UInt64(i), 1)], shard: one)
            harness.settle()
        }
        harness.log.closeIdle(&harness.ops)
        harness.settle()
        let anatomy = harness.disk.anatomy()
        let bad = anatomy.group(of: try #require(anatomy.entry(one, 4))).offset
        harness.disk.fault = { kind in
            guard case .read(.segment, let offset, let count) = kind, Int(offset) < bad + 4_096,
                bad < Int(offset) + count
            else { return nil }
            return DiskError(code: DiskError.unreadableCode, message: "unreadable sector")
        }
        let recovered = try harness.recovered(one)
        #expect(recovered.holes == [IndexRange(from: LogIndex(4), through: LogIndex(4))])
        #expect(recovered.raft.lastIndex == LogIndex(10))
        harness.log.appendRepair([sample(4, 1)], shard: one)
        harness.settle()
        let all = harness.readAll(one, from: LogIndex(1), through: LogIndex(10))
        #expect(all == (1...10).map { sample($0, 1) })
    }
}
