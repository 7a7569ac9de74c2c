import ClearingModel
import Engine
import LogFormat
import Testing

@Suite("A replica whose checkpoints are all damaged, behind a log that has lost its beginning")
struct LostStateTests {
    /// Every checkpoint of the shard on this node's disk is damaged; there is one at least.
    private func damageCheckpoints(of shard: ShardID, on machine: TestCluster.Machine) {
        let names = machine.disk.names.filter { if case .checkpoint(shard, _) = $0 { true } else { false } }
        #expect(!names.isEmpty)
        for name in names { machine.disk.flipBit(of: name, at: 4_100) }
    }

    /// A cluster whose log has lost its beginning on every node.
    private func trimmed() throws -> (Scenario, victim: NodeID, kept: [(Instruction, Decision)]) {
        let scenario = try Scenario(shards: 1, configure: SnapshotTests.small)
        let victim = try SnapshotTests.follower(scenario.cluster)
        return (scenario, victim, try SnapshotTests.expired(scenario, without: NodeID(0)))
    }

    @Test("gets a leader's state and applies its own log behind it; its neighbours go on", arguments: [true, false])
    func isRestored(underLoad: Bool) throws {
        let (scenario, victim, kept) = try trimmed()
        let cluster = scenario.cluster
        cluster.kill(victim)
        damageCheckpoints(of: ShardID(1), on: cluster.machine(victim))
        let missed = underLoad ? try scenario.pay(3001...3040) : []
        for machine in cluster.machines { machine.log = [] }
        cluster.start(victim)
        let isLost = cluster.reaches(cluster.machine(victim).has("state lost; a snapshot is fetched"), within: 2_000)
        #expect(isLost && cluster.machine(victim).fatal == nil)
        let engine = try #require(cluster.machine(victim).engine)
        #expect(engine.repairs.map(\.shard) == [ShardID(1)] && engine.repairs.allSatisfy(\.lacksState))
        // The directory's replica is well, and stays.
        #expect(!engine.stateHashes().contains { $0.shard == ShardID(1) })
        #expect(engine.stateHashes().contains { $0.shard.isDirectory })
        let more = underLoad ? try scenario.pay(4001...4080) : []
        let level = cluster.reaches(cluster.isLevel && engine.repairs.isEmpty, within: 20_000)
        #expect(level && cluster.machine(victim).has("state restored") && cluster.hashesAgree)

        // What it has now is its own: another start needs nobody, and with one other it is a majority that knows everything.
        cluster.kill(victim, power: true)
        cluster.start(victim)
        // For three seconds after it last asked it is no target of a transfer.
        cluster.run(milliseconds: 4_000)
        let again = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(again && cluster.hashesAgree && cluster.machine(victim).engine?.metrics.statesLost == 0)
        scenario.operate(.transferLeadership(shard: ShardID(1), to: victim), shard: ShardID(1))
        let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == victim)
        #expect(leads)
        for (payment, decision) in kept.suffix(5) + missed.suffix(5) + more.suffix(5) {
            let answer = scenario.decide(payment)
            #expect(answer?.answer == .duplicate && answer?.index == decision.index)
        }
    }

    @Test("whose log's start has lost its membership too takes that of its checkpoint, and may lead")
    func lostMembership() throws {
        let (scenario, victim, kept) = try trimmed()
        let cluster = scenario.cluster
        let membership = try #require(cluster.machine(victim).engine).membership(of: ShardID(1))
        let encoded = membership.encoded()
        let bytes = Array(encoded.bytes)
        cluster.kill(victim)
        let disk = cluster.machine(victim).disk
        var damaged = 0
        for name in disk.names {
            guard case .segment = name else { continue }
            disk.edit(name) { contents in
                for at in contents.indices.dropLast(bytes.count)
                where contents[at] == bytes[0] && contents[at..<at + bytes.count].elementsEqual(bytes) {
                    contents[at] ^= 1
                    damaged += 1
                }
            }
        }
        #expect(damaged > 0)
        cluster.start(victim)
        #expect(cluster.machine(victim).has("membership taken from the checkpoint"))
        let level = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(level && cluster.hashesAgree)
        #expect(cluster.machine(victim).engine?.membership(of: ShardID(1)) == membership)
        // It has all from its own disk; the leader has to hear of it too.
        cluster.run(milliseconds: 1_000)
        scenario.operate(.transferLeadership(shard: ShardID(1), to: victim), shard: ShardID(1))
        let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == victim)
        #expect(leads)
        for (payment, decision) in kept.suffix(5) { #expect(scenario.decide(payment)?.index == decision.index) }

        // The new start says it for good.
        cluster.kill(victim)
        cluster.machine(victim).log = []
        cluster.start(victim)
        #expect(!cluster.machine(victim).has("membership taken from the checkpoint"))
    }

    @Test("does not lead, also where it is one of two that are left; with the third, that has the state, all goes on")
    func doesNotLead() throws {
        let (scenario, victim, kept) = try trimmed()
        let cluster = scenario.cluster
        for machine in cluster.machines { cluster.kill(machine.replica.node) }
        damageCheckpoints(of: ShardID(1), on: cluster.machine(victim))
        let other = try #require(cluster.machines.first { $0.replica.node != victim }?.replica.node)
        cluster.start(victim)
        cluster.start(other)
        // It votes: with one whole replica there is a leader, which is the other one.
        let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == other, within: 10_000)
        #expect(leads)
        let level = cluster.reaches(
            cluster.machine(victim).engine?.repairs.isEmpty == true && cluster.hashesAgree, within: 20_000)
        #expect(level)
        for (payment, decision) in kept.suffix(5) { #expect(scenario.decide(payment)?.index == decision.index) }
    }

    @Test("waits while nobody has a state, and answers nothing")
    func nobodyHasOne() throws {
        let (scenario, _, _) = try trimmed()
        let cluster = scenario.cluster
        for machine in cluster.machines {
            cluster.kill(machine.replica.node)
            damageCheckpoints(of: ShardID(1), on: machine)
        }
        for machine in cluster.machines { cluster.start(machine.replica.node) }
        cluster.run(milliseconds: 10_000)
        #expect(cluster.leader(of: ShardID(1)) == nil && cluster.machines.allSatisfy { $0.fatal == nil })
        #expect(cluster.leader(of: .directory) != nil, "the other groups work")
    }

    @Test("or that never had one, in front of a damaged entry that no peer has any more (seed 3483)")
    func holeThatNobodyFills() throws {
        let scenario = try Scenario(shards: 1, configure: SnapshotTests.small)
        let cluster = scenario.cluster
        let victim = try SnapshotTests.follower(cluster)
        let machine = cluster.machine(victim)
        // It writes no checkpoint, so that its log begins at the first entry when those of the others do not any more.
        machine.disk.fails = {
            if case .write(.checkpointTemporary, _, _) = $0 { true } else { false }
        }
        let old = scenario.payment(9001, from: 0, to: 1)
        _ = try #require(scenario.decide(old))
        let kept = try SnapshotTests.expired(scenario, without: victim)
        #expect(machine.disk.names.contains(.segment(1)) && !machine.has("segment expired"))
        cluster.kill(victim)
        machine.disk.fails = { _ in false }
        let flipped = old.withBytes { machine.disk.flipBit(where: Array($0.prefix(48))) }
        #expect(flipped)
        machine.log = []
        cluster.start(victim)
        let level = cluster.reaches(cluster.isLevel && machine.engine?.repairs.isEmpty == true, within: 30_000)
        #expect(level && machine.has("damaged records") && machine.has("snapshot in force") && cluster.hashesAgree)
        // For three seconds after it last asked it is no target of a transfer.
        cluster.run(milliseconds: 4_000)
        scenario.operate(.transferLeadership(shard: ShardID(1), to: victim), shard: ShardID(1))
        let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == victim)
        #expect(leads, "nothing keeps it from leading any more")
        for (payment, decision) in kept.suffix(5) { #expect(scenario.decide(payment)?.index == decision.index) }
    }

    @Test("of the directory: nobody is told that there are no participants")
    func directory() throws {
        let (scenario, victim, _) = try trimmed()
        let cluster = scenario.cluster
        cluster.kill(victim)
        let machine = cluster.machine(victim)
        // Only where the directory's log has lost its beginning too.
        damageCheckpoints(of: .directory, on: machine)
        machine.log = []
        cluster.start(victim)
        let isLost = cluster.reaches(machine.has("state lost; a snapshot is fetched"), within: 2_000)
        #expect(isLost)
        let engine = try #require(machine.engine)
        let level = cluster.reaches(cluster.isLevel && engine.repairs.isEmpty, within: 20_000)
        #expect(level && machine.has("state restored") && cluster.hashesAgree)
    }
}
