import ClearingModel
import Engine
import Testing
import Wire

@Suite("Three engines on memory disks")
struct ClusterTests {
    @Test("decide a payment once: the same id gets the original answer, another body a conflict")
    func decideOnce() throws {
        let scenario = try Scenario()
        let payment = scenario.payment(1, from: 0, to: 1)
        let first = try #require(scenario.decide(payment))
        #expect(first.outcome == .accepted && first.answer == .decided)
        let again = try #require(scenario.decide(payment))
        #expect(again.outcome == .accepted && again.answer == .duplicate)
        #expect(again.index == first.index && again.slot == first.slot && again.ledgerTime == first.ledgerTime)
        var altered = payment
        altered.amount += 1
        #expect(scenario.decide(altered)?.answer == .idConflict)
    }

    @Test("keep every decision when the leader is killed, and answer duplicates on the next one")
    func leaderKilled() throws {
        let scenario = try Scenario()
        var decided: [(Instruction, Decision)] = []
        for number in UInt64(1)...20 {
            let payment = scenario.payment(number, from: 0, to: 1)
            decided.append((payment, try #require(scenario.decide(payment))))
        }
        let shard = scenario.cluster.topology.slots.route(decided[0].0.id)
        let leader = try #require(scenario.cluster.leader(of: shard))
        scenario.cluster.kill(leader)
        for (payment, decision) in decided {
            let again = try #require(scenario.decide(payment))
            #expect(again.answer == .duplicate && again.outcome == decision.outcome && again.index == decision.index)
        }
        #expect(scenario.decide(scenario.payment(21, from: 0, to: 1))?.outcome == .accepted)
        scenario.cluster.start(leader)
        let level = scenario.cluster.reaches(scenario.cluster.isLevel)
        #expect(level)
    }

    @Test("keep every decision when all power fails at once")
    func powerCut() throws {
        let scenario = try Scenario()
        var decided: [(Instruction, Decision)] = []
        for number in UInt64(1)...20 {
            let payment = scenario.payment(number, from: Int(number % 5), to: 6)
            decided.append((payment, try #require(scenario.decide(payment))))
        }
        for machine in scenario.cluster.machines { scenario.cluster.kill(machine.replica.node, power: true) }
        for machine in scenario.cluster.machines { scenario.cluster.start(machine.replica.node) }
        let led = scenario.cluster.reaches(scenario.cluster.allGroupsAreLed)
        #expect(led)
        for (payment, decision) in decided {
            let again = try #require(scenario.decide(payment))
            #expect(again.answer == .duplicate && again.outcome == decision.outcome && again.index == decision.index)
        }
    }

    @Test("keep their open days when a node whose clock is days ahead wins an election", arguments: [false, true])
    func clockAhead(thirdIsDown: Bool) throws {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        let shard = ShardID(1)
        let leader = try #require(cluster.leader(of: shard))
        let others = cluster.machines.map(\.replica.node).filter { $0 != leader }
        let today = scenario.day
        #expect(cluster.daysAre { $0.contains(today) })
        cluster.machine(others[0]).daysAhead = 3
        scenario.operate(.transferLeadership(shard: shard, to: others[0]), shard: shard)
        if thirdIsDown { cluster.kill(leader) }
        // Whoever leads meanwhile, what is decided is decided in true time.
        let first = scenario.payment(1, from: 0, to: 1)
        #expect(scenario.decide(first)?.outcome == .accepted)
        #expect(cluster.machine(others[0]).log.contains { $0.event == "leader" && $0.fields.first?.1 == "1" })
        cluster.run(milliseconds: 3_000)
        #expect(cluster.leader(of: shard) != others[0])
        #expect(cluster.daysAre { $0.contains(today) && $0.upperBound <= today.next })
        #expect(scenario.decide(scenario.payment(2, from: 0, to: 1))?.outcome == .accepted)
    }

    @Test("keep their open days when the clock of a leader jumps")
    func clockJumps() throws {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        let leader = try #require(cluster.leader(of: ShardID(1)))
        let today = scenario.day
        cluster.run(milliseconds: 1_000)
        cluster.machine(leader).daysAhead = 3
        for number in UInt64(1)...50 {
            #expect(scenario.decide(scenario.payment(number, from: 0, to: 1))?.outcome == .accepted)
        }
        cluster.run(milliseconds: 3_000)
        #expect(cluster.leader(of: ShardID(1)) != leader)
        #expect(cluster.daysAre { $0.contains(today) && $0.upperBound <= today.next })
    }

    @Test("post every accepted credit exactly once, across shards and a change of leader")
    func creditsCross() throws {
        let scenario = try Scenario(shards: 4)
        let cluster = scenario.cluster
        let creditor = 7
        var sum: UInt64 = 0
        for number in UInt64(1)...60 {
            let amount = number * 3
            let payment = scenario.payment(number, from: Int(number % 6), to: creditor, amount: amount)
            if try #require(scenario.decide(payment)).outcome == .accepted { sum += amount }
            if number == 30 {
                let home = cluster.topology.slots.home(of: scenario.participants[creditor])
                cluster.kill(try #require(cluster.leader(of: home)))
            }
            if number == 45 {
                for machine in cluster.machines where machine.engine == nil { cluster.start(machine.replica.node) }
            }
        }
        #expect(sum > 0)
        let participant = scenario.participants[creditor]
        let arrived = cluster.reaches(scenario.postedCredits(of: participant) == Int128(sum))
        #expect(arrived)
        cluster.run(milliseconds: 2_000)
        #expect(scenario.postedCredits(of: participant) == Int128(sum))
    }

    @Test("refuse what no certificate, shard or format allows, and decide nothing of it")
    func refusals() throws {
        let scenario = try Scenario()
        let cluster = scenario.cluster
        let payment = scenario.payment(1, from: 0, to: 1)
        let shard = cluster.topology.slots.route(payment.id)
        let leader = try #require(cluster.leader(of: shard))
        func refusal(_ roles: [Role], _ instruction: Instruction, shard: ShardID) -> RefusalCode? {
            let client = TestClient(roles)
            cluster.connect(client, to: leader)
            var writer = WireWriter()
            Submit.encode(request: 5, shard: shard, instruction, into: &writer)
            cluster.send(writer.bytes, from: client)
            cluster.settle()
            return client.refusals[5]?.code
        }
        #expect(refusal([.participant(ParticipantID(999))], payment, shard: shard) == .unauthorised)
        #expect(refusal([.operator("x")], payment, shard: shard) == .unauthorised)
        var flagged = payment
        flagged.flags = 1
        #expect(refusal([.participant(payment.id.debtor)], flagged, shard: shard) == .notSupported)
        #expect(refusal([.participant(payment.id.debtor)], payment, shard: ShardID(77)) == .wrongShard)
        #expect(try #require(scenario.decide(payment)).answer == .decided)
    }
}
