import ClearingModel
import Raft
import Testing
import Wire

/// Replica 1 starts with this log; entries 3 to 7 cannot be read, and all that is known of them is that 7 was of term 4:
///
///     term    1 1 . . . . 4 5 5 5
///     index   1 2 3 4 5 6 7 8 9 10
@Suite("Raft: a log with a hole")
struct RaftHoleTests {
    private var raft: RaftReplica
    private var effects: [RaftEffect] = []

    init() { self.init(commit: 2, holeIndex: 3) }

    private init(commit: UInt64, holeIndex: UInt64) {
        func runs(_ list: [(UInt64, UInt64)]) -> [TermRun] {
            list.map { TermRun(firstIndex: LogIndex($0.0), term: Term($0.1)) }
        }
        let state = RecoveredState(
            hardState: HardState(term: Term(5), vote: nil, commit: LogIndex(commit)),
            membership: Membership(voters: [replica(1), replica(2), replica(3)]),
            termRuns: runs([(1, 1), (7, 4), (8, 5)]), lastIndex: LogIndex(10), fence: .noCampaign,
            holeIndex: LogIndex(holeIndex), guessed: [LogIndex(3)..<LogIndex(8)])
        raft = RaftReplica(
            group: TestCluster.group, me: replica(1), recovered: state, preferred: nil, seed: 1, now: MonotonicTime(1))
    }

    private mutating func append(
        after index: UInt64, _ term: UInt64, _ terms: [UInt64], by leader: UInt32 = 2, in leaderTerm: UInt64 = 6
    ) {
        effects = []
        raft.step(
            RaftPaperTests.message(leader, 1, term: leaderTerm, RaftPaperTests.append(after: index, term, terms)),
            now: MonotonicTime(2), wall: .zero, &effects)
    }

    private var cuts: [LogIndex] {
        effects.compactMap { if case .persistTruncate(let from, _, _) = $0 { from } else { nil } }
    }

    private var hint: LogIndex? {
        effects.lazy.compactMap { effect in
            guard case .send(let message) = effect, case .appendReject(let reject, _) = message.body else { return nil }
            return reject.hintIndex
        }.first
    }

    @Test("a leader's entries are no contradiction of guesses, however they come")
    mutating func passedOver() {
        append(after: 2, 1, [2, 2, 3])
        #expect(cuts.isEmpty && raft.lastIndex == LogIndex(10) && hint == nil)
        append(after: 5, 3, [4, 4, 5, 5, 5, 6])
        #expect(cuts.isEmpty && raft.lastIndex == LogIndex(11) && raft.fence == .noCampaign)
        #expect(raft.term(at: LogIndex(8)) == Term(5) && raft.term(at: LogIndex(11)) == Term(6))
    }

    @Test("an append that goes on from within the hole is asked for from its beginning")
    mutating func fromWithin() {
        append(after: 5, 3, [4])
        #expect(cuts.isEmpty && hint == LogIndex(2))
        // Also one from behind it, whose term leads into it.
        append(after: 9, 1, [6])
        #expect(cuts.isEmpty && hint == LogIndex(2))
    }

    @Test(
        "another entry right behind the hole, or a term in it that the log behind it cannot follow, voids it all",
        arguments: [true, false])
    mutating func givenUp(isBehind: Bool) {
        if isBehind { append(after: 2, 1, [2, 2, 3, 4, 4, 6]) } else { append(after: 2, 1, [2, 6]) }
        #expect(cuts == [LogIndex(3)] && raft.lastIndex == LogIndex(2))
        #expect(raft.fence.contains(.noVote), "what it may have acknowledged there is gone")
        append(after: 2, 1, [2, 6])
        #expect(raft.lastIndex == LogIndex(4) && raft.term(at: LogIndex(3)) == Term(2))
    }

    @Test("a state that ends where the hole ends, or in it, takes what is below from the guesses", arguments: [7, 5])
    mutating func snapshotAtItsEnd(at place: UInt64) {
        let index = LogIndex(place)
        let hole: LogIndex? = place < 7 ? LogIndex(6) : nil
        raft.snapshotInstalled(
            index: index, term: place < 7 ? Term(1) : Term(4), membership: raft.membership, hole: hole,
            now: MonotonicTime(2), &effects)
        #expect(raft.commit == index && raft.lastIndex == LogIndex(10))
        // Entry 8 is another one in the leader's log.
        if place < 7 { append(after: 5, 1, [4, 4, 6]) } else { append(after: 7, 4, [6]) }
        #expect(cuts == [place < 7 ? LogIndex(6) : LogIndex(8)])
    }

    @Test("what comes in the place of a hole that was given up is exact, also where part of that is committed")
    mutating func givenUpBehindCommit() {
        self = Self(commit: 5, holeIndex: 6)
        append(after: 5, 1, [4, 4, 6])
        #expect(cuts == [LogIndex(6)] && raft.commit == LogIndex(5))
        append(after: 5, 1, [6])
        #expect(raft.lastIndex == LogIndex(6))
        append(after: 5, 1, [7], by: 3, in: 7)
        #expect(cuts == [LogIndex(6)] && raft.term(at: LogIndex(6)) == Term(7))
    }

    @Test("another entry further behind leaves the hole alone")
    mutating func conflictBehind() {
        append(after: 2, 1, [2, 2, 3, 4, 4, 5, 6])
        #expect(cuts == [LogIndex(9)] && raft.lastIndex == LogIndex(9) && raft.fence == .noCampaign)
    }
}
