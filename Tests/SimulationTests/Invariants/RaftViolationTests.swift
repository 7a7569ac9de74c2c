import ClearingModel
import Engine
import Raft
import Simulation
import Testing
import Wire

/// A good history of shard 1, and then one thing that must not be.
struct ForgedHistory {
    let payments: CheckedPayments
    let leader: CheckedCluster.Machine
    let follower: CheckedCluster.Machine
    let shard = ShardID(1)
    var checker: Checker { payments.cluster.checker }

    init() throws {
        payments = try CheckedPayments(shards: 2)
        for number in UInt64(1)...12 {
            let payment = payments.payment(number, from: Int(number % 6), to: Int(6 + number % 5), amount: 5)
            try #require(payments.decide(payment) != nil)
        }
        payments.cluster.run(milliseconds: 500)
        let leader = try #require(payments.cluster.leader(of: ShardID(1)))
        self.leader = leader
        follower = payments.cluster.machines.first { $0 !== leader }!
        try #require(payments.cluster.checker.violation == nil)
    }

    /// What an engine shows of shard 1.
    func group(_ machine: CheckedCluster.Machine) -> GroupInspection {
        let engine = machine.engine!
        return (0..<engine.inspectedGroups).map { engine.inspectGroup($0) }.first { $0.shard == shard }!
    }

    /// Shows one turn of a node otherwise than it was.
    @discardableResult
    func show(
        _ machine: CheckedCluster.Machine, restarted: Bool = false, _ tamper: (TamperedEngine) -> Void
    ) -> TamperedEngine {
        payments.shown += 1
        let engine = TamperedEngine(machine.engine!, stamp: payments.shown << 32)
        tamper(engine)
        if restarted { checker.started(machine.replica, engine: engine, disk: machine.disk) }
        checker.turned(machine.replica.node, engine: engine)
        return engine
    }

    /// A write that nobody asked for.
    func write(
        _ machine: CheckedCluster.Machine, segment: UInt64 = 99, offset: UInt64 = 4_096, _ record: ForgedRecord
    ) {
        checker.wrote(
            machine.replica.node, file: .segment(segment), offset: offset,
            slabs: ForgedWrites.group(
                payments.cluster.topology.cluster, machine.replica, segment: segment, offset: offset, [record]))
    }

    func expect(_ invariant: String, _ text: String, _ location: SourceLocation = #_sourceLocation) {
        let violation = checker.violation
        let found = violation.map { "\($0)" } ?? "nothing"
        #expect(violation?.invariant == invariant, "\(found)", sourceLocation: location)
        #expect(violation?.details.contains(text) == true, "\(found)", sourceLocation: location)
        #expect(checker.verdict == .invalid, sourceLocation: location)
    }
}

@Suite("The checker finds broken rules of Raft")
struct RaftViolationTests {
    @Test("two leaders of one term")
    func electionSafety() throws {
        let history = try ForgedHistory()
        history.show(history.follower) { $0.change = { $0.raft.role = .leader } }
        history.expect("ElectionSafety", "both led term")
    }

    @Test("a leader whose log became shorter, or other")
    func leaderAppendOnly() throws {
        for isShorter in [true, false] {
            let history = try ForgedHistory()
            let last = history.group(history.leader).raft.lastIndex
            history.show(history.leader) { $0.change = { $0.raft.lastIndex = last + 2 } }
            history.show(history.leader) { engine in
                engine.terms[last + 2] = .some(Term(0))
                engine.change = { $0.raft.lastIndex = isShorter ? last + 1 : last + 3 }
            }
            history.expect("LeaderAppendOnly", isShorter ? "back to" : "became one of term 0")
        }
    }

    @Test("a leader that voids entries in its own term")
    func leaderTruncates() throws {
        let history = try ForgedHistory()
        let group = history.group(history.leader)
        history.write(
            history.leader,
            ForgedRecord(
                kind: 2, detail: 0, shard: history.shard, term: group.raft.term, index: group.raft.lastIndex.next))
        history.expect("LeaderAppendOnly", "voids its log")
    }

    @Test("another entry under an index and term that another disk has, and another entry before it")
    func logMatching() throws {
        let first = try ForgedHistory()
        let group = first.group(first.leader)
        let record = ForgedRecord(
            shard: first.shard, term: group.raft.lastTerm, index: group.raft.lastIndex, payload: [1, 2, 3])
        first.write(first.follower, record)
        first.expect("LogMatching", "3 bytes")

        let second = try ForgedHistory()
        let next = second.group(second.leader).raft.lastIndex.next
        var fresh = ForgedRecord(
            shard: second.shard, term: Term(900), index: next, previousTerm: Term(7), payload: [1])
        second.write(second.follower, fresh)
        #expect(second.checker.violation == nil)
        fresh.previousTerm = Term(8)
        second.write(second.leader, fresh)
        second.expect("LogMatching", "has term 8 before it, another log term 7")
    }

    @Test("a leader that changes the membership before it has committed in its term")
    func membershipAfterCommit() throws {
        let history = try ForgedHistory()
        let group = history.group(history.leader)
        history.show(history.leader) { engine in
            engine.terms[group.raft.commit] = .some(Term(0))
            engine.terms[group.raft.lastIndex.next] = .some(group.raft.term)
            engine.change = {
                $0.raft.lastIndex = group.raft.lastIndex.next
                $0.raft.membershipIndex = group.raft.lastIndex.next
            }
        }
        history.expect("MembershipAfterCommit", "changed the membership")
    }

    @Test("a leader without durable votes")
    func electedByMajority() throws {
        let history = try ForgedHistory()
        history.show(history.follower) { engine in
            engine.change = {
                $0.raft.role = .leader
                $0.raft.term = $0.raft.term.next
                $0.raft.vote = nil
            }
        }
        history.expect("ElectedByMajority", "with 0 durable votes of 3 voters")
    }

    @Test("a leader that commits an entry of an earlier term by itself")
    func commitsOwnTerm() throws {
        let history = try ForgedHistory()
        let next = history.group(history.leader).raft.lastIndex.next
        for machine in history.payments.cluster.machines {
            history.write(machine, ForgedRecord(detail: 0, shard: history.shard, term: Term(0), index: next))
            history.checker.synced(machine.replica.node, file: .segment(99))
        }
        history.show(history.leader) { engine in
            engine.terms[next] = .some(Term(0))
            engine.change = {
                $0.raft.lastIndex = next
                $0.raft.commit = next
                $0.commit = next
            }
        }
        history.expect("CommitsOwnTerm", "of term 0 for committed")
    }

    @Test("a membership before the own term is committed, one before the last one is, and one that changes too much")
    func membershipSteps() throws {
        for (invariant, text, isEarly, hasOpenChange, voters) in [
            ("MembershipAfterCommit", "of an earlier term", true, false, [1, 2]),
            ("MembershipSteps", "is not committed", false, true, [1, 2]),
            ("MembershipSteps", "from voters", false, false, [1]),
        ] as [(String, String, Bool, Bool, [UInt32])] {
            let history = try ForgedHistory()
            let group = history.group(history.leader)
            let next = group.raft.lastIndex.next
            func change(at index: LogIndex, to voters: [UInt32]) {
                history.show(history.leader) { engine in
                    engine.members = Membership(
                        voters: voters.map { ReplicaID(node: NodeID($0), incarnation: Incarnation(1)) })
                    for entry in [next, next.next] { engine.terms[entry] = .some(group.raft.term) }
                    if isEarly { engine.terms[group.raft.commit] = .some(Term(0)) }
                    engine.change = {
                        $0.raft.lastIndex = index
                        $0.raft.membershipIndex = index
                    }
                }
            }
            change(at: next, to: voters)
            if hasOpenChange {
                #expect(history.checker.violation == nil)
                change(at: next.next, to: [1, 2, 3])
            }
            history.expect(invariant, text)
        }
    }

    @Test("a leader that lacks a committed entry")
    func leaderCompleteness() throws {
        let history = try ForgedHistory()
        let committed = history.group(history.leader).raft.commit
        let term = history.group(history.follower).raft.term.next
        for machine in history.payments.cluster.machines {
            history.write(
                machine,
                ForgedRecord(
                    kind: 3, detail: 0, shard: history.shard, term: term, index: committed,
                    vote: history.follower.replica))
            history.checker.synced(machine.replica.node, file: .segment(99))
        }
        history.show(history.follower) { engine in
            engine.terms[committed] = .some(nil)
            engine.change = {
                $0.raft.role = .leader
                $0.raft.term = $0.raft.term.next
                $0.raft.vote = nil
            }
        }
        history.expect("LeaderCompleteness", "the leader has none")
    }

    @Test("a replica that applies another entry, and one with a state that nobody committed")
    func stateMachineSafety() throws {
        let first = try ForgedHistory()
        let applied = first.group(first.follower).applied
        first.show(first.follower, restarted: true) {
            $0.change = {
                $0.applied = applied.previous
                $0.raft.applied = applied.previous
                // Of the state one entry before, which nobody compares here.
                $0.runningHash = 0
            }
        }
        if first.checker.violation == nil {
            first.show(first.follower) { $0.terms[applied] = .some(Term(0)) }
            first.expect("StateMachineSafety", "of term 0, committed is")
        } else {
            // Somebody ended a turn one entry before: its hash is known.
            first.expect("EqualStates", "running hash 0")
        }

        let second = try ForgedHistory()
        let last = second.group(second.follower).raft.lastIndex
        second.show(second.follower) { engine in
            engine.terms[last.next] = .some(nil)
            engine.change = {
                $0.raft.lastIndex = last.next
                $0.raft.commit = last.next
                $0.commit = last.next
            }
        }
        second.expect("StateMachineSafety", "nobody was seen to commit")
    }

    @Test("an entry that is committed before a majority has synced it")
    func committedOnMajority() throws {
        let history = try ForgedHistory()
        for machine in history.payments.cluster.machines.dropFirst() {
            history.payments.cluster.untoldSyncs.insert(machine.replica.node)
        }
        history.payments.decide(history.payments.payment(50, from: 1, to: 2))
        history.payments.decide(history.payments.payment(51, from: 0, to: 3))
        history.expect("CommittedOnMajority", "has not")
    }

    @Test("nothing in the same where the disks are known to be harmed: nobody can tell")
    func committedOnHarmedDisks() throws {
        let history = try ForgedHistory()
        for machine in history.payments.cluster.machines.dropFirst() {
            history.payments.cluster.untoldSyncs.insert(machine.replica.node)
            history.checker.damaged(machine.replica.node, beyondBudget: true)
        }
        history.payments.decide(history.payments.payment(50, from: 1, to: 2))
        history.payments.decide(history.payments.payment(51, from: 0, to: 3))
        #expect(history.checker.violation == nil)
        let row = history.checker.coverage.rows.first { $0.invariant == "CommittedOnMajority" }
        #expect((row?.unknown ?? 0) > 0)
    }

    @Test("an entry that no disk was given")
    func committedOnNoDisk() throws {
        let history = try ForgedHistory()
        let last = history.group(history.leader).raft.lastIndex
        history.show(history.leader) { engine in
            engine.terms[last.next] = .some(Term(1))
            engine.change = {
                $0.raft.lastIndex = last.next
                $0.raft.commit = last.next
                $0.commit = last.next
            }
        }
        history.expect("CommittedOnMajority", "which no disk was given")
    }

    @Test("a replica that takes another entry for committed")
    func committedNeverChanges() throws {
        let history = try ForgedHistory()
        // The disk does not have it for certain: what it has, `KeptOverRestarts` looks after.
        history.payments.cluster.untoldSyncs.insert(history.follower.replica.node)
        history.payments.decide(history.payments.payment(50, from: 1, to: 2))
        history.payments.cluster.run(milliseconds: 500)
        let committed = history.group(history.follower).commit
        history.show(history.follower, restarted: true) { $0.terms[committed] = .some(Term(0)) }
        history.expect("CommittedNeverChanges", "of term 0 for committed")
    }

    @Test("indexes out of order")
    func indexOrder() throws {
        let history = try ForgedHistory()
        history.show(history.follower) { $0.change = { $0.applied = $0.commit + 1 } }
        history.expect("IndexOrder", "applied")
    }

    @Test("a term that goes back, within a life and over a restart")
    func nothingGoesBack() throws {
        let first = try ForgedHistory()
        first.show(first.follower) { $0.change = { $0.raft.term = Term($0.raft.term.rawValue - 1) } }
        first.expect("NothingGoesBack", "term")

        let second = try ForgedHistory()
        second.show(second.follower, restarted: true) {
            $0.change = { $0.raft.term = Term($0.raft.term.rawValue - 1) }
        }
        second.expect("NothingGoesBack", "its disk was synced with term")

        let rolledBack = try ForgedHistory()
        rolledBack.payments.cluster.kill(rolledBack.follower)
        rolledBack.payments.cluster.wipeFiles(rolledBack.follower)
        rolledBack.checker.damaged(rolledBack.follower.replica.node, beyondBudget: false, rolledBack: true)
        rolledBack.payments.cluster.start(rolledBack.follower)
        #expect(rolledBack.checker.violation == nil, "\(rolledBack.checker.violation!)")
    }

    @Test("a log that a restart has cut below what is committed, unless the replica says that it is in doubt")
    func keptOverRestarts() throws {
        for isInDoubt in [false, true] {
            let history = try ForgedHistory()
            // Only who was harmed may be.
            if isInDoubt { history.checker.damaged(history.follower.replica.node, beyondBudget: false) }
            history.show(history.follower, restarted: true) {
                $0.change = {
                    $0.raft.lastIndex = $0.raft.start
                    $0.raft.durableIndex = $0.raft.start
                    $0.raft.commit = $0.raft.start
                    $0.raft.applied = $0.raft.start
                    ($0.commit, $0.applied) = ($0.raft.start, $0.raft.start)
                    if isInDoubt { $0.raft.fence.insert(.noVote) }
                }
            }
            if isInDoubt {
                #expect(history.checker.violation?.invariant != "KeptOverRestarts")
            } else {
                history.expect("KeptOverRestarts", "which is committed")
            }
        }
    }

    @Test("a log that a restart has made another one where it was committed")
    func otherLogAfterRestart() throws {
        let history = try ForgedHistory()
        let last = history.group(history.follower).raft.commit
        history.show(history.follower, restarted: true) { $0.terms[last] = .some(Term(0)) }
        history.expect("KeptOverRestarts", "which is committed")
    }

    @Test("an entry of which one voter has no sync, and another was emptied before it came")
    func committedBesideWiped() throws {
        let history = try ForgedHistory()
        let cluster = history.payments.cluster
        let followers = cluster.machines.filter { $0 !== history.leader }
        cluster.kill(followers[0])
        cluster.wipe(followers[0])
        cluster.start(followers[0])
        cluster.untoldSyncs.insert(followers[1].replica.node)
        history.payments.decide(history.payments.payment(50, from: 1, to: 2))
        history.payments.decide(history.payments.payment(51, from: 0, to: 3))
        history.expect("CommittedOnMajority", "has not")
    }

    @Test("a write over what is durable that is no group at all")
    func overwritten() throws {
        let history = try ForgedHistory()
        history.checker.wrote(
            history.follower.replica.node, file: .segment(1), offset: 4_096,
            slabs: [Slab([UInt8](repeating: 0, count: 512))])
        history.expect("DurableRecords", "overwrites what is durable")
    }

    @Test("damage on a disk that nobody harmed")
    func damageOfItsOwn() throws {
        let history = try ForgedHistory()
        // The last bytes of pages are payloads' last bytes.
        for page in 2...6 { history.follower.disk.flip(.segment(1), page * 4_096 - 1) }
        history.checker.finished()
        history.expect("LogMatching", "nobody did any harm")

        let known = try ForgedHistory()
        known.checker.damaged(known.follower.replica.node, beyondBudget: false)
        for page in 2...6 { known.follower.disk.flip(.segment(1), page * 4_096 - 1) }
        known.checker.finished()
        #expect(known.checker.violation == nil, "\(known.checker.violation!)")
    }

    @Test("what it excused while a disk was harmed, once the disk is whole")
    func wholeAgain() throws {
        let history = try ForgedHistory()
        let cluster = history.payments.cluster
        for machine in cluster.machines.dropFirst() {
            history.checker.damaged(machine.replica.node, beyondBudget: true)
        }
        history.payments.decide(history.payments.payment(49, from: 1, to: 2))
        history.checker.interval()
        let row = history.checker.coverage.rows.first { $0.invariant == "WholeAgain" }
        #expect(row?.checks == 2)
        for machine in cluster.machines.dropFirst() { cluster.untoldSyncs.insert(machine.replica.node) }
        history.payments.decide(history.payments.payment(50, from: 1, to: 2))
        history.payments.decide(history.payments.payment(51, from: 0, to: 3))
        history.expect("CommittedOnMajority", "has not")
    }

    @Test("a second vote in a term, and one that a restart forgot")
    func voteOnce() throws {
        let other = ReplicaID(node: NodeID(9), incarnation: Incarnation(1))
        let first = try ForgedHistory()
        first.show(first.leader) { $0.change = { $0.raft.vote = other } }
        first.expect("VoteOnce", "and then for 9.1")

        let second = try ForgedHistory()
        second.show(second.leader, restarted: true) { $0.change = { $0.raft.vote = nil } }
        second.expect("VoteOnce", "has forgotten it")
    }

    @Test("a write over what is durable, and a payload with another checksum")
    func durableRecords() throws {
        let first = try ForgedHistory()
        let term = first.group(first.leader).raft.term
        let record = ForgedRecord(kind: 3, detail: 0, shard: first.shard, term: term, index: LogIndex(1))
        first.write(first.follower, segment: 1, offset: 4_096, record)
        first.expect("DurableRecords", "overwrites what is durable")

        let second = try ForgedHistory()
        let next = second.group(second.leader).raft.lastIndex.next
        second.write(
            second.follower,
            ForgedRecord(shard: second.shard, term: Term(900), index: next, payload: [1], checksumError: 1))
        second.expect("DurableRecords", "another checksum")
    }
}
