import ClearingModel
import Engine
import LogFormat
import Testing
import Wire

@Suite("More queries than a node can look up at a time")
struct ReadWindowTests {
    @Test("are refused until there is room, hold no more than the limits allow, and each is answered")
    func flood() throws {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        let ids = try scenario.pay(1...8).map(\.0.id)
        let leader = try #require(cluster.leader(of: ShardID(1)))
        let (machine, client) = (cluster.machine(leader), TestClient([.regulator("test")]))
        cluster.connect(client, to: leader)
        cluster.settle()
        let engine = try #require(machine.engine)

        machine.holdsDisk = true
        var writer = WireWriter()
        for request in UInt64(1)...10_000 { Query.encode(request: request, shard: ShardID(1), ids, into: &writer) }
        cluster.send(writer.bytes, from: client)
        cluster.settle()
        let taken = Limits.maximumReads / ids.count
        var found = engine.inspectResources()
        #expect(found.reads == Limits.maximumReads && found.connectionRequests == taken)
        #expect(found.connectionBytes == taken * (FrameHeader.size + 8 + ids.count * Query.idSize))
        let reads = machine.heldOperations.filter { if case .read = $0.kind { true } else { false } }
        #expect(reads.count <= Limits.maximumReads)
        #expect(client.decisions.isEmpty && client.refusals.count == 10_000 - taken)
        #expect(client.refusals.values.allSatisfy { $0.code == .overloaded && $0.retryAfterMilliseconds > 0 })

        machine.holdsDisk = false
        cluster.releaseDisk(machine)
        cluster.settle()
        #expect(client.decisions.count == taken)
        let isTold = client.decisions.values.allSatisfy { decisions in
            decisions.count == ids.count && decisions.allSatisfy { $0.answer == .decided && $0.outcome == .accepted }
        }
        #expect(isTold)
        found = engine.inspectResources()
        #expect(found.reads == 0 && found.connectionRequests == 0 && found.connectionBytes == 0)
    }

    @Test("and positions give their room back when leadership ends before they are answered")
    func lostLeadership() throws {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        let ids = try scenario.pay(1...3).map(\.0.id)
        let leader = try #require(cluster.leader(of: ShardID(1)))
        let client = TestClient([.regulator("test")])
        cluster.connect(client, to: leader)
        cluster.settle()
        for machine in cluster.machines where machine.replica.node != leader {
            cluster.cut.insert([leader, machine.replica.node].sorted())
        }
        cluster.run(milliseconds: 5)
        var writer = WireWriter()
        for request in UInt64(1)...20 {
            Query.encode(request: request, shard: ShardID(1), ids, into: &writer)
            PositionRequest(participant: scenario.participants[0]).encode(request: 100 + request, into: &writer)
        }
        cluster.send(writer.bytes, from: client)
        cluster.settle()
        let engine = try #require(cluster.machine(leader).engine)
        #expect(engine.inspectResources().reads == 20 * (ids.count + 1))
        cluster.run(milliseconds: 3_000)
        #expect(client.refusals.count == 40 && client.refusals.values.allSatisfy { $0.code == .notLeader })
        let found = engine.inspectResources()
        #expect(found.reads == 0 && found.connectionRequests == 0 && found.connectionBytes == 0)
    }
}
