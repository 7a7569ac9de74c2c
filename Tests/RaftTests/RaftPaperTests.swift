import ClearingModel
import Raft
import Testing
import Wire

/// One test per rule of "In Search of an Understandable Consensus Algorithm".
@Suite("Raft, the paper rule by rule")
struct RaftPaperTests {
    typealias Body = RaftMessage.Body

    static func message(_ from: UInt32, _ to: UInt32, term: UInt64, _ body: Body) -> RaftMessage {
        RaftMessage(group: TestCluster.group, from: replica(from), to: replica(to), term: Term(term), body: body)
    }

    static func candidacy(_ index: UInt64, _ term: UInt64, transfer: Bool = false) -> RaftMessage.Candidacy {
        RaftMessage.Candidacy(lastIndex: LogIndex(index), lastTerm: Term(term), transfer: transfer)
    }

    static func append(
        after index: UInt64, _ term: UInt64, commit: UInt64 = 0, sequence: UInt64 = 1, _ terms: [UInt64] = []
    ) -> Body {
        var entries: [RaftEntry] = []
        for (offset, entryTerm) in terms.enumerated() {
            let at = LogIndex(index + 1) + offset
            entries.append(
                RaftEntry(index: at, term: Term(entryTerm), kind: .data, payload: payload("\(entryTerm)/\(at)")))
        }
        return .append(
            .init(
                sequence: sequence, previousIndex: LogIndex(index), previousTerm: Term(term), commit: LogIndex(commit),
                probe: false, entries: entries))
    }

    /// A cluster whose replica 2 has a log with these terms, all durable and none committed.
    static func clusterWithLog(_ terms: [UInt64], voters: UInt32 = 3) -> TestCluster {
        let cluster = TestCluster(voters)
        if let last = terms.last {
            cluster.deliver(message(1, 2, term: last, append(after: 0, 0, terms)))
            cluster.sync(replica(2))
        }
        cluster.network.removeAll()
        return cluster
    }

    static func terms(_ raft: RaftReplica) -> [UInt64] {
        (0..<raft.lastIndex.rawValue).map { raft.term(at: LogIndex($0 + 1))!.rawValue }
    }

    // MARK: - §5.1 Terms

    @Test("§5.1: a larger term is adopted, and a leader or candidate that sees one follows")
    func largerTerm() {
        for start in [Role.follower, .leader] {
            let cluster = TestCluster(3)
            if start == .leader { cluster.elect(1) }
            cluster.deliver(
                Self.message(
                    3, 1, term: 9, .heartbeat(.init(sequence: 1, commit: .zero, match: .zero, quarantined: false))))
            #expect(cluster[1].role == .follower && cluster[1].term == Term(9) && cluster[1].leader == replica(3))
        }
    }

    @Test("§5.1: a request with a stale term is refused, with the current term")
    func staleTerm() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        let term = cluster[1].term
        cluster.network.removeAll()
        cluster.deliver(Self.message(3, 1, term: 0, .vote(Self.candidacy(9, 9))))
        cluster.deliver(Self.message(3, 1, term: 0, Self.append(after: 0, 0, [0])))
        #expect(cluster.network.map(\.term) == [term, term])
        #expect(cluster[1].role == .leader && cluster[1].lastIndex == LogIndex(1))
    }

    // MARK: - §5.2 Elections

    @Test("§5.2: a follower that hears nothing for an election time-out starts an election")
    func timeOutStartsElection() {
        let cluster = TestCluster(3)
        cluster.tick(replica(1), after: .milliseconds(299))
        #expect(cluster[1].role == .follower)
        cluster.timeOut(1)
        #expect(cluster[1].role == .preCandidate)
    }

    @Test("§5.2: heartbeats keep followers from campaigning")
    func heartbeatsHold() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        let term = cluster[1].term
        cluster.run(.seconds(5))
        #expect(cluster[1].role == .leader && cluster[2].term == term && cluster[3].term == term)
    }

    @Test("§5.2: a candidate raises its term, votes for itself and asks all voters")
    func candidateAsksAll() {
        let cluster = TestCluster(5)
        cluster.timeOut(1)
        cluster.deliverAll { if case .preVote = $0.body { true } else { false } }
        cluster.deliverAll()
        #expect(cluster[1].role == .candidate && cluster[1].term == Term(1))
        cluster.sync(replica(1))
        #expect(cluster.disk(1).hardState == HardState(term: Term(1), vote: replica(1), commit: .zero))
        let asked = cluster.network.compactMap { message in
            if case .vote = message.body { message.to.node.rawValue } else { nil }
        }
        #expect(asked == [2, 3, 4, 5])
    }

    @Test("§5.2: a candidate's own vote counts, and others are asked, only when it is durable")
    func ownVoteDurable() {
        let cluster = TestCluster(1)
        cluster.timeOut(1)
        #expect(cluster[1].role == .candidate)
        cluster.sync(replica(1))
        #expect(cluster[1].role == .leader)
    }

    @Test(
        "§5.2: votes of a majority of the full membership elect",
        arguments: [(3, 1, true), (5, 1, false), (5, 2, true)])
    func majorityElects(voters: UInt32, granted: Int, elected: Bool) {
        let cluster = TestCluster(voters)
        cluster.timeOut(1)
        for _ in 0..<4 where cluster[1].role == .preCandidate { cluster.deliverAll() }
        cluster.sync(replica(1))
        for other in 2..<2 + UInt32(granted) {
            cluster.deliver(Self.message(other, 1, term: 1, .voteReply(granted: true)))
            cluster.deliver(Self.message(other, 1, term: 1, .voteReply(granted: true)))
        }
        #expect((cluster[1].role == .leader) == elected)
    }

    @Test("§5.2: one vote in a term, first come, first served; and it is held until durable")
    func oneVote() {
        let cluster = TestCluster(3)
        cluster.deliver(Self.message(1, 2, term: 4, .vote(Self.candidacy(0, 0))))
        #expect(cluster.network.isEmpty)
        cluster.deliver(Self.message(3, 2, term: 4, .vote(Self.candidacy(0, 0))))
        #expect(cluster.network.map(\.body) == [.voteReply(granted: false)])
        cluster.sync(replica(2))
        #expect(cluster.network.last == Self.message(2, 1, term: 4, .voteReply(granted: true)))
        #expect(cluster.disk(2).hardState.vote == replica(1))
        // A repeated request is granted again, from a restarted voter too.
        cluster.crash(replica(2))
        cluster.restart(replica(2))
        cluster.network.removeAll()
        cluster.deliver(Self.message(3, 2, term: 4, .vote(Self.candidacy(0, 0))))
        cluster.deliver(Self.message(1, 2, term: 4, .vote(Self.candidacy(0, 0))))
        #expect(cluster.network.map(\.body) == [.voteReply(granted: false), .voteReply(granted: true)])
    }

    @Test("§5.2: a grant that was not durable is not sent in a later term")
    func grantDiesWithTerm() {
        let cluster = TestCluster(3)
        cluster.deliver(Self.message(1, 2, term: 4, .vote(Self.candidacy(0, 0))))
        cluster.deliver(Self.message(3, 2, term: 5, .vote(Self.candidacy(0, 0))))
        cluster.sync(replica(2))
        #expect(cluster.network == [Self.message(2, 3, term: 5, .voteReply(granted: true))])
    }

    @Test("§5.2: a candidate that hears from the leader of its term follows it")
    func candidateFollows() {
        let cluster = TestCluster(3)
        cluster.timeOut(1)
        for _ in 0..<4 where cluster[1].role == .preCandidate { cluster.deliverAll() }
        cluster.deliver(Self.message(2, 1, term: 1, Self.append(after: 0, 0)))
        #expect(cluster[1].role == .follower && cluster[1].leader == replica(2) && cluster[1].term == Term(1))
    }

    @Test("§5.2: election time-outs are spread over 300 to 600 ms")
    func randomisedTimeouts() {
        var seen: [UInt64] = []
        for seed in 1...200 as ClosedRange<UInt64> {
            let cluster = TestCluster(3, seed: seed)
            var waited: UInt64 = 0
            while cluster[1].role == .follower {
                cluster.tick(replica(1), after: .milliseconds(1))
                waited += 1
            }
            seen.append(waited)
        }
        #expect(seen.min()! >= 300 && seen.max()! <= 601)
        #expect(seen.filter { $0 < 400 }.count > 30 && seen.filter { $0 > 500 }.count > 30)
    }

    // MARK: - §5.3 Replication

    @Test("§5.3: an entry is committed when a majority has it durably; the leader does not wait for its own disk")
    func commitByMajority() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        let before = cluster[1].commit
        #expect(cluster.propose(1, "a") == .accepted(before.next, cluster[1].term))
        cluster.deliverAll()
        #expect(cluster[1].commit == before, "received is not durable")
        cluster.sync(replica(2))
        cluster.deliverAll()
        #expect(cluster[1].commit == before, "one of three is no majority")
        cluster.sync(replica(3))
        cluster.deliverAll()
        #expect(cluster[1].commit == before.next && cluster[1].durableIndex == before)
    }

    @Test("§5.3: followers learn of a commit and apply in log order")
    func followersApply() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        for text in ["a", "b", "c"] { cluster.propose(1, text) }
        cluster.settle()
        cluster.run(.milliseconds(60))
        for node in 1...3 as ClosedRange<UInt32> { #expect(cluster[node].commit == LogIndex(4)) }
    }

    @Test("§5.3: an append whose previous entry is missing or of another term is refused")
    func consistencyCheck() {
        let cluster = Self.clusterWithLog([1, 2])
        for (index, term) in [(3, 2), (2, 1)] as [(UInt64, UInt64)] {
            cluster.deliver(Self.message(1, 2, term: 3, Self.append(after: index, term, [3])))
            #expect(cluster[2].lastIndex == LogIndex(2))
            guard case .appendReject? = cluster.network.last?.body else {
                Issue.record("not refused")
                return
            }
        }
    }

    @Test(
        "§5.3: conflicting entries and all that follow them give way, what agrees stays",
        arguments: [
            (after: 2, 2, new: [3], result: [1, 2, 3]), (after: 1, 1, new: [3, 4], result: [1, 3, 4]),
            (after: 0, 0, new: [1], result: [1, 2, 3]), (after: 0, 0, new: [3], result: [3]),
        ] as [(after: UInt64, UInt64, new: [UInt64], result: [UInt64])])
    func conflicts(after: UInt64, term: UInt64, new: [UInt64], result: [UInt64]) {
        let cluster = Self.clusterWithLog([1, 2, 3])
        cluster.deliver(Self.message(1, 2, term: 4, Self.append(after: after, term, new)))
        #expect(Self.terms(cluster[2]) == result)
        cluster.sync(replica(2))
        #expect(cluster.disk(2).entries.map(\.term.rawValue) == result)
    }

    @Test("§5.3: a late, shorter append voids nothing")
    func lateAppend() {
        let cluster = TestCluster(3)
        cluster.deliver(Self.message(1, 2, term: 1, Self.append(after: 0, 0, [1, 1, 1])))
        cluster.deliver(Self.message(1, 2, term: 1, Self.append(after: 0, 0, [1])))
        #expect(cluster[2].lastIndex == LogIndex(3))
    }

    @Test("§5.3: a leader brings every kind of diverged follower to its own log (figure 7)")
    func figure7() {
        let lead: [UInt64] = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
        let others: [[UInt64]] = [
            [1, 1, 1, 4, 4, 5, 5, 6, 6], [1, 1, 1, 4], [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
            [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], [1, 1, 1, 4, 4, 4, 4], [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        ]
        for log in others {
            let cluster = TestCluster(3)
            cluster.deliver(Self.message(2, 1, term: lead.last!, Self.append(after: 0, 0, lead)))
            cluster.deliver(Self.message(3, 2, term: log.last!, Self.append(after: 0, 0, log)))
            cluster.syncAll()
            cluster.network.removeAll()
            // Replica 3 has an empty log and elects replica 1, in a term after all others.
            cluster.deliver(
                Self.message(
                    2, 1, term: 7, .heartbeat(.init(sequence: 1, commit: .zero, match: .zero, quarantined: false))))
            cluster.network.removeAll()
            cluster.run(.milliseconds(700), cut: [replica(2)])
            cluster.run(.milliseconds(300))
            #expect(cluster[1].role == .leader)
            for node in [2, 3] as [UInt32] { #expect(Self.terms(cluster[node]) == Self.terms(cluster[1]), "\(log)") }
        }
    }

    @Test("§5.3: a follower acknowledges only what is durable and equals the leader's log")
    func acknowledgesDurable() {
        let cluster = Self.clusterWithLog([1, 1, 1])
        // The leader of term 2 has sent nothing yet that shows how far the logs agree.
        cluster.deliver(
            Self.message(1, 2, term: 2, .heartbeat(.init(sequence: 1, commit: .zero, match: .zero, quarantined: false)))
        )
        cluster.sync(replica(2))
        cluster.deliver(
            Self.message(1, 2, term: 2, .heartbeat(.init(sequence: 2, commit: .zero, match: .zero, quarantined: false)))
        )
        guard case .heartbeatReply(let match, _, _)? = cluster.network.last?.body else { return #expect(Bool(false)) }
        #expect(match == .zero)
        cluster.network.removeAll()
        cluster.deliver(Self.message(1, 2, term: 2, Self.append(after: 2, 1, sequence: 3, [2])))
        #expect(cluster.network.isEmpty, "the new entry is not durable")
        cluster.sync(replica(2))
        guard case .appendReply(let match, _)? = cluster.network.last?.body else { return #expect(Bool(false)) }
        #expect(match == LogIndex(3))
    }

    // MARK: - §5.4 Safety

    @Test(
        "§5.4.1: a vote goes only to a log that is at least as up to date",
        arguments: [
            (index: 2, term: 2, granted: true), (index: 3, term: 2, granted: true), (index: 1, term: 3, granted: true),
            (index: 1, term: 2, granted: false), (index: 9, term: 1, granted: false),
        ] as [(index: UInt64, term: UInt64, granted: Bool)])
    func upToDate(index: UInt64, term: UInt64, granted: Bool) {
        let cluster = Self.clusterWithLog([1, 2])
        cluster.act(replica(2)) { $0.peerLost(NodeID(1), now: $1, &$2) }
        cluster.deliver(Self.message(3, 2, term: 5, .vote(Self.candidacy(index, term))))
        cluster.sync(replica(2))
        #expect(cluster.network.map(\.body) == [.voteReply(granted: granted)])
    }

    @Test("§5.4.2: an entry of an earlier term is committed only with one of the own term (figure 8)")
    func onlyOwnTerm() {
        let cluster = TestCluster(3)
        cluster.elect(1)
        cluster.propose(1, "a")
        // Durable on 1 and 2, acknowledged by nobody: the leader dies.
        cluster.deliverAll { $0.to == replica(2) }
        cluster.sync(replica(1))
        cluster.sync(replica(2))
        cluster.crash(replica(1))
        cluster.network.removeAll()
        cluster.loseConnections(to: 1)
        cluster.electOnly(2)
        // A majority has the old entry, but not yet the one that opens the new term.
        let (old, term) = (LogIndex(2), cluster[2].term)
        for match in [old, old.next] {
            let followed = RaftMessage.Followed(sequence: 1, matched: match, lastIndex: match)
            cluster.deliver(Self.message(3, 2, term: term.rawValue, .appendReply(match: match, followed)))
            cluster.sync(replica(2))
            #expect(cluster[2].durableIndex >= old && cluster[2].commit == (match == old ? LogIndex(1) : match))
        }
    }

    @Test("§5.4.3: a leader never voids or rewrites an entry of its own log")
    func leaderAppendOnly() {
        let cluster = TestCluster(3)
        var truncated = false
        cluster.watch = { id, effect in
            if case .persistTruncate = effect, id == replica(1) { truncated = true }
        }
        cluster.elect(1)
        for round in 0..<20 {
            cluster.propose(1, "\(round)")
            cluster.settle()
        }
        #expect(!truncated && cluster[1].lastIndex == LogIndex(21))
    }

    // MARK: - §6, §8

    @Test("§8: a leader's first act is an empty entry of its own term")
    func noopFirst() {
        let cluster = Self.clusterWithLog([1, 1])
        cluster.act(replica(2)) { $0.peerLost(NodeID(1), now: $1, &$2) }
        cluster.run(.milliseconds(300), cut: [replica(1)])
        #expect(cluster[2].role == .leader)
        #expect(cluster[2].entry(at: LogIndex(3))?.kind == .noop && cluster[2].term(at: LogIndex(3)) == cluster[2].term)
    }

    @Test("§6: a membership is in force from the moment it stands in the log, and falls back when it is voided")
    func membershipFromLog() {
        let cluster = TestCluster(voters: [replica(1), replica(2), replica(3)])
        cluster.elect(1)
        cluster.change(1, .addLearner(replica(4)))
        #expect(cluster[1].membership.isLearner(replica(4)) && !cluster[1].committedMembership.isLearner(replica(4)))
        cluster.network.removeAll()
        cluster.sync(replica(1))
        // Nobody else has the entry; another leader's log replaces it.
        cluster.deliver(Self.message(2, 1, term: 9, Self.append(after: 1, 1, [9])))
        #expect(!cluster[1].membership.isLearner(replica(4)))
    }
}
