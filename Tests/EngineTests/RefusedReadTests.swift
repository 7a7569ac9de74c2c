import ClearingModel
import Engine
import LogFormat
import Testing

@Suite("A disk that refuses to read what is committed")
struct RefusedReadTests {
    private static let tooManyOpenFiles: Int32 = 24

    /// From the node's start on: recovery ends with the first write to the log.
    private func refuse(_ disk: MemoryDisk, reads count: Int) {
        var isOpen = false
        var left = count
        disk.failureCode = Self.tooManyOpenFiles
        disk.fails = { kind in
            switch kind {
            case .write(.segment, offset: _, _): isOpen = true
            case .read(.segment, offset: _, count: _) where isOpen && left > 0:
                left -= 1
                return true
            default: break
            }
            return false
        }
    }

    /// A cluster whose follower starts on such a disk.
    private func restarted(refusing count: Int) throws -> (Scenario, TestCluster.Machine) {
        let scenario = try Scenario(shards: 1)
        let cluster = scenario.cluster
        _ = try scenario.pay(1...20)
        let machine = cluster.machine(try SnapshotTests.follower(cluster))
        cluster.kill(machine.replica.node)
        refuse(machine.disk, reads: count)
        cluster.start(machine.replica.node)
        let refused = cluster.reaches(machine.has("committed entry unreadable"))
        try #require(refused)
        return (scenario, machine)
    }

    @Test("once: the replica reads again, and applies everything")
    func once() throws {
        let (scenario, _) = try restarted(refusing: 1)
        let level = scenario.cluster.reaches(scenario.cluster.isLevel)
        #expect(level && scenario.cluster.hashesAgree)
    }

    @Test("for long: the replica leaves leading to others, and may lead again when it has caught up")
    func long() throws {
        let (scenario, machine) = try restarted(refusing: .max)
        let cluster = scenario.cluster
        let node = machine.replica.node
        cluster.run(milliseconds: 2_000)
        #expect(machine.log.filter { $0.event == "committed entry unreadable" }.count <= 2, "once a group")
        scenario.operate(.transferLeadership(shard: ShardID(1), to: node), shard: ShardID(1))
        cluster.run(milliseconds: 1_000)
        #expect(cluster.leader(of: ShardID(1)) != node)
        #expect(scenario.decide(scenario.payment(30, from: 0, to: 1))?.outcome == .accepted)
        machine.disk.fails = { _ in false }
        let level = cluster.reaches(cluster.isLevel)
        #expect(level && cluster.hashesAgree)
        cluster.run(milliseconds: 50)
        scenario.operate(.transferLeadership(shard: ShardID(1), to: node), shard: ShardID(1))
        let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == node)
        #expect(leads)
        #expect(scenario.decide(scenario.payment(31, from: 0, to: 1))?.outcome == .accepted)
    }
}
