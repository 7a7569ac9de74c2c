import ClearingModel
import Raft
import Testing
import Wire

/// One test per rule of Ongaro's thesis, "Consensus: Bridging Theory and Practice", beyond the paper.
@Suite("Raft, the thesis rule by rule")
struct RaftThesisTests {
    @Test("thesis §3.10: the old leader stops taking proposals, brings the target up to date and tells it to campaign")
    func transfer() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.propose(1, "a")
        #expect(cluster.transfer(1, to: 3) == .started(replica(3)))
        #expect(cluster.propose(1, "b") == .transferring)
        cluster.settle()
        #expect(cluster[3].role == .leader && cluster[1].role == .follower && cluster[1].leader == replica(3))
        #expect(cluster[3].commit == LogIndex(3))
    }

    @Test("thesis §3.10: a transfer that does not come about in time is given up")
    func transferGivenUp() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.transfer(1, to: 3)
        cluster.run(.milliseconds(350), cut: [replica(3)])
        #expect(cluster[1].role == .leader && !cluster[1].isTransferring)
        if case .accepted = cluster.propose(1, "a") {} else { Issue.record("still refuses proposals") }
    }

    @Test("thesis §4.1: one membership change at a time")
    func oneChange() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.change(1, .remove(replica(3)))
        #expect(cluster.change(1, .remove(replica(2))) == .refused(.changeInProgress(LogIndex(2))))
        cluster.settle()
        if case .accepted = cluster.change(1, .remove(replica(2))) {} else { Issue.record("refused") }
    }

    @Test("thesis §4.1 (erratum): no membership change before the leader has committed in its own term")
    func changeAfterOwnTerm() {
        let cluster = TestCluster(3)
        cluster.electOnly(1)
        #expect(cluster.change(1, .remove(replica(3))) == .refused(.termNotCommitted))
        cluster.settle()
        if case .accepted = cluster.change(1, .remove(replica(3))) {} else { Issue.record("refused") }
    }

    @Test("thesis §4.2.1: a learner counts neither for commit nor in elections, and is promoted once it has caught up")
    func learners() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.addStranger(replica(4))
        for round in 0..<30 {
            cluster.propose(1, "\(round)")
            cluster.settle()
        }
        cluster.change(1, .addLearner(replica(4)))
        cluster.settle(cut: [replica(4)])
        #expect(cluster.change(1, .promote(replica(4))) == .refused(.behind(32)))
        // Three voters: two of them decide, with or without the learner.
        cluster.propose(1, "x")
        cluster.settle(cut: [replica(2), replica(3)])
        #expect(cluster[1].commit < cluster[1].lastIndex)
        cluster.run(.milliseconds(200))
        #expect(cluster[4].lastIndex == cluster[1].lastIndex && cluster[4].commit == cluster[1].commit)
        cluster.change(1, .promote(replica(4)))
        cluster.settle()
        #expect(cluster[1].committedMembership.voters.count == 4)
    }

    @Test("thesis §4.2.2: a leader that removes itself leads until that is committed, and does not count itself")
    func removesItself() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.change(1, .remove(replica(1)))
        cluster.sync(replica(1))
        #expect(cluster[1].role == .leader && cluster[1].commit < cluster[1].lastIndex)
        cluster.settle()
        #expect(cluster[1].role == .follower && !cluster[1].membership.contains(replica(1)))
        #expect(cluster.leader == replica(2) || cluster.leader == replica(3))
        cluster.run(.seconds(3))
        #expect(cluster[1].role == .follower, "a removed replica does not campaign")
    }

    @Test("thesis §4.2.3: a removed replica that missed its removal disturbs nobody, and learns")
    func removedLearns() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.change(1, .remove(replica(3)))
        cluster.run(.seconds(12), cut: [replica(3)])
        let term = cluster[1].term
        #expect(cluster[3].membership.contains(replica(3)))
        cluster.run(.seconds(2))
        #expect(cluster[1].role == .leader && cluster[1].term == term)
        #expect(!cluster[3].membership.contains(replica(3)))
    }

    @Test("thesis §4.2.3: who hears a live leader neither votes nor adopts the candidate's term")
    func liveLeaderProtected() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        let term = cluster[2].term
        cluster.network.removeAll()
        cluster.deliver(RaftPaperTests.message(3, 2, term: 99, .vote(RaftPaperTests.candidacy(99, 99))))
        cluster.deliver(RaftPaperTests.message(3, 1, term: 99, .vote(RaftPaperTests.candidacy(99, 99))))
        #expect(cluster.network.isEmpty && cluster[2].term == term && cluster[1].role == .leader)
        // Unless that leader asked for it.
        cluster.deliver(RaftPaperTests.message(3, 2, term: 99, .vote(RaftPaperTests.candidacy(99, 99, transfer: true))))
        #expect(cluster[2].term == Term(99))
    }

    @Test("thesis §6.2: a leader that hears no majority for an election time-out steps down")
    func checkQuorum() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.run(.milliseconds(500), cut: [replica(1)])
        #expect(cluster[1].role == .leader)
        cluster.run(.milliseconds(200), cut: [replica(1)])
        #expect(cluster[1].role != .leader && cluster[1].leader == nil)
    }

    @Test("thesis §6.4: a read needs one round with a majority, and sees all that was committed before it")
    func readIndex() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.propose(1, "a")
        cluster.settle()
        cluster.read(1, token: 7)
        #expect(cluster.reads(1).isEmpty)
        cluster.settle()
        #expect(cluster.reads(1) == [7])
        #expect(cluster.nodes[0].readsReady[0].index == cluster[1].commit)
    }

    @Test("thesis §6.4: no read before the leader has committed in its own term")
    func readAfterOwnTerm() {
        let cluster = TestCluster(3)
        cluster.electOnly(1)
        cluster.read(1, token: 1)
        cluster.tick(replica(1), after: .milliseconds(60))
        cluster.deliverAll { if case .heartbeat = $0.body { true } else { false } }
        cluster.deliverAll { if case .heartbeatReply = $0.body { true } else { false } }
        #expect(cluster.reads(1).isEmpty)
        cluster.settle()
        #expect(cluster.reads(1) == [1] && cluster.nodes[0].readsReady[0].index == LogIndex(1))
    }

    @Test("thesis §6.4: a deposed leader serves no read, however late it notices")
    func staleLeaderReads() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        // Replica 1 stands still while the others elect another leader.
        for _ in 0..<100 {
            cluster.tick(replica(2), after: .milliseconds(10))
            cluster.tick(replica(3), after: .milliseconds(10))
            cluster.settle(cut: [replica(1)])
        }
        #expect(cluster.leader != replica(1))
        cluster.read(1, token: 1)
        #expect(cluster[1].role == .leader)
        cluster.settle()
        #expect(cluster.reads(1).isEmpty && cluster.failedReads(1) == [1])
    }

    @Test("thesis §6.4: reads that come while a round is under way share the next one")
    func readsShareRounds() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.network.removeAll()
        for token in 1...50 as ClosedRange<UInt64> { cluster.read(1, token: token) }
        #expect(cluster.network.count == 2)
        var sent = 0
        for _ in 0..<10 {
            sent += cluster.network.count
            cluster.deliverAll()
        }
        #expect(cluster.reads(1) == Array(1...50) && sent == 8)
    }

    @Test("thesis §9.6: a pre-vote changes neither term nor vote of anyone")
    func preVoteChangesNothing() {
        let cluster = TestCluster(3)
        cluster.timeOut(1)
        cluster.deliverAll()
        #expect(cluster[2].term == .zero && cluster[1].term == .zero)
        #expect(cluster.disk(1).pending.isEmpty && cluster.disk(2).pending.isEmpty)
    }

    @Test("thesis §9.6: a replica that comes back from a partition does not depose the leader")
    func preVoteAfterPartition() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        let term = cluster[1].term
        cluster.run(.seconds(5), cut: [replica(3)])
        #expect(cluster[3].term == term)
        cluster.run(.seconds(1))
        #expect(cluster[1].role == .leader && cluster[1].term == term && cluster[3].leader == replica(1))
    }

    @Test("thesis §9.6: a pre-vote is granted only to an up-to-date log, and not while a leader is live")
    func preVoteConditions() {
        let cluster = RaftPaperTests.clusterWithLog([1, 2])
        cluster.deliver(RaftPaperTests.message(3, 2, term: 3, .preVote(RaftPaperTests.candidacy(2, 2))))
        cluster.act(replica(2)) { $0.peerLost(NodeID(1), now: $1, &$2) }
        cluster.deliver(RaftPaperTests.message(3, 2, term: 3, .preVote(RaftPaperTests.candidacy(1, 2))))
        cluster.deliver(RaftPaperTests.message(3, 2, term: 3, .preVote(RaftPaperTests.candidacy(2, 2))))
        #expect(cluster.network.map(\.body) == [false, false, true].map { .preVoteReply(granted: $0) })
    }

    @Test("thesis §10.2.1: the leader sends before its own disk has synced")
    func sendsBeforeSync() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.network.removeAll()
        cluster.propose(1, "a")
        #expect(cluster.network.count == 2 && cluster[1].durableIndex < cluster[1].lastIndex)
    }
}
