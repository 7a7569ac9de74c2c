import ClearingModel
import Engine
import LogFormat
import Testing

@Suite("A checkpoint that turns out damaged while the node runs")
struct CheckpointDamageTests {
    private static func isCheckpoint(_ name: FileName) -> Bool {
        if case .checkpoint(ShardID(1), _) = name { true } else { false }
    }

    /// A cluster with a replica that needs a snapshot, and leaders whose newest checkpoint is damaged.
    private func damaged(at place: Int) throws -> (Scenario, dead: NodeID, kept: [(Instruction, Decision)]) {
        let scenario = try Scenario(shards: 1, configure: SnapshotTests.small)
        let cluster = scenario.cluster
        let dead = try SnapshotTests.follower(cluster)
        cluster.kill(dead)
        var kept = try SnapshotTests.expired(scenario, without: dead)
        // The newest one has to hold a part of the index that the one before does not.
        kept += try scenario.pay(1201...1280)
        for machine in cluster.running {
            machine.disk.flipBit(of: try #require(machine.disk.names.last(where: Self.isCheckpoint)), at: place)
            machine.log = []
        }
        return (scenario, dead, kept)
    }

    private func finds(_ machine: TestCluster.Machine) -> Bool {
        machine.has("checkpoint damaged; an earlier one is used")
    }

    @Test("is not continued by the next one: the node starts, and its snapshots are taken", arguments: [4_100, -1])
    func nextCheckpoint(place: Int) throws {
        let (scenario, dead, kept) = try damaged(at: place)
        let cluster = scenario.cluster
        cluster.start(dead)
        let found = cluster.reaches(cluster.running.contains(where: finds), within: 10_000)
        try #require(found)
        let finder = try #require(cluster.running.first(where: finds)).replica.node
        cluster.machine(finder).log = []
        let more = try scenario.pay(2001...2080)
        let taken = cluster.reaches(cluster.machine(finder).has("checkpoint"), within: 10_000)
        #expect(taken)
        cluster.run(milliseconds: 2_000)

        cluster.kill(finder, power: true)
        cluster.start(finder)
        #expect(cluster.machine(finder).fatal == nil)
        let level = cluster.reaches(cluster.isLevel, within: 60_000)
        #expect(level && cluster.hashesAgree && cluster.machines.allSatisfy { $0.fatal == nil })
        for (payment, decision) in kept.suffix(5) + more.suffix(5) {
            #expect(scenario.decide(payment)?.index == decision.index)
        }
    }
}
