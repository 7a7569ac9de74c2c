import ClearingModel
import Raft
import Testing
import Wire

/// Runs a cluster under a random schedule and checks, after every effect, what Raft promises.
///
/// Messages are lost, repeated, delayed and reordered; processes crash with part of their unsynced writes and come back;
/// links are cut; members come and go; logs are compacted.
final class RandomSchedule {
    let cluster: TestCluster
    var random: SeededRandom
    private(set) var problems: [String] = []
    private(set) var committed: [UInt64: (term: Term, payload: Slab)] = [:]
    private(set) var highestCommitted = LogIndex.zero
    private(set) var elections = 0
    private var leaders: [Term: ReplicaID] = [:]
    private var votes: [[UInt64]: ReplicaID] = [:]
    private var known: [[UInt64]: (previousTerm: Term, payload: Slab)] = [:]
    private var terms: [ReplicaID: Term] = [:]
    private var commits: [ReplicaID: LogIndex] = [:]
    private var readFloor: [UInt64: LogIndex] = [:]
    private(set) var readsServed = 0
    private var nextToken: UInt64 = 1
    private var proposals = 0
    private var cut: Set<[ReplicaID]> = []
    private let replicas: [ReplicaID]
    /// Faults in a hundred steps, and the longest time that passes in one.
    private let hostility: UInt64
    private let pace: UInt64

    /// The one whose disk is damaged, if any is, and whether it was in doubt when it went down.
    private let victim: ReplicaID?
    private var isInDoubt = false
    private(set) var damages = 0

    init(seed: UInt64, damagesDisk: Bool = false) {
        random = SeededRandom(seed: seed)
        hostility = 1 + random.below(12)
        pace = 5 + random.below(60)
        let size = (damagesDisk ? [3, 3, 5, 3, 4] : [3, 3, 5, 1, 4])[Int(random.below(5))]
        victim = damagesDisk ? replica(3) : nil
        let all = (1...UInt32(max(size, 3) + 1)).map { replica($0) }
        replicas = all
        cluster = TestCluster(voters: Array(all.prefix(size)), seed: seed, preferred: NodeID(2))
        for id in all.dropFirst(size) { cluster.addStranger(id) }
        cluster.watch = { [unowned self] in check($0, $1) }
    }

    private func fail(_ text: String) { if problems.count < 5 { problems.append(text) } }

    // MARK: - Invariants

    private func check(_ id: ReplicaID, _ effect: RaftEffect) {
        let raft = cluster[id]
        if raft.term < terms[id, default: .zero] { fail("\(id): term went back") }
        terms[id] = raft.term
        switch effect {
        case .becameLeader(let term):
            elections += 1
            if let other = leaders[term], other != id { fail("term \(term) has two leaders, \(other) and \(id)") }
            leaders[term] = id
            checkCompleteness(id, raft)
        case .persistEntries(let entries, _): for entry in entries { checkMatching(entry, raft) }
        case .persistTruncate(let index, _, _):
            if index <= commits[id, default: .zero] { fail("\(id): truncated the committed \(index)") }
            if raft.role == .leader { fail("\(id): a leader truncated its log") }
        case .send(let message): checkVote(message)
        case .committed(let index): checkCommit(id, raft, index)
        case .readReady(let token, let index):
            readsServed += 1
            if index < readFloor[token, default: .zero] {
                fail("read \(token) sees \(index), not what was acknowledged")
            }
        case .halted(let reason): fail("\(id) halted: \(reason)")
        case .quarantined(let other): fail("\(id) quarantined \(other), whose disk is sound")
        default: break
        }
    }

    /// Leader completeness: whoever leads has everything that was ever committed.
    private func checkCompleteness(_ id: ReplicaID, _ raft: RaftReplica) {
        var index = raft.firstIndex
        while index <= highestCommitted {
            if let entry = committed[index.rawValue], raft.term(at: index) != entry.term {
                return fail("leader \(id) of term \(raft.term) lacks the committed \(index)")
            }
            index = index.next
        }
    }

    /// Log matching: an index and a term name one entry with one history.
    private func checkMatching(_ entry: RaftEntry, _ raft: RaftReplica) {
        guard let previous = raft.term(at: entry.index.previous) else { return }
        let key = [entry.index.rawValue, entry.term.rawValue]
        if let other = known[key] {
            if other.previousTerm != previous || other.payload != entry.payload { fail("two entries are \(entry)") }
        } else {
            known[key] = (previous, entry.payload)
        }
    }

    private func checkVote(_ message: RaftMessage) {
        guard case .voteReply(granted: true) = message.body else { return }
        let key = [UInt64(message.from.node.rawValue), message.term.rawValue]
        if let other = votes[key], other != message.to { fail("\(message.from) voted twice in term \(message.term)") }
        votes[key] = message.to
        let disk = cluster.nodes[cluster.position(message.from)].disk
        if disk.hardState.term != message.term || disk.hardState.vote != message.to {
            fail("\(message.from) granted a vote that is not durable")
        }
    }

    private func checkCommit(_ id: ReplicaID, _ raft: RaftReplica, _ index: LogIndex) {
        var at = max(commits[id, default: .zero].next, raft.firstIndex)
        if index <= commits[id, default: .zero] { fail("\(id): commit went back") }
        let disk = cluster.nodes[cluster.position(id)].disk
        while at <= index {
            // What was recovered is on disk, what came since is in memory.
            let entry = raft.entry(at: at) ?? disk.entry(at: at)
            guard let term = raft.term(at: at) else { return fail("\(id) committed \(at), which it does not have") }
            if let other = committed[at.rawValue] {
                if other.term != term { fail("\(id) committed another entry at \(at)") }
                if let entry, entry.payload != other.payload { fail("\(id): other bytes at \(at)") }
            } else if let entry {
                committed[at.rawValue] = (term, entry.payload)
                highestCommitted = max(highestCommitted, at)
                if leaders[raft.term] != id { fail("\(id) knows of a commit that no leader made: \(at)") }
                let holders = raft.membership.voters.filter { voter in
                    cluster.nodes.contains { $0.id == voter && $0.disk.holds(at, term) }
                }
                if holders.count < raft.membership.quorum { fail("\(at) was committed on \(holders) only") }
            } else {
                fail("\(id) is the first to commit \(at) and does not have it")
            }
            at = at.next
        }
        commits[id] = index
    }

    // MARK: - Schedule

    private func pick<T>(_ from: [T]) -> T { from[Int(random.below(UInt64(from.count)))] }
    private func chance(_ percent: UInt64) -> Bool { random.below(100) < percent }

    private var leader: ReplicaID? {
        let leaders = cluster.nodes.filter { $0.raft?.role == .leader }
        return leaders.isEmpty ? nil : pick(leaders).id
    }

    /// Mostly deliveries, writes, time and work; faults the more the more hostile the seed is.
    func step() {
        if random.below(100) < hostility { return fault() }
        switch random.below(100) {
        case 0..<52: deliverOne()
        case 52..<68: cluster.tickAll(after: .milliseconds(1 + random.below(pace)))
        case 68..<87:
            let id = pick(replicas)
            if cluster.isUp(id) { cluster.sync(id, 1 + Int(random.below(4))) }
        case 87..<96: propose()
        default: read()
        }
    }

    private func fault() {
        switch random.below(100) {
        case 0..<20: crashOrRestart(pick(replicas + (victim.map { [$0, $0] } ?? [])))
        case 20..<40: cut = chance(50) ? [] : cut.union([[pick(replicas), pick(replicas)]])
        case 40..<52:
            let (id, other) = (pick(replicas), pick(replicas))
            cluster.act(id) { $0.peerLost(other.node, now: $1, &$2) }
        case 52..<62: cluster.compact(pick(replicas))
        case 62..<68: isolate(pick(replicas))
        case 68..<80: if let leader { changeMembership(leader) }
        case 80..<86: if let leader { cluster.transfer(leader.node.rawValue, to: nil) }
        case 86..<90: cluster.act(pick(replicas)) { $0.logSyncAge(.milliseconds(700), now: $1, &$2) }
        case 90..<94: for id in replicas { cluster.act(id) { $0.logSyncAge(.milliseconds(0), now: $1, &$2) } }
        default:
            if let victim, chance(70) { return cluster.repair(victim) }
            cluster.tick(pick(replicas), after: .milliseconds(random.below(900)))
        }
    }

    private func isolate(_ id: ReplicaID) {
        for other in replicas { cut.formUnion([[id, other], [other, id]]) }
    }

    private func deliverOne() {
        guard !cluster.network.isEmpty else { return }
        // Mostly in order, now and then something from the middle.
        let position = chance(85) ? 0 : Int(random.below(UInt64(cluster.network.count)))
        let message = cluster.network[position]
        if !chance(4) { cluster.network.remove(at: position) }
        if chance(3) || cut.contains([message.from, message.to]) { return }
        cluster.deliver(message)
        if cluster.network.count > 400 { cluster.network.removeFirst(200) }
    }

    private func propose() {
        guard let leader else { return }
        proposals += 1
        cluster.propose(leader.node.rawValue, "p\(proposals)")
    }

    private func read() {
        guard let leader else { return }
        readFloor[nextToken] = highestCommitted
        cluster.read(leader.node.rawValue, token: nextToken)
        nextToken += 1
    }

    private func crashOrRestart(_ id: ReplicaID) {
        if cluster.isUp(id) {
            if chance(60) { crash(id) }
        } else {
            restart(id)
        }
    }

    private func crash(_ id: ReplicaID) {
        if id == victim { isInDoubt = cluster[id].fence.contains(.noVote) }
        cluster.crash(id, surviving: Int(random.below(3)))
    }

    /// Part of the victim's log cannot be read any more.
    private func damage(_ id: ReplicaID) {
        let disk = cluster.nodes[cluster.position(id)].disk
        let held = disk.lastIndex.rawValue - disk.snapshotIndex.rawValue
        guard disk.hole == nil, held > 0 else { return }
        let from = disk.snapshotIndex + Int(1 + random.below(held))
        let through = min(from + Int(random.below(12)), disk.lastIndex)
        damages += 1
        cluster.damage(id, from...through)
    }

    private func restart(_ id: ReplicaID) {
        if id == victim, chance(50) { damage(id) }
        cluster.restart(id, fence: id == victim && isInDoubt ? .noVote : [])
        // The commit index, and a term that was not durable yet, may start lower; from there they only rise again.
        commits[id] = cluster[id].commit
        terms[id] = cluster[id].term
    }

    private func changeMembership(_ leader: ReplicaID) {
        let (id, membership) = (pick(replicas), cluster[leader].membership)
        let change: MembershipChange =
            membership.isLearner(id) ? .promote(id) : membership.contains(id) ? .remove(id) : .addLearner(id)
        // Beside a replica that may not campaign a leader that removed itself, and fell, may be the only other one that has its newest
        // entries; it campaigns no more (docs/decisions/0003-fault-budget.md).
        if case .remove = change, victim != nil, id == leader { return }
        if case .remove = change, membership.voters.count <= (victim == nil ? 2 : 3) { return }
        cluster.change(leader.node.rawValue, change)
    }

    /// All faults end: there must be a leader, and new work must be committed.
    func heal() {
        cut = []
        for id in replicas { cluster.act(id) { $0.logSyncAge(.milliseconds(0), now: $1, &$2) } }
        for id in replicas where !cluster.isUp(id) { restart(id) }
        for _ in 0..<40 {
            if let victim { cluster.repair(victim) }
            cluster.run(.milliseconds(100))
        }
        guard let leader = cluster.leader else {
            let states = cluster.nodes.map { node in
                node.raft.map {
                    "\(node.id) term \($0.term) last \($0.lastIndex)@\($0.lastTerm) commit \($0.commit) fence \($0.fence.rawValue) "
                        + "voters \($0.membership.voters)"
                } ?? "\(node.id) is down"
            }
            return fail("no leader after the faults ended: \(states.joined(separator: "; "))")
        }
        guard case .accepted(let index, _) = cluster.propose(leader.node.rawValue, "after") else {
            return fail("new work is not accepted after the faults ended")
        }
        cluster.run(.milliseconds(200))
        let members = cluster[leader].membership
        for id in members.voters + members.learners where cluster[id].commit < index {
            fail(
                "\(id) is at \(cluster[id].commit) of \(index) after the faults ended: \(cluster[leader].followerStatus)"
            )
        }
    }
}

@Suite("Raft under random schedules")
struct RandomScheduleTests {
    @Test("safety always, liveness after the faults", arguments: 0..<32)
    func schedules(part: Int) {
        var (elections, entries, reads) = (0, 0, 0)
        for seed in 0..<25 {
            let seed = UInt64(part * 25 + seed + 1)
            let schedule = RandomSchedule(seed: seed)
            for _ in 0..<4_000 where schedule.problems.isEmpty { schedule.step() }
            if schedule.problems.isEmpty { schedule.heal() }
            elections += schedule.elections
            entries += schedule.committed.count
            reads += schedule.readsServed
            #expect(schedule.problems.isEmpty, "seed \(seed)")
        }
        // A schedule in which nothing happens proves nothing.
        #expect(elections > 50 && entries > 500 && reads > 100)
    }

    @Test("the same where one disk loses parts of its log", arguments: 0..<32)
    func damagedDisks(part: Int) {
        var damages = 0
        for seed in 0..<25 {
            let seed = UInt64(part * 25 + seed + 1)
            let schedule = RandomSchedule(seed: seed, damagesDisk: true)
            for _ in 0..<4_000 where schedule.problems.isEmpty { schedule.step() }
            if schedule.problems.isEmpty { schedule.heal() }
            damages += schedule.damages
            #expect(schedule.problems.isEmpty, "seed \(seed): \(schedule.problems)")
        }
        #expect(damages > 20)
    }
}
