import ClearingModel
import Raft
import Testing
import Wire

@Suite("Raft: what a damaged disk may have forgotten")
struct RaftDoubtTests {
    static func busy(_ count: UInt32 = 3) -> TestCluster { RaftMembershipTests.busy(count) }

    @Test("a replica in doubt neither votes nor acknowledges before a leader has settled that")
    func lostHardState() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.restart(replica(3), fence: .noVote)
        cluster.propose(1, "x")
        cluster.settle(cut: [replica(2)])
        #expect(cluster[1].commit < cluster[1].lastIndex, "it acknowledged")
        cluster.run(.milliseconds(500), cut: [replica(2)])
        #expect(cluster[3].fence == .noVote, "with it alone a leader commits nothing, and so settles nothing")
        cluster.act(replica(3)) { $0.peerLost(NodeID(1), now: $1, &$2) }
        cluster.network.removeAll()
        cluster.deliver(RaftPaperTests.message(2, 3, term: 50, .vote(RaftPaperTests.candidacy(99, 49))))
        cluster.sync(replica(3))
        #expect(cluster.network.map(\.body) == [.voteReply(granted: false)])
        cluster.run(.seconds(3))
        #expect(cluster[3].fence.isEmpty && cluster[3].commit == cluster[1].commit)
    }

    @Test("in a cluster that is well a doubt is settled in its term, with work or without", arguments: [false, true])
    func settledAtRest(isBusy: Bool) {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.restart(replica(3), fence: .noVote)
        let term = cluster[1].term
        // More than a follower's window.
        for number in 0..<200 {
            if isBusy { cluster.propose(1, "x\(number)") }
            cluster.run(.milliseconds(20))
            if number == 20 { #expect(cluster[3].fence.isEmpty) }
        }
        #expect(cluster[1].role == .leader && cluster[3].term == term)
        cluster.run(.milliseconds(500))
        #expect(cluster[3].commit == cluster[1].commit && cluster[3].durableIndex == cluster[1].durableIndex)
        if !isBusy { #expect(cluster[1].lastIndex == LogIndex(7), "one empty entry is enough") }
    }

    /// Replica 2 forgets its vote for replica 3, which has been elected by it, and learns of no more than replica 1, the leader
    /// of the term before, which was away meanwhile.
    @Test(
        "a leader of an earlier term does not settle a vote that was forgotten, nor commit or read with who forgot it")
    func forgottenVote() {
        let cluster = Self.busy()
        let (one, two, three) = (replica(1), replica(2), replica(3))
        // Term 1 is all that the disk of replica 2 will remember. Without it 3 leads term 2, and 1 term 3, where it commits.
        cluster.run(.milliseconds(100))
        let old = cluster.disk(2)
        cluster.crash(two)
        cluster.transfer(1, to: 3)
        cluster.settle()
        cluster.transfer(3, to: 1)
        cluster.settle()
        cluster.propose(1, "ten")
        cluster.settle()
        cluster.restart(two)
        #expect(cluster[1].role == .leader && cluster[1].term == Term(3) && cluster[2].term == Term(1))
        let committed = cluster[1].commit
        #expect(committed == cluster[1].lastIndex)
        // 1 stands still. 2 votes for 3 in term 4, and then 3 is cut off too.
        cluster.loseConnections(to: 1)
        cluster.timeOut(3)
        for _ in 0..<10 where cluster[3].role != .leader {
            cluster.network.removeAll { $0.to == one }
            cluster.deliverAll()
            cluster.sync(two)
            cluster.sync(three)
        }
        cluster.network.removeAll()
        #expect(cluster[3].role == .leader && cluster[3].term == Term(4) && cluster[2].term == Term(4))
        cluster.crash(two)
        cluster.replaceDisk(two, with: old)
        cluster.restart(two, fence: .noVote)
        // 1 wakes and has only 2.
        var acknowledged: [LogIndex: Term] = [:]
        cluster.watch = { [unowned cluster] id, effect in
            guard case .committed(let index) = effect, cluster[id].role == .leader else { return }
            acknowledged[index] = cluster[id].term(at: index)
        }
        cluster.tick(one, after: .milliseconds(50))
        cluster.settle(cut: [three])
        cluster.run(.milliseconds(100), cut: [three])
        cluster.propose(1, "lost")
        cluster.read(1, token: 7)
        cluster.run(.milliseconds(300), cut: [three])
        #expect(cluster[2].term == Term(3) && cluster[2].commit == committed, "it follows, and has what is committed")
        #expect(cluster[2].fence == .noVote && cluster[1].commit == committed)
        #expect(cluster.reads(1).isEmpty, "a read was confirmed by a replica that elected a later leader")
        cluster.run(.seconds(1), cut: [three])
        #expect(cluster[1].role != .leader, "a leader stays that can commit nothing")
        cluster.run(.seconds(4))
        let leader = cluster.leader
        #expect(leader != nil && cluster[2].fence.isEmpty)
        for (index, term) in acknowledged { #expect(leader.map { cluster[$0].term(at: index) } == term) }
        for node in 1...3 as ClosedRange<UInt32> {
            #expect(cluster[node].halted == nil && cluster[node].commit == cluster[1].commit)
        }
    }

    @Test("one of three dead and one in doubt stand still; the dead one comes back and all is well")
    func oneDeadOneInDoubt() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.crash(replica(2))
        cluster.restart(replica(2), fence: .noVote)
        cluster.run(.seconds(5))
        #expect(cluster.leader == nil && cluster[2].fence == .noVote)
        cluster.restart(replica(3))
        cluster.run(.seconds(3))
        #expect(cluster.leader != nil && cluster[2].fence.isEmpty)
        for node in 1...3 as ClosedRange<UInt32> { #expect(cluster[node].commit == cluster[1].lastIndex) }
    }

    @Test("what settles the doubt of one start does not settle that of the next")
    func namesOfDoubts() {
        let cluster = Self.busy()
        cluster.crash(replica(3))
        cluster.restart(replica(3), fence: .noVote)
        var settling: RaftMessage?
        cluster.watch = { _, effect in
            if case .send(let message) = effect, case .heartbeat(let heartbeat) = message.body,
                heartbeat.settlement != nil
            {
                settling = message
            }
        }
        // Long enough for its disk to know of the commit: the next start has all that was asked for then.
        cluster.run(.seconds(2))
        #expect(cluster[3].fence.isEmpty)
        cluster.crash(replica(3))
        cluster.restart(replica(3), fence: .noVote)
        cluster.network.removeAll()
        settling.map { cluster.deliver($0) }
        #expect(settling != nil && cluster[3].fence == .noVote)
        cluster.run(.milliseconds(300))
        #expect(cluster[3].fence.isEmpty)
    }

    @Test("a replica whose doubt was settled in a term gives no second vote in that term")
    func noSecondVote() {
        let cluster = Self.busy()
        let before = cluster.disk(3)
        cluster.transfer(1, to: 2)
        cluster.settle()
        let term = cluster[2].term
        // The vote of term 2 is forgotten.
        cluster.crash(replica(3))
        cluster.replaceDisk(replica(3), with: before)
        cluster.restart(replica(3), fence: .noVote)
        cluster.run(.milliseconds(300))
        #expect(cluster[3].fence.isEmpty && cluster[3].term == term && cluster[2].role == .leader)
        cluster.crash(replica(3))
        cluster.restart(replica(3))
        cluster.network.removeAll()
        cluster.deliver(
            RaftPaperTests.message(1, 3, term: term.rawValue, .vote(RaftPaperTests.candidacy(99, term.rawValue))))
        cluster.sync(replica(3))
        #expect(cluster.network.map(\.body) == [.voteReply(granted: false)])
    }

    @Test("what a leader noted as acknowledged does not make void entries good whose truncation was lost")
    func lostTruncation() {
        let cluster = Self.busy()
        // Entries 7 to 9 of term 1 reach nobody but their leader.
        for round in 0..<3 { cluster.propose(1, "void \(round)") }
        cluster.settle(cut: [replica(2), replica(3)])
        cluster.run(.milliseconds(100), cut: [replica(2), replica(3)])
        let before = cluster.disk(1)
        #expect(before.lastIndex == LogIndex(9) && before.term(at: LogIndex(7)) == Term(1))
        cluster.network.removeAll()
        cluster.loseConnections(to: 1)
        for _ in 0..<100 where cluster.leader == nil || cluster.leader == replica(1) {
            cluster.run(.milliseconds(10), cut: [replica(1)])
        }
        cluster.run(.milliseconds(500))
        let leader = cluster.leader
        #expect(leader != replica(1) && cluster[1].lastIndex == LogIndex(7) && cluster[1].commit == LogIndex(7))
        // The disk forgets what term 2 brought. Its leader still leads, and knows that entry 7 was acknowledged.
        cluster.crash(replica(1))
        cluster.replaceDisk(replica(1), with: before)
        var committed: [Term?] = []
        var alarms = 0
        cluster.watch = { [unowned cluster] id, effect in
            if case .quarantined = effect { alarms += 1 }
            guard id == replica(1), case .committed(let index) = effect, index >= LogIndex(7) else { return }
            committed.append(cluster[1].term(at: LogIndex(7)))
        }
        cluster.restart(replica(1), fence: .noVote)
        cluster.run(.seconds(4))
        #expect(committed.first == Term(2) && alarms == 0)
        for node in 1...3 as ClosedRange<UInt32> { #expect(cluster[node].lastIndex == cluster[1].lastIndex) }
        #expect(cluster[1].fence.isEmpty && cluster[1].commit == cluster[1].lastIndex)
    }

    @Test("a replica that knows that it may have lost its last entry gets it again: no older image, no quarantine")
    func lostLastEntry() {
        let cluster = Self.busy()
        let before = cluster.disk(3)
        cluster.propose(1, "lost")
        cluster.settle()
        cluster.run(.milliseconds(100))
        var alarms = 0
        cluster.watch = { if case .quarantined = $1 { alarms += 1 } }
        cluster.crash(replica(3))
        cluster.replaceDisk(replica(3), with: before)
        cluster.restart(replica(3), fence: .noVote)
        cluster.run(.seconds(4))
        #expect(alarms == 0 && cluster[3].fence.isEmpty)
        #expect(cluster[3].commit == cluster[1].lastIndex && cluster[3].lastIndex == cluster[1].lastIndex)
    }
}
