import ClearingModel
import Raft
import Testing
import Wire

@Suite("Raft: memberships, incarnations and fences")
struct RaftMembershipTests {
    static func busy(_ count: UInt32 = 3) -> TestCluster {
        let cluster = TestCluster(count)
        cluster.elect(1)
        for round in 0..<5 { cluster.propose(1, "\(round)") }
        cluster.settle()
        return cluster
    }

    @Test("what may be proposed, and why not")
    func refusals() {
        let cluster = Self.busy()
        #expect(cluster.change(2, .remove(replica(3))) == .refused(.notLeader(replica(1))))
        #expect(cluster.change(1, .addLearner(replica(3))) == .refused(.nodeIsMember(replica(3))))
        #expect(cluster.change(1, .addLearner(replica(3, 2))) == .refused(.nodeIsMember(replica(3))))
        #expect(cluster.change(1, .promote(replica(4))) == .refused(.notLearner))
        #expect(cluster.change(1, .remove(replica(4))) == .refused(.notMember))
        cluster.transfer(1, to: 2)
        #expect(cluster.change(1, .remove(replica(3))) == .refused(.transferring))
        let alone = TestCluster(1)
        alone.elect(1)
        #expect(alone.change(1, .remove(replica(1))) == .refused(.lastVoter))
        let full = Membership(voters: (1...7).map { replica($0) })
        #expect(full.applying(.addLearner(replica(8))) == .failure(.tooManyReplicas))
    }

    @Test("a wiped disk comes back as a new incarnation: remove, add as learner, promote")
    func rejoin() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.loseConnections(to: 3)
        cluster.addStranger(replica(3, 2))
        for change in [.remove(replica(3)), .addLearner(replica(3, 2)), .promote(replica(3, 2))] as [MembershipChange] {
            if case .refused(let refusal) = cluster.change(1, change) { Issue.record("\(refusal)") }
            cluster.run(.milliseconds(200))
        }
        let expected = Membership(voters: [replica(1), replica(2), replica(3, 2)])
        for id in expected.voters {
            #expect(cluster[id].committedMembership == expected && cluster[id].lastIndex == cluster[1].lastIndex)
        }
    }

    @Test("once a newer incarnation was heard, the older one counts for nothing")
    func olderIncarnation() {
        let cluster = Self.busy()
        let message = RaftMessage(
            group: TestCluster.group, from: replica(3, 2), to: replica(1), term: .zero, body: .voteReply(granted: false)
        )
        cluster.deliver(message)
        cluster.propose(1, "x")
        cluster.settle(cut: [replica(2)])
        #expect(cluster[1].commit < cluster[1].lastIndex, "the acknowledgement of 3.1 was counted")
        cluster.settle()
        #expect(cluster.change(1, .remove(replica(3))) != .refused(.notMember))
        cluster.settle()
        #expect(cluster.change(1, .addLearner(replica(3))) == .refused(.oldIncarnation(replica(3, 2))))
    }

    @Test("messages for another incarnation, another group or from the own node are dropped")
    func misdirected() {
        let cluster = Self.busy()
        let heartbeat = RaftMessage.Body.heartbeat(.init(sequence: 1, commit: .zero, match: .zero, quarantined: false))
        for (group, from, to) in [
            (TestCluster.group, replica(2), replica(1, 2)), (ShardID(9), replica(2), replica(1)),
            (TestCluster.group, replica(1, 2), replica(1)),
        ] {
            let message = RaftMessage(group: group, from: from, to: to, term: Term(99), body: heartbeat)
            cluster.act(replica(1)) { $0.step(message, now: $1, wall: .zero, &$2) }
        }
        #expect(cluster[1].role == .leader)
    }

    @Test("votes and acknowledgements of replicas outside the membership count for nothing")
    func strangersDoNotCount() {
        let cluster = TestCluster(3)
        cluster.timeOut(1)
        for _ in 0..<4 where cluster[1].role == .preCandidate { cluster.deliverAll() }
        cluster.sync(replica(1))
        for node in 7...9 as ClosedRange<UInt32> {
            cluster.deliver(RaftPaperTests.message(node, 1, term: 1, .voteReply(granted: true)))
        }
        #expect(cluster[1].role == .candidate)
    }

    @Test("a replica whose log went back within an incarnation is quarantined")
    func regression() {
        let cluster = Self.busy()
        let old = cluster.disk(3)
        for round in 0..<5 { cluster.propose(1, "later \(round)") }
        cluster.settle()
        var alarms: [ReplicaID] = []
        cluster.watch = { if case .quarantined(let id) = $1 { alarms.append(id) } }
        cluster.crash(replica(3))
        cluster.replaceDisk(replica(3), with: old)
        cluster.restart(replica(3))
        cluster.run(.milliseconds(300))
        #expect(alarms == [replica(3)])
        #expect(cluster[1].followerStatus.first { $0.replica == replica(3) }?.state == .quarantined)
        #expect(cluster[3].fence.contains(.quarantined))
        cluster.propose(1, "x")
        cluster.settle(cut: [replica(2)])
        #expect(cluster[1].commit < cluster[1].lastIndex, "a quarantined replica was counted")
        // It does not vote either: with replica 2 away nobody is elected.
        cluster.crash(replica(1))
        cluster.run(.seconds(3), cut: [replica(2)])
        #expect(cluster.leader == nil)
    }

    @Test("a replica with a hole acknowledges up to it, does not campaign, and is back once repaired")
    func hole() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.restart(replica(3), fence: .noCampaign, holeIndex: LogIndex(4))
        cluster.run(.milliseconds(700))
        #expect(cluster[1].role == .leader)
        let match = { cluster[1].followerStatus.first { $0.replica == replica(3) }!.match }
        // What it acknowledged before stays acknowledged; what comes now is not.
        cluster.propose(1, "x")
        cluster.settle(cut: [replica(2)])
        #expect(cluster[1].commit < cluster[1].lastIndex && cluster[3].commit <= LogIndex(3))
        let known = cluster.nodes[cluster.position(replica(3))].disk.known
        cluster.act(replica(3)) { $0.holeRepaired(known, &$2) }
        cluster.settle(cut: [replica(2)])
        #expect(match() == cluster[1].lastIndex && cluster[1].commit == cluster[1].lastIndex)
    }

    @Test("what recovery guesses of a hole gives way to what the repaired log says: terms and memberships")
    func guessedHole() {
        func runs(_ list: [(UInt64, UInt64)]) -> [TermRun] {
            list.map { TermRun(firstIndex: LogIndex($0.0), term: Term($0.1)) }
        }
        let (three, two) = (
            Membership(voters: [replica(1), replica(2), replica(3)]), Membership(voters: [replica(1), replica(3)])
        )
        // Entries 2 to 6 are lost, among them two changes of term and one of membership; 7 and 8 are there.
        let state = RecoveredState(
            hardState: HardState(term: Term(5), vote: nil, commit: .zero), membership: three,
            termRuns: runs([(1, 1), (7, 5)]), lastIndex: LogIndex(8), fence: .noCampaign, holeIndex: LogIndex(2))
        var raft = RaftReplica(
            group: TestCluster.group, me: replica(1), recovered: state, preferred: nil, seed: 1, now: MonotonicTime(1))
        var effects: [RaftEffect] = []
        raft.holeRepaired(
            KnownLog(
                termRuns: runs([(1, 1), (3, 2), (5, 4), (7, 5)]), configurationEntries: [(LogIndex(4), two)],
                lastIndex: LogIndex(8)), &effects)
        #expect((1...8).map { raft.term(at: LogIndex($0))?.rawValue } == [1, 1, 2, 2, 4, 4, 5, 5])
        #expect(raft.membership == two && raft.fence.isEmpty)
    }

    @Test(
        "a state from behind a hole: its membership is in force, and a hole behind it keeps the fence",
        arguments: [3, 6])
    func stateBehindAHole(at place: UInt64) {
        let (three, two) = (
            Membership(voters: [replica(1), replica(2), replica(3)]), Membership(voters: [replica(1), replica(3)])
        )
        // Known to be committed up to 4; entries 2 and 8 are lost, and nobody knows any more that 2 changed the membership.
        let state = RecoveredState(
            hardState: HardState(term: Term(1), vote: nil, commit: LogIndex(4)), membership: three,
            termRuns: [TermRun(firstIndex: LogIndex(1), term: Term(1))], lastIndex: LogIndex(9))
        var raft = RaftReplica(
            group: TestCluster.group, me: replica(1), recovered: state, preferred: nil, seed: 1, now: MonotonicTime(1))
        var effects: [RaftEffect] = []
        raft.holeFound(at: LogIndex(2), &effects)
        let index = LogIndex(place)
        if index <= raft.commit {
            raft.stateRestored(through: index, membership: two, hole: LogIndex(8), &effects)
        } else {
            raft.snapshotInstalled(
                index: index, term: Term(1), membership: two, hole: LogIndex(8), now: MonotonicTime(2), &effects)
        }
        #expect(raft.membership == two && raft.firstIndex == index.next && raft.lastIndex == LogIndex(9))
        #expect(raft.fence == .noCampaign && raft.holeIndex == LogIndex(8))
        raft.holeRepaired(
            KnownLog(
                termRuns: [TermRun(firstIndex: index.next, term: Term(1))], configurationEntries: [],
                lastIndex: LogIndex(9)), &effects)
        #expect(raft.membership == two && raft.fence.isEmpty)
    }

    @Test("a leader that finds a hole in its log hands over at once")
    func holeInLeader() {
        let cluster = Self.busy()
        cluster.act(replica(1)) { $0.holeFound(at: LogIndex(3), &$2) }
        cluster.settle()
        #expect(cluster.leader != nil && cluster.leader != replica(1) && cluster[1].isFenced)
    }

    @Test("log entries of a term later than the hard state's show that the hard state was lost")
    func hardStateBehindLog() {
        let state = RecoveredState(
            hardState: HardState(term: Term(1), vote: replica(2), commit: .zero),
            membership: Membership(voters: [replica(1), replica(2)]),
            termRuns: [TermRun(firstIndex: LogIndex(1), term: Term(3))], lastIndex: LogIndex(2))
        let raft = RaftReplica(
            group: TestCluster.group, me: replica(1), recovered: state, preferred: nil, seed: 1, now: MonotonicTime(1))
        #expect(raft.term == Term(3) && raft.fence == .noVote)
    }

    @Test("an entry that contradicts a committed one halts the replica, not the process")
    func committedConflict() {
        let cluster = Self.busy()
        var reason: HaltReason?
        cluster.watch = { if case .halted(let why) = $1 { reason = why } }
        cluster.run(.milliseconds(100))
        cluster.deliver(RaftPaperTests.message(3, 2, term: 9, RaftPaperTests.append(after: 1, 1, [9])))
        #expect(reason == .committedConflict(LogIndex(2)) && cluster[2].halted == reason)
        cluster.run(.seconds(1), cut: [replica(3)])
        #expect(cluster[2].role == .follower)
    }
}
