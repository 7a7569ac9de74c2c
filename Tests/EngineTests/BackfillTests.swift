import ClearingModel
import Engine
import LogFormat
import Testing
import Wire

@Suite("Old entries after a snapshot")
struct BackfillTests {
    private let shard = ShardID(1)

    /// A cluster in which one node, not started yet, lacks what only a snapshot brings back.
    private struct Lagging {
        let scenario: Scenario
        let node: NodeID
        let kept: [(Instruction, Decision)]
        var cluster: TestCluster { scenario.cluster }
        var machine: TestCluster.Machine { cluster.machine(node) }
        var metrics: EngineMetrics? { machine.engine?.metrics }
        var missing: Int { machine.engine?.missingEntries.first { $0.shard == ShardID(1) }?.entries ?? 0 }

        init(seed: UInt64 = 1, replyBytes: Int = 2_000) throws {
            scenario = try Scenario(shards: 1, seed: seed) {
                SnapshotTests.small(&$0)
                $0.repairReplyBytes = replyBytes
            }
            node = try SnapshotTests.follower(scenario.cluster)
            scenario.cluster.kill(node)
            kept = try SnapshotTests.expired(scenario, without: node)
            machine.log = []
        }

        /// Starts the node and waits until its snapshot is in force and the backfill has begun.
        func begin() throws {
            cluster.start(node)
            let begun = cluster.reaches(cluster.isLevel && (metrics?.backfilledEntries ?? 0) > 0, within: 20_000)
            try #require(begun)
            #expect(machine.has("snapshot in force"))
        }

        func isComplete() -> Bool { machine.has("backfill ends") && missing == 0 }

        /// Makes the node lead and asks it for everything: the same answers, without a question to a peer.
        func answersAlone() throws {
            try answersRightly()
            #expect(metrics?.recordsFetched == 0)
        }

        func answersRightly() throws {
            cluster.run(milliseconds: 500)
            scenario.operate(.transferLeadership(shard: ShardID(1), to: node), shard: ShardID(1))
            let leads = cluster.reaches(cluster.leader(of: ShardID(1)) == node)
            try #require(leads)
            for (payment, decision) in kept {
                let again = try #require(scenario.decide(payment))
                #expect(again.answer == .duplicate && again.index == decision.index && again.slot == decision.slot)
                #expect(again.outcome == decision.outcome && again.ledgerTime == decision.ledgerTime)
            }
        }
    }

    @Test("are fetched from peers, and the replica answers from its own log again, also after a restart")
    func complete() throws {
        let lagging = try Lagging()
        let cluster = lagging.cluster
        try lagging.begin()
        #expect(lagging.missing > 20)
        func commits() -> [LogIndex] {
            cluster.machines.compactMap { $0.engine?.groupStatuses().first { $0.shard == shard }?.commit }
        }
        let committed = commits()
        let complete = cluster.reaches(lagging.isComplete(), within: 20_000)
        #expect(complete)
        // Raft saw nothing of it.
        #expect(commits() == committed)
        #expect(cluster.hashesAgree)
        try lagging.answersAlone()
        cluster.kill(lagging.node, power: true)
        cluster.start(lagging.node)
        let level = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(level)
        cluster.run(milliseconds: 3_000)
        #expect(lagging.missing == 0 && lagging.metrics?.backfilledEntries == 0)
        try lagging.answersAlone()
    }

    @Test("go on being fetched where a power cut stopped it", arguments: UInt64(1)...4)
    func restart(seed: UInt64) throws {
        let lagging = try Lagging(seed: seed)
        let cluster = lagging.cluster
        try lagging.begin()
        cluster.run(milliseconds: 40 * Int(seed))
        let all = lagging.missing
        let before = try #require(lagging.metrics).backfilledEntries
        cluster.kill(lagging.node, power: true)
        lagging.machine.log = []
        cluster.start(lagging.node)
        let complete = cluster.reaches(lagging.isComplete(), within: 30_000)
        #expect(complete)
        let after = try #require(lagging.metrics).backfilledEntries
        #expect(before > 0 && after > 0 && Int(after) < all, "\(before) + \(after) of \(all)")
        #expect(!lagging.machine.has("snapshot in force"))
        try lagging.answersAlone()
    }

    @Test("are fetched from another peer when the one that gave them dies")
    func peerDies() throws {
        let lagging = try Lagging()
        let cluster = lagging.cluster
        try lagging.begin()
        let leader = try #require(cluster.leader(of: shard))
        let giver = try #require(
            cluster.machines.map(\.replica.node).first { $0 != leader && $0 != lagging.node })
        cluster.kill(giver)
        #expect(!lagging.isComplete())
        let complete = cluster.reaches(lagging.isComplete(), within: 30_000)
        #expect(complete)
        try lagging.answersAlone()
    }

    @Test("wait while no peer is connected, and come when one is")
    func alone() throws {
        let lagging = try Lagging()
        let cluster = lagging.cluster
        try lagging.begin()
        for other in cluster.machines where other.replica.node != lagging.node {
            cluster.cut.insert([lagging.node, other.replica.node].sorted())
        }
        cluster.run(milliseconds: 5_000)
        let stopped = try #require(lagging.metrics).backfilledEntries
        cluster.run(milliseconds: 40_000)
        #expect(lagging.metrics?.backfilledEntries == stopped && !lagging.isComplete())
        cluster.cut = []
        let complete = cluster.reaches(lagging.missing == 0, within: 60_000)
        #expect(complete)
        try lagging.answersAlone()
    }

    @Test("are passed over where no peer has them; the rest is fetched")
    func passedOver() throws {
        let lagging = try Lagging()
        let (cluster, scenario) = (lagging.cluster, lagging.scenario)
        // The first node that lacks old bodies has no room for them.
        lagging.machine.disk.freeBytes = 1 << 30 + 1
        cluster.start(lagging.node)
        let level = cluster.reaches(cluster.isLevel && lagging.missing > 0, within: 20_000)
        try #require(level)
        _ = try scenario.pay(2001...2100)
        // The second one loses its disk, and gets a newer snapshot.
        let leader = try #require(cluster.leader(of: shard))
        let wiped = try #require(
            cluster.machines.first { $0.replica.node != leader && $0.replica.node != lagging.node })
        let node = wiped.replica.node
        cluster.kill(node)
        cluster.wipe(node)
        wiped.disk.freeBytes = 1 << 30 + 1
        cluster.start(node)
        for placement in cluster.topology.placements {
            scenario.operate(.replaceReplica(shard: placement.shard, with: wiped.replica), shard: placement.shard)
        }
        let isBack = cluster.reaches(
            cluster.topology.placements.allSatisfy { cluster.isVoter(wiped.replica, of: $0.shard) } && cluster.isLevel,
            within: 60_000)
        try #require(isBack)
        // The third one, which had all of them, is gone for ever.
        cluster.kill(leader)
        cluster.run(milliseconds: 2_000)
        let (first, second) = (lagging.missing, wiped.engine!.missingEntries[0].entries)
        #expect(first > 0 && second > first)
        wiped.disk.freeBytes = 1 << 40
        let ended = cluster.reaches(wiped.has("backfill ends"), within: 30_000)
        #expect(ended)
        cluster.run(milliseconds: 2_000)
        #expect(wiped.engine!.missingEntries[0].entries == first)
        #expect(Int(wiped.engine!.metrics.backfilledEntries) == second - first)
    }

    @Test("are fetched once more where the disk damaged them afterwards")
    func damagedLater() throws {
        let lagging = try Lagging()
        let cluster = lagging.cluster
        try lagging.begin()
        let complete = cluster.reaches(lagging.isComplete(), within: 20_000)
        #expect(complete)
        cluster.kill(lagging.node)
        let flipped = lagging.kept[10].0.withBytes { lagging.machine.disk.flipBit(where: Array($0.prefix(48))) }
        #expect(flipped)
        lagging.machine.log = []
        cluster.start(lagging.node)
        let level = cluster.reaches(cluster.isLevel, within: 20_000)
        #expect(level)
        // A sealed segment's payloads are not read at the start: the first comparison finds it.
        try lagging.answersRightly()
        let again = cluster.reaches(
            lagging.missing == 0 && (lagging.metrics?.backfilledEntries ?? 0) > 0, within: 60_000)
        #expect(again)
        #expect(lagging.metrics?.backfilledEntries == 1)
    }

    @Test("leave with their business day like all others")
    func expiry() throws {
        let lagging = try Lagging()
        let cluster = lagging.cluster
        try lagging.begin()
        let complete = cluster.reaches(lagging.isComplete(), within: 20_000)
        #expect(complete)
        let held = lagging.machine.disk.names.filter { if case .segment = $0 { true } else { false } }
        cluster.jump(days: 4)
        let today = lagging.scenario.day
        let opened = cluster.reaches(cluster.daysAre { $0.contains(today) })
        try #require(opened)
        _ = try lagging.scenario.pay(3001...3150)
        cluster.run(milliseconds: 40_000)
        #expect(held.dropLast().allSatisfy { !lagging.machine.disk.names.contains($0) })
        #expect(lagging.missing == 0)
        #expect(cluster.hashesAgree && cluster.machines.allSatisfy { $0.fatal == nil })
    }
}
