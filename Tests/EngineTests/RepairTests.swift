import ClearingModel
import Engine
import Raft
import Testing
import Wire

@Suite("Damage on one disk")
struct RepairTests {
    @Test("a flipped bit in an old entry is found at start, fetched from a peer, and nothing wrong is served")
    func flippedBit() throws {
        let scenario = try Scenario()
        let cluster = scenario.cluster
        var decided: [(Instruction, Decision)] = []
        for number in UInt64(1)...60 {
            let payment = scenario.payment(number, from: 0, to: 1)
            decided.append((payment, try #require(scenario.decide(payment))))
        }
        let shard = cluster.topology.slots.route(decided[0].0.id)
        let leader = try #require(cluster.leader(of: shard))
        let victim = try #require(cluster.machines.map(\.replica.node).first { $0 != leader })
        cluster.kill(victim)
        let flipped = decided[9].0.withBytes { cluster.machine(victim).disk.flipBit(where: Array($0.prefix(48))) }
        #expect(flipped)
        cluster.start(victim)
        let level = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(level)
        let metrics = try #require(cluster.machine(victim).engine).metrics
        #expect(metrics.damagedRecords > 0 && metrics.repairedEntries > 0)

        // The repaired replica alone with one other decides and remembers as before.
        cluster.kill(leader)
        for (payment, decision) in decided {
            let again = try #require(scenario.decide(payment))
            #expect(again.answer == .duplicate && again.outcome == decision.outcome && again.index == decision.index)
        }
        // And the repair outlives a restart.
        cluster.kill(victim)
        cluster.start(victim)
        let healthy = cluster.reaches(cluster.machine(victim).engine?.isRunning == true)
        #expect(healthy)
        #expect(try #require(cluster.machine(victim).engine).metrics.damagedRecords == 0)
    }

    @Test("an entry of a term that the replica does not know yet is not taken from a peer")
    func laterTerm() throws {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        let decided = try scenario.pay(1...20)
        let leader = try #require(cluster.leader(of: ShardID(1)))
        let victim = try #require(cluster.machines.first { $0.replica.node != leader })
        cluster.kill(victim.replica.node)
        let (payment, decision) = decided[9]
        let flipped = payment.withBytes { victim.disk.flipBit(where: Array($0.prefix(48))) }
        #expect(flipped)
        cluster.start(victim.replica.node)
        let connected = cluster.reaches(victim.links[leader] != nil)
        try #require(connected)
        let engine = try #require(victim.engine)
        let link = try #require(victim.links[leader])
        // What a peer that follows a later leader would answer (docs/PROTOCOL.md, repair reply).
        let payload = Slab([1, 2, 3])
        var writer = WireWriter()
        writer.frame(.repairReply, request: 0) {
            $0.id(ShardID(1))
            $0.u64(decision.index)
            $0.id(LogIndex.zero)
            $0.u32(1)
            $0.u64(decision.index)
            $0.id(Term(99))
            $0.u8(EntryKind.data.rawValue)
            $0.u32(UInt32(payload.count))
            $0.u32(payload.checksum)
            $0.raw(payload.bytes)
        }
        #expect(engine.metrics.repairedEntries == 0)
        writer.bytes.withUnsafeBytes { engine.received($0, on: link, now: cluster.now) }
        #expect(engine.metrics.repairedEntries == 0)
        let level = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(level && cluster.hashesAgree)
        #expect(engine.metrics.repairedEntries > 0)
    }

    /// Found as seed 4987: nobody was asked, for the entries that name the members were damaged too.
    @Test("a replica that was taken in again is repaired although every entry that names a member is damaged")
    func unknownMembers() throws {
        // An entry or two a reply: asked for one part a second it would take a minute.
        let scenario = try Scenario(shards: 1) { $0.repairReplyBytes = 300 }
        let cluster = scenario.cluster
        _ = try scenario.pay(1...20)
        let victim = try #require(cluster.machines.first { cluster.leader(of: ShardID(1)) != $0.replica.node })
        let node = victim.replica.node
        cluster.kill(node)
        cluster.wipe(node)
        cluster.start(node)
        for placement in cluster.topology.placements {
            scenario.operate(.replaceReplica(shard: placement.shard, with: victim.replica), shard: placement.shard)
        }
        let isBack = cluster.reaches(
            cluster.topology.placements.allSatisfy { cluster.isVoter(victim.replica, of: $0.shard) } && cluster.isLevel,
            within: 60_000)
        try #require(isBack)
        _ = try scenario.pay(21...40)
        cluster.run(milliseconds: 3_000)
        cluster.kill(node)
        let segment = try #require(victim.disk.names.first { if case .segment = $0 { true } else { false } })
        victim.disk.edit(segment) { bytes in
            let blocks = (1..<bytes.count / 4_096).filter { bytes[$0 * 4_096] != 0 }
            // All but the last groups, which say how far the log went.
            for place in 4_096..<blocks[blocks.count - 4] * 4_096 { bytes[place] = 0 }
        }
        cluster.start(node)
        let isDamaged = cluster.reaches(victim.has("replica fenced"))
        try #require(isDamaged)
        let level = cluster.reaches(cluster.isLevel, within: 10_000)
        #expect(level && cluster.hashesAgree)
    }
}
