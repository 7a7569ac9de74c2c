import ClearingModel
import Raft
import Wire

/// Shorthand: replica `n` of incarnation 1.
func replica(_ node: UInt32, _ incarnation: UInt32 = 1) -> ReplicaID {
    ReplicaID(node: NodeID(node), incarnation: Incarnation(incarnation))
}

func payload(_ text: String) -> Slab { Slab(Array(text.utf8)) }

func text(of payload: Slab) -> String { String(decoding: payload.bytes, as: UTF8.self) }

/// One replica with its disk, its clock and what became of it.
struct TestNode {
    let id: ReplicaID
    var disk: FakeDisk
    var raft: RaftReplica?
    var now = MonotonicTime(1_000_000_000)
    var clockOffset: Int64 = 0
    var starts: UInt64 = 0
    /// Committed payloads of data entries, as the state machine would have seen them since the last start.
    var applied = LogIndex.zero
    var readsReady: [(token: UInt64, index: LogIndex)] = []
    var readsFailed: [UInt64] = []
}

/// Some replicas of one group, a network that does what a test says, and disks that sync when a test says.
final class TestCluster {
    static let group = ShardID(7)
    private(set) var nodes: [TestNode]
    /// On the way, in the order of sending.
    var network: [RaftMessage] = []
    let seed: UInt64
    let preferred: NodeID?
    /// Sees every effect before it is performed.
    var watch: ((ReplicaID, RaftEffect) -> Void)?
    /// Snapshots are delivered at once unless a test turns this off.
    var deliversSnapshots = true
    private let genesis: Membership

    init(voters: [ReplicaID], learners: [ReplicaID] = [], seed: UInt64 = 1, preferred: NodeID? = nil) {
        self.seed = seed
        self.preferred = preferred
        genesis = Membership(voters: voters, learners: learners)
        nodes = []
        for id in voters + learners { start(id) }
    }

    convenience init(_ count: UInt32, seed: UInt64 = 1, preferred: NodeID? = nil) {
        self.init(voters: (1...count).map { replica($0) }, seed: seed, preferred: preferred)
    }

    /// A replica that no membership names yet.
    func addStranger(_ id: ReplicaID) {
        nodes.append(TestNode(id: id, disk: FakeDisk(membership: .empty)))
        boot(nodes.count - 1)
    }

    private func start(_ id: ReplicaID) {
        nodes.append(TestNode(id: id, disk: FakeDisk(membership: genesis)))
        boot(nodes.count - 1)
    }

    private func boot(_ position: Int, fence: Fence = [], holeIndex: LogIndex? = nil) {
        let node = nodes[position]
        nodes[position].starts += 1
        nodes[position].applied = node.disk.snapshotIndex
        nodes[position].raft = RaftReplica(
            group: Self.group, me: node.id, recovered: node.disk.recovered(fence: fence, holeIndex: holeIndex),
            preferred: preferred, seed: seed &* 1_000 &+ UInt64(node.id.node.rawValue) &* 100 &+ node.starts,
            now: node.now)
    }

    // MARK: - Looking

    func position(_ id: ReplicaID) -> Int {
        nodes.firstIndex { $0.id == id } ?? { preconditionFailure("no replica \(id)") }()
    }

    subscript(_ node: UInt32) -> RaftReplica { self[replica(node)] }
    subscript(_ id: ReplicaID) -> RaftReplica {
        nodes[position(id)].raft ?? { preconditionFailure("replica \(id) is down") }()
    }

    func isUp(_ id: ReplicaID) -> Bool { nodes[position(id)].raft != nil }
    func disk(_ node: UInt32) -> FakeDisk { nodes[position(replica(node))].disk }
    func reads(_ node: UInt32) -> [UInt64] { nodes[position(replica(node))].readsReady.map(\.token) }
    func failedReads(_ node: UInt32) -> [UInt64] { nodes[position(replica(node))].readsFailed }

    /// The leader of the highest term, if one is up.
    var leader: ReplicaID? {
        nodes.filter { $0.raft?.role == .leader }.max { $0.raft!.term < $1.raft!.term }?.id
    }

    // MARK: - Acting

    /// Calls a replica and performs its effects: messages to the network, writes to the disk (not yet durable).
    @discardableResult
    func act<R>(_ id: ReplicaID, _ body: (inout RaftReplica, MonotonicTime, inout [RaftEffect]) -> R) -> R? {
        let position = position(id)
        guard nodes[position].raft != nil else { return nil }
        var effects: [RaftEffect] = []
        let result = body(&nodes[position].raft!, nodes[position].now, &effects)
        for effect in effects { perform(effect, position) }
        return result
    }

    private func perform(_ effect: RaftEffect, _ position: Int) {
        watch?(nodes[position].id, effect)
        switch effect {
        case .persistEntries(let entries, let sequence): nodes[position].disk.ask(.entries(entries), sequence)
        case .persistTruncate(let index, _, let sequence): nodes[position].disk.ask(.truncate(from: index), sequence)
        case .persistHardState(let state, let sequence): nodes[position].disk.ask(.hardState(state), sequence)
        case .send(let message): network.append(message)
        case .committed(let index):
            nodes[position].applied = index
            nodes[position].raft?.applied(through: index)
        case .readReady(let token, let index): nodes[position].readsReady.append((token, index))
        case .readFailed(let token): nodes[position].readsFailed.append(token)
        case .loadEntries(let follower, let from, _):
            var entries: [RaftEntry] = []
            var index = from
            while entries.count < 4, let entry = nodes[position].disk.entry(at: index) {
                entries.append(entry)
                index = index.next
            }
            act(nodes[position].id) { $0.entriesLoaded(for: follower, entries, now: $1, &$2) }
        case .needsSnapshot(let follower): if deliversSnapshots { sendSnapshot(from: position, to: follower) }
        case .becameLeader, .becameFollower, .membershipCommitted, .quarantined, .halted: break
        }
    }

    private func sendSnapshot(from position: Int, to follower: ReplicaID) {
        guard nodes.contains(where: { $0.id == follower }), isUp(follower), let source = nodes[position].raft else {
            return
        }
        let index = max(nodes[position].disk.snapshotIndex, source.firstIndex.previous)
        let disk = nodes[position].disk
        guard let term = source.term(at: index) else { return }
        installSnapshot(at: follower, index: index, term: term, membership: disk.membership)
    }

    func installSnapshot(at id: ReplicaID, index: LogIndex, term: Term, membership: Membership) {
        guard isUp(id) else { return }
        // Writes before the snapshot complete before it does: one log thread.
        sync(id)
        let disk = nodes[position(id)].disk
        // As `Engine.fits` has it: in a hole nobody knows whether the log goes on behind the snapshot.
        if let hole = disk.hole, hole.contains(index), index < hole.upperBound { return }
        let goesOn = disk.term(at: index) == term
        let rest = goesOn ? disk.hole.flatMap { $0.upperBound > index ? max($0.lowerBound, index.next) : nil } : nil
        let taken = act(id) { raft, now, effects in
            if disk.hole != nil { raft.correct(disk.known) }
            return raft.snapshotInstalled(
                index: index, term: term, membership: membership, hole: rest, now: now, &effects)
        }
        guard taken == true else { return }
        nodes[position(id)].disk.install(index, term, membership)
        nodes[position(id)].applied = index
    }

    func wall(_ position: Int) -> WallTime {
        // One true time for all, however far a test has moved single monotonic clocks.
        let latest = nodes.map(\.now).max()!
        let micros = 1_700_000_000_000_000 + Int64(latest.rawValue / 1_000) + nodes[position].clockOffset
        return WallTime(rawValue: UInt64(micros))
    }

    func setClock(_ node: UInt32, offsetMicros: Int64) { nodes[position(replica(node))].clockOffset = offsetMicros }

    func tick(_ id: ReplicaID, after span: MonotonicTime.Span) {
        let position = position(id)
        nodes[position].now = nodes[position].now + span
        let wall = wall(position)
        act(id) { $0.tick(now: $1, wall: wall, &$2) }
    }

    func tickAll(after span: MonotonicTime.Span = .milliseconds(10)) {
        for node in nodes { tick(node.id, after: span) }
    }

    /// Hands a message over, through its wire form.
    func deliver(_ message: RaftMessage) {
        guard let position = nodes.firstIndex(where: { $0.id == message.to }), nodes[position].raft != nil else {
            return
        }
        let wall = wall(position)
        act(message.to) { $0.step(message, now: $1, wall: wall, &$2) }
    }

    /// Hands over what is on the way now and passes the filter; the rest stays.
    @discardableResult
    func deliverAll(where passes: (RaftMessage) -> Bool = { _ in true }) -> Int {
        let batch = network.filter(passes)
        network.removeAll(where: passes)
        for message in batch { deliver(message) }
        return batch.count
    }

    func sync(_ id: ReplicaID, _ count: Int = .max) {
        let position = position(id)
        let hadHole = nodes[position].disk.hole != nil
        guard let sequence = nodes[position].disk.sync(count) else { return }
        act(id) { $0.persisted(through: sequence, now: $1, &$2) }
        if hadHole { lookForHole(id) }
    }

    /// Damages part of a disk whose replica is down.
    func damage(_ id: ReplicaID, _ range: ClosedRange<LogIndex>) { nodes[position(id)].disk.damage(range) }

    /// Fills a hole as far as another replica that is up has committed what belongs there.
    func repair(_ id: ReplicaID) {
        while let raft = nodes[position(id)].raft, let index = nodes[position(id)].disk.hole?.lowerBound,
            let entry = nodes.lazy.filter({ $0.id != id && $0.raft?.commit ?? .zero >= index })
                .compactMap({ $0.disk.hole?.contains(index) ?? false ? nil : $0.disk.entry(at: index) }).first,
            entry.term <= raft.term
        {
            nodes[position(id)].disk.repair(entry)
            lookForHole(id)
        }
        // What nobody's log has any more only a state passes.
        guard let hole = nodes[position(id)].disk.hole, let leader, leader != id,
            nodes[position(leader)].applied >= hole.upperBound,
            nodes[position(leader)].disk.snapshotIndex >= hole.lowerBound
        else { return }
        compact(leader)
        let disk = nodes[position(leader)].disk
        guard disk.snapshotIndex >= hole.upperBound else { return }
        installSnapshot(at: id, index: disk.snapshotIndex, term: disk.snapshotTerm, membership: disk.membership)
    }

    /// The log tells when its last hole is gone.
    private func lookForHole(_ id: ReplicaID) {
        let disk = nodes[position(id)].disk
        if disk.hole == nil { act(id) { $0.holeRepaired(disk.known, &$2) } }
    }

    func syncAll() { for node in nodes where node.raft != nil { sync(node.id) } }

    /// Delivers and syncs until nothing moves. Time stands still.
    func settle(cut: Set<ReplicaID> = []) {
        for _ in 0..<10_000 {
            network.removeAll { cut.contains($0.from) || cut.contains($0.to) }
            syncAll()
            if deliverAll() == 0, nodes.allSatisfy({ $0.raft == nil || $0.disk.pending.isEmpty }) { return }
        }
        preconditionFailure("the cluster does not come to rest")
    }

    /// Time passes in steps of 10 ms, with everything delivered and synced except around `cut`.
    func run(_ span: MonotonicTime.Span, cut: Set<ReplicaID> = []) {
        for _ in 0..<(span.nanoseconds / 10_000_000) {
            tickAll()
            settle(cut: cut)
        }
    }

    /// Makes a replica's election time-out pass; only its own clock moves.
    func timeOut(_ node: UInt32) {
        for _ in 0..<200 {
            tick(replica(node), after: .milliseconds(10))
            if self[node].role != .follower { return }
        }
    }

    /// Elects `node` in a fresh or leaderless cluster.
    func elect(_ node: UInt32) {
        timeOut(node)
        settle()
        precondition(self[node].role == .leader, "replica \(node) was not elected")
    }

    /// Elects `node` while no write of a leader completes: it leads, and has committed nothing.
    func electOnly(_ node: UInt32) {
        timeOut(node)
        for _ in 0..<20 where self[node].role != .leader {
            deliverAll()
            for other in nodes where other.raft != nil && other.id != replica(node) { sync(other.id) }
            if self[node].role == .candidate { sync(replica(node)) }
        }
        precondition(self[node].role == .leader, "replica \(node) was not elected")
    }

    /// Everybody who follows `node` has seen its connection end.
    func loseConnections(to node: UInt32) {
        for other in nodes where other.raft != nil { act(other.id) { $0.peerLost(NodeID(node), now: $1, &$2) } }
    }

    @discardableResult
    func propose(_ node: UInt32, _ text: String) -> Proposal {
        act(replica(node)) { raft, _, effects in raft.propose(payload(text), &effects) } ?? .notLeader(nil)
    }

    @discardableResult
    func change(_ node: UInt32, _ change: MembershipChange) -> MembershipProposal {
        act(replica(node)) { raft, _, effects in raft.propose(membership: change, &effects) }
            ?? .refused(.notLeader(nil))
    }

    func read(_ node: UInt32, token: UInt64) { act(replica(node)) { $0.read(token: token, now: $1, &$2) } }

    @discardableResult
    func transfer(_ node: UInt32, to target: UInt32?) -> TransferStart? {
        act(replica(node)) { $0.transferLeadership(to: target.map { replica($0) }, now: $1, &$2) }
    }

    func crash(_ id: ReplicaID, surviving: Int = 0) {
        nodes[position(id)].raft = nil
        nodes[position(id)].disk.crash(surviving: surviving)
    }

    func restart(_ id: ReplicaID, fence: Fence = [], holeIndex: LogIndex? = nil) {
        boot(position(id), fence: fence, holeIndex: holeIndex)
    }

    /// Puts another disk image under a replica that is down.
    func replaceDisk(_ id: ReplicaID, with disk: FakeDisk) { nodes[position(id)].disk = disk }

    /// A checkpoint at the applied index: the log below is gone.
    func compact(_ id: ReplicaID) {
        let position = position(id)
        guard let raft = nodes[position].raft else { return }
        let index = min(nodes[position].applied, nodes[position].disk.lastIndex)
        guard index > nodes[position].disk.snapshotIndex, nodes[position].disk.term(at: index) == raft.term(at: index)
        else {
            return
        }
        nodes[position].disk.compact(through: index, raft.committedMembership)
        nodes[position].raft?.compact(through: index)
    }
}
