import ClearingModel
import Raft
import Testing
import Wire

@Suite("Raft: disks, clocks, connections, snapshots")
struct RaftOperationTests {
    static func busy(_ count: UInt32 = 3, preferred: NodeID? = nil, seed: UInt64 = 1) -> TestCluster {
        let cluster = TestCluster(count, seed: seed, preferred: preferred)
        cluster.elect(1)
        for round in 0..<5 { cluster.propose(1, "\(round)") }
        cluster.settle()
        return cluster
    }

    // MARK: - Connections

    /// Milliseconds from the end of the leader's connections to the next leader, with messages of 1 ms and syncs of 2 ms.
    static func failover(seed: UInt64) -> Int {
        let cluster = busy(3, seed: seed)
        var random = SeededRandom(seed: seed)
        cluster.crash(replica(1))
        cluster.network.removeAll()
        // The two survivors see it within 5 ms of each other.
        let seen = [random.below(6), random.below(6)]
        for millisecond in 0..<2_000 {
            let batch = cluster.network
            cluster.network.removeAll()
            for (node, at) in zip([2, 3] as [UInt32], seen) where at == UInt64(millisecond) {
                cluster.act(replica(node)) { $0.peerLost(NodeID(1), now: $1, &$2) }
            }
            for node in [2, 3] as [UInt32] { cluster.tick(replica(node), after: .milliseconds(1)) }
            for message in batch { cluster.deliver(message) }
            if millisecond % 2 == 0 { cluster.syncAll() }
            if cluster[2].role == .leader || cluster[3].role == .leader { return millisecond }
        }
        return 2_000
    }

    @Test("a dead leader's connections end: the next one leads within tens of milliseconds")
    func failoverTime() {
        let times = (1...300 as ClosedRange<UInt64>).map { Self.failover(seed: $0) }.sorted()
        #expect(times[150] <= 20 && times[285] <= 60 && times[299] <= 700, "\(times[150]) \(times[285]) \(times[299])")
    }

    @Test("a connection that ends while the leader lives changes no leader")
    func connectionBlink() {
        let cluster = Self.busy()
        let term = cluster[1].term
        cluster.act(replica(2)) { $0.peerLost(NodeID(1), now: $1, &$2) }
        #expect(cluster[2].leader == nil)
        cluster.run(.milliseconds(300))
        #expect(cluster[1].role == .leader && cluster[1].term == term && cluster[2].leader == replica(1))
    }

    @Test("what was on its way when a connection ended is sent again, and nothing that arrived is")
    func resumesAfterLoss() {
        let cluster = Self.busy()
        for round in 0..<6 { cluster.propose(1, "lost \(round)") }
        // Two of six arrive at replica 2.
        let toTwo = cluster.network.filter { $0.to == replica(2) }
        cluster.network.removeAll { $0.to == replica(2) }
        for message in toTwo.prefix(2) { cluster.deliver(message) }
        cluster.sync(replica(2))
        cluster.network.removeAll { $0.from == replica(2) }
        cluster.act(replica(1)) { $0.peerLost(NodeID(2), now: $1, &$2) }
        var sent: [LogIndex] = []
        cluster.watch = { _, effect in
            if case .send(let message) = effect, message.to == replica(2), case .append(let append) = message.body {
                sent += append.entries.map(\.index)
            }
        }
        cluster.run(.milliseconds(100))
        #expect(sent == [9, 10, 11, 12].map { LogIndex($0) })
        #expect(cluster[2].lastIndex == LogIndex(12) && cluster[2].commit == LogIndex(12))
    }

    @Test("after a stall of the loop peers are not judged before what they sent was read")
    func stall() {
        let cluster = Self.busy()
        // Replica 2 stood still for 10 s; the leader's heartbeats wait in its sockets.
        cluster.tick(replica(1), after: .milliseconds(60))
        let waiting = cluster.network
        cluster.network.removeAll()
        cluster.tick(replica(2), after: .seconds(10))
        #expect(cluster[2].role == .follower && cluster.network.isEmpty)
        for message in waiting { cluster.deliver(message) }
        cluster.tick(replica(2), after: .milliseconds(60))
        #expect(cluster[2].role == .follower && cluster[2].leader == replica(1))
        // The same for a leader and its check of the quorum.
        cluster.tick(replica(1), after: .seconds(10))
        #expect(cluster[1].role == .leader)
        cluster.settle()
        cluster.tick(replica(1), after: .milliseconds(60))
        #expect(cluster[1].role == .leader)
    }

    // MARK: - Disks

    @Test("a leader whose disk stalls hands over after 500 ms and steps down at 1 s")
    func stalledDisk() {
        let cluster = Self.busy()
        cluster.act(replica(1)) { $0.logSyncAge(.milliseconds(499), now: $1, &$2) }
        cluster.run(.milliseconds(100))
        #expect(cluster[1].role == .leader)
        cluster.act(replica(1)) { $0.logSyncAge(.milliseconds(501), now: $1, &$2) }
        cluster.run(.milliseconds(100))
        #expect(cluster[1].role == .follower && cluster.leader != nil)

        let cut = Self.busy()
        cut.act(replica(1)) { $0.logSyncAge(.seconds(1), now: $1, &$2) }
        #expect(cut[1].role == .follower)
        cut.run(.seconds(3), cut: [replica(2), replica(3)])
        #expect(cut[1].role == .follower, "a replica with a stalled disk campaigned")
    }

    @Test("heartbeats and their answers wait for no disk")
    func heartbeatsWithoutDisk() {
        let cluster = Self.busy()
        cluster.propose(1, "x")
        for _ in 0..<300 {
            cluster.tickAll()
            cluster.deliverAll()
            cluster.deliverAll()
        }
        #expect(
            cluster[1].role == .leader && cluster[2].leader == replica(1) && cluster[1].commit < cluster[1].lastIndex)
    }

    @Test("undecided proposals are bounded, and so is what is on its way to one follower")
    func bounds() {
        let cluster = Self.busy()
        var accepted = 0
        while case .accepted = cluster.propose(1, "x") { accepted += 1 }
        #expect(accepted == Limits.maximumUncommittedEntries && cluster[1].isFull)
        #expect(cluster.propose(1, "x") == .backpressure)
        cluster.settle()
        #expect(!cluster[1].isFull)
    }

    @Test("memory holds what a follower needs, and lets go of what all have")
    func cache() {
        let cluster = Self.busy()
        cluster.run(.milliseconds(100))
        #expect(cluster[1].cachedBytes == 0)
        for round in 0..<20 {
            cluster.propose(1, "\(round)")
            cluster.settle(cut: [replica(3)])
        }
        #expect(cluster[1].cachedBytes > 0 && cluster[1].entry(at: LogIndex(7)) != nil)
        cluster.run(.milliseconds(200))
        #expect(cluster[3].lastIndex == cluster[1].lastIndex && cluster[1].cachedBytes == 0)
    }

    // MARK: - Clocks

    @Test("a leader far from its voters' median clock takes no work and hands over")
    func clockMedian() {
        let cluster = Self.busy()
        cluster.run(.milliseconds(100))
        #expect(cluster[1].clockSkewMicros.map { $0.magnitude < 1_000 } == true)
        cluster.setClock(3, offsetMicros: 5_000_000)
        cluster.run(.milliseconds(200))
        #expect(cluster[1].role == .leader, "one follower's clock is wrong, not the leader's")
        cluster.setClock(3, offsetMicros: 0)
        cluster.setClock(1, offsetMicros: -600_000)
        var skewed = false
        cluster.watch = { [unowned cluster] id, _ in
            if id == replica(1), cluster[1].isClockSkewed {
                skewed = true
                #expect(cluster[1].clockSkewMicros.map { $0 < -590_000 && $0 > -610_000 } ?? true)
            }
        }
        cluster.run(.milliseconds(300))
        #expect(skewed && cluster[1].role == .follower && cluster.leader != nil)
    }

    @Test("of two clocks nobody can tell which is wrong: the earlier leads, for it closes no day too early")
    func twoClocks() {
        let cluster = Self.busy(2)
        cluster.run(.milliseconds(100))
        cluster.setClock(2, offsetMicros: -5_000_000)
        cluster.run(.seconds(2))
        #expect(cluster[1].role == .leader && mayStamp(cluster, 1), "its own clock moved on evenly")
        cluster.setClock(1, offsetMicros: -5_000_000)
        cluster.run(.milliseconds(100))
        #expect(cluster[1].role == .leader && mayStamp(cluster, 1))
        cluster.setClock(1, offsetMicros: 5_000_000)
        cluster.run(.milliseconds(600))
        #expect(cluster[2].role == .leader && mayStamp(cluster, 2))
        cluster.run(.seconds(3))
        #expect(cluster[2].role == .leader)
    }

    private static let threeDays: Int64 = 3 * 86_400_000_000

    /// Whether a replica may stamp an entry with the clocks that it now reads.
    private func mayStamp(_ cluster: TestCluster, _ node: UInt32) -> Bool {
        let position = cluster.position(replica(node))
        return cluster[node].mayStamp(now: cluster.nodes[position].now, wall: cluster.wall(position))
    }

    @Test("a new leader whose clock is days ahead stamps nothing, from its first moment on", arguments: [false, true])
    func clockAheadAtElection(thirdIsDown: Bool) {
        let cluster = TestCluster(3)
        if thirdIsDown { cluster.crash(replica(3)) }
        cluster.setClock(1, offsetMicros: Self.threeDays)
        cluster.timeOut(1)
        var led = false
        for _ in 0..<150 {
            // A proposal after every single message and write.
            repeat {
                if !cluster.network.isEmpty { cluster.deliver(cluster.network.removeFirst()) }
                for node in cluster.nodes { cluster.sync(node.id, 1) }
                guard cluster[1].role == .leader else { continue }
                led = true
                if case .accepted(let index, _) = cluster.propose(1, "x") {
                    Issue.record("\(index) was stamped")
                    return
                }
            } while !cluster.network.isEmpty
            cluster.tickAll()
        }
        cluster.settle()
        let leader = cluster.leader
        #expect(led && leader != nil && leader != replica(1) && cluster[1].role == .follower)
        #expect(leader.map { mayStamp(cluster, $0.node.rawValue) } == true)
    }

    @Test("a new leader knows its voters' clocks when its first entry is committed, no later")
    func clocksCostNothing() {
        for voters in [1, 3, 5] as [UInt32] {
            let cluster = TestCluster(voters)
            var checked = 0
            cluster.watch = { [unowned cluster] id, effect in
                guard id == replica(1), case .committed = effect, cluster[1].role == .leader else { return }
                checked += 1
                #expect(mayStamp(cluster, 1), "\(voters) voters")
            }
            cluster.elect(1)
            #expect(checked > 0)
        }
    }

    @Test("a leader sees by itself that its clock jumps, before anything is stamped with it")
    func clockJumps() {
        let cluster = Self.busy()
        cluster.run(.milliseconds(100))
        #expect(mayStamp(cluster, 1))
        cluster.setClock(1, offsetMicros: Self.threeDays)
        #expect(!mayStamp(cluster, 1))
        cluster.tick(replica(1), after: .milliseconds(10))
        #expect(cluster.propose(1, "x") == .clockInDoubt)
        cluster.run(.milliseconds(300))
        #expect(cluster[1].role == .follower && cluster.leader != nil)
        // All clocks jump, as when a whole site slept: they agree.
        for node in [1, 2, 3] as [UInt32] { cluster.setClock(node, offsetMicros: 2 * Self.threeDays) }
        let (leader, term) = (cluster.leader, cluster.leader.map { cluster[$0].term })
        cluster.run(.milliseconds(100))
        #expect(cluster.leader == leader && leader.map { cluster[$0].term } == term)
        #expect(leader.map { mayStamp(cluster, $0.node.rawValue) } == true)
    }

    @Test("answers that take longer than heartbeats are apart tell clocks all the same")
    func clocksOverLongLinks() {
        let cluster = TestCluster(3)
        var underWay: [[RaftMessage]] = Array(repeating: [], count: 12)
        for _ in 0..<300 {
            underWay.append(cluster.network)
            cluster.network.removeAll()
            for message in underWay.removeFirst() { cluster.deliver(message) }
            cluster.syncAll()
            cluster.tickAll()
        }
        let leader = cluster.leader
        #expect(leader.map { mayStamp(cluster, $0.node.rawValue) } == true)
        #expect(leader.flatMap { cluster[$0].clockSkewMicros }.map { $0.magnitude < 100_000 } == true)
    }

    // MARK: - Preferred leaders

    @Test("the preferred leader is named after 10 s of stable following, not before")
    func preferredLeader() {
        let cluster = Self.busy(3, preferred: NodeID(2))
        cluster.run(.seconds(9))
        #expect(cluster[1].wantsPreferredTransfer == nil)
        cluster.run(.seconds(2))
        #expect(cluster[1].wantsPreferredTransfer == replica(2))
        cluster.run(.milliseconds(400), cut: [replica(2)])
        #expect(cluster[1].wantsPreferredTransfer == nil)
        cluster.run(.seconds(9))
        #expect(cluster[1].wantsPreferredTransfer == nil)
        cluster.run(.seconds(2))
        #expect(cluster.transfer(1, to: 2) == .started(replica(2)))
        cluster.settle()
        #expect(cluster[2].role == .leader && cluster[2].wantsPreferredTransfer == nil)
    }

    // MARK: - Snapshots

    @Test("a follower from before the log's start gets a snapshot and goes on from there")
    func snapshot() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.loseConnections(to: 3)
        for round in 0..<10 { cluster.propose(1, "\(round)") }
        cluster.settle()
        cluster.compact(replica(1))
        #expect(cluster[1].firstIndex == cluster[1].lastIndex.next)
        cluster.propose(1, "tail")
        cluster.settle()
        cluster.restart(replica(3))
        cluster.run(.milliseconds(300))
        #expect(cluster[3].lastIndex == cluster[1].lastIndex && cluster[3].firstIndex == LogIndex(17))
        cluster.crash(replica(3))
        cluster.restart(replica(3))
        #expect(cluster[3].lastIndex == cluster[1].lastIndex && cluster[3].commit >= LogIndex(16))
    }

    @Test("a missing snapshot is asked for once a second")
    func snapshotRepeated() {
        let cluster = Self.busy()
        cluster.deliversSnapshots = false
        cluster.crash(replica(3))
        for round in 0..<3 { cluster.propose(1, "\(round)") }
        cluster.settle()
        cluster.compact(replica(1))
        cluster.replaceDisk(replica(3), with: FakeDisk(membership: .empty))
        // The books of a new leader start anew.
        cluster.transfer(1, to: 2)
        cluster.settle()
        cluster.compact(replica(2))
        cluster.restart(replica(3))
        var asked = 0
        cluster.watch = { if case .needsSnapshot(replica(3)) = $1 { asked += 1 } }
        cluster.run(.seconds(5))
        #expect((4...6).contains(asked), "\(asked)")
    }

    @Test("a snapshot over a log of another history voids what it contradicts")
    func snapshotOverConflict() {
        let cluster = TestCluster(3)
        cluster.deliver(RaftPaperTests.message(1, 2, term: 1, RaftPaperTests.append(after: 0, 0, [1, 1, 1, 1, 1])))
        cluster.sync(replica(2))
        let members = cluster[2].membership
        cluster.installSnapshot(at: replica(2), index: LogIndex(3), term: Term(2), membership: members)
        #expect(
            cluster[2].lastIndex == LogIndex(3) && cluster[2].lastTerm == Term(2) && cluster[2].commit == LogIndex(3))
        cluster.sync(replica(2))
        // A crash before the truncation is durable leaves the old tail on disk: recovery sees that it is void.
        let state = RecoveredState(
            hardState: HardState(term: Term(2), vote: nil, commit: .zero), membership: members,
            snapshotIndex: LogIndex(3), snapshotTerm: Term(2),
            termRuns: [TermRun(firstIndex: LogIndex(1), term: Term(1))],
            lastIndex: LogIndex(5))
        let raft = RaftReplica(
            group: TestCluster.group, me: replica(2), recovered: state, preferred: nil, seed: 1, now: MonotonicTime(1))
        #expect(raft.lastIndex == LogIndex(3) && raft.lastTerm == Term(2))
    }

    @Test("a snapshot behind the own commit, or at a leader, is not taken")
    func snapshotRefused() {
        let cluster = Self.busy()
        for node in [1, 2] as [UInt32] {
            let taken = cluster.act(replica(node)) { raft, now, effects in
                raft.snapshotInstalled(
                    index: LogIndex(1), term: Term(1), membership: raft.membership, now: now, &effects)
            }
            #expect(taken == false)
        }
    }
}
