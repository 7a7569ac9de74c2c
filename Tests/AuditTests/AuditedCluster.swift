import Audit
import ClearingModel
import Glibc
import Ledger
import LogFormat
import Raft
import Wire

/// Three nodes' data directories as a cluster would leave them: real ledgers decide, real logs write.
///
/// No Raft runs: every entry goes to the nodes that the test names, and is applied at once.
final class AuditedCluster {
    static let nodeCount = 3
    let directory = TemporaryDirectory()
    let topology: ClusterTopology
    private(set) var membership: Membership
    private(set) var nodes: [LogNode] = []
    let directoryLedger: DirectoryLedger
    private(set) var ledgers: [ShardLedger] = []
    private var sequences: [EntrySequence] = []
    private var directorySequence: EntrySequence
    private(set) var indexes: [LogIndex]
    var term = Term(1)
    var journal: [String] = []
    var random: SeededRandom
    private var nextSequence: UInt64 = 1
    let population: Population
    /// Who pays and is paid; a test may add to it.
    var people: [Participant]
    /// Entries of a shard that do not reach a node yet: a follower that lags.
    var isHeldBack: (_ node: Int, _ shard: Int) -> Bool = { _, _ in false }
    private var backlog: [[[RaftEntry]]]
    let day: BusinessDay
    private(set) var wall: WallTime
    private var decisions: [Decision] = []
    var accepted = 0

    init(shards: Int = 3, seed: UInt64 = 1, segmentBytes: Int = 256 << 10, participants: Int = 60) {
        let list = (1...Self.nodeCount).map { n in
            TopologyNode(
                id: NodeID(UInt32(n)), city: "c\(n)", dataCentre: "d", address: "127.77.0.\(n)", port: 7400,
                adminPort: 7401)
        }
        let placements = (0...shards).map { Placement(shard: ShardID(UInt16($0)), nodes: list.map(\.id)) }
        let cluster = ClusterID(high: 0x0102_0304_0506_0708, low: seed)
        topology = ClusterTopology(
            cluster: cluster, nodes: list, placements: placements, slots: SlotMap(shardCount: shards))
        membership = Membership(voters: list.map { ReplicaID(node: $0.id, incarnation: Incarnation(1)) })
        population = Population.generate(count: participants)
        people = population.participants
        backlog = Array(repeating: Array(repeating: [], count: shards + 1), count: Self.nodeCount)
        random = SeededRandom(seed: seed)
        day = BusinessDay(20_780)
        wall = WallTime(rawValue: day.start(offsetMinutes: 480).rawValue + 12 * 3_600_000_000)
        directoryLedger = DirectoryLedger(cluster: cluster)
        directorySequence = directoryLedger.sequence
        indexes = Array(repeating: .zero, count: shards + 1)
        for shard in 1...shards {
            let ledger = ShardLedger(
                shard: ShardID(UInt16(shard)), cluster: cluster, slots: topology.slots, shardCount: shards)
            ledgers.append(ledger)
            sequences.append(ledger.sequence)
        }
        for replica in membership.voters {
            let node = LogNode(
                replica, directory: "\(directory.path)/node-\(replica.node)", cluster: cluster,
                shards: placements.map(\.shard), segmentBytes: segmentBytes)
            node.change { log in
                for placement in placements {
                    log.appendLogStart(shard: placement.shard, index: .zero, term: .zero, membership: membership)
                }
            }
            node.settle()
            nodes.append(node)
        }
        for shard in 0...shards { noop(ShardID(UInt16(shard))) }
    }

    var shardCount: Int { ledgers.count }
    func ledger(_ shard: Int) -> ShardLedger { ledgers[shard - 1] }

    // MARK: - Entries

    /// Appends an entry to the logs of some nodes, all of them by default.
    func append(_ kind: EntryKind, _ payload: Slab, shard: Int, to chosen: [Int]? = nil) {
        indexes[shard] = indexes[shard].next
        let entry = RaftEntry(index: indexes[shard], term: term, kind: kind, payload: payload)
        for at in chosen ?? Array(nodes.indices) {
            backlog[at][shard].append(entry)
            catchUp(at, shard)
        }
    }

    /// Gives a node what it lacks of a shard, if it may have it.
    private func catchUp(_ node: Int, _ shard: Int) {
        guard !isHeldBack(node, shard) else { return }
        nodes[node].change { $0.append(backlog[node][shard], shard: ShardID(UInt16(shard))) }
        backlog[node][shard] = []
    }

    /// An entry that one node wrote while it led alone: nobody else has it, and nobody was told.
    @discardableResult
    func stray(on node: Int, _ shard: ShardID) -> RaftEntry {
        let entry = RaftEntry(
            index: indexes[Int(shard.rawValue)].next, term: term, kind: .data,
            payload: Slab([UInt8](repeating: 1, count: 300)))
        nodes[node].change { $0.append([entry], shard: shard) }
        settle()
        return entry
    }

    func noop(_ shard: ShardID) { append(.noop, .empty, shard: Int(shard.rawValue)) }

    /// Seals an entry, logs it and applies it.
    @discardableResult
    func commit(
        _ shard: Int, flush: Bool = false, to chosen: [Int]? = nil, _ fill: (inout EntryBuilder) -> Void
    ) -> [Decision] {
        wall = WallTime(wall.rawValue + 1_000)
        var builder = EntryBuilder()
        fill(&builder)
        let slab = sequences[shard - 1].seal(&builder, wall: wall, flush: flush)
        append(.data, slab, shard: shard, to: chosen)
        ledgers[shard - 1].apply(slab, index: indexes[shard], term: term, decisions: &decisions)
        return decisions
    }

    /// A payload as some other history would have made it: logged, and applied nowhere.
    func forge(_ shard: Int, flush: Bool = false, to chosen: [Int]? = nil, _ fill: (inout EntryBuilder) -> Void) {
        wall = WallTime(wall.rawValue + 1_000)
        var builder = EntryBuilder()
        fill(&builder)
        append(.data, sequences[shard - 1].seal(&builder, wall: wall, flush: flush), shard: shard, to: chosen)
    }

    func commitDirectory(_ changes: [DirectoryChange]) {
        wall = WallTime(wall.rawValue + 1_000)
        var builder = EntryBuilder()
        let added = builder.add(DirectoryChangeRequest(changes: changes))
        precondition(added)
        let slab = directorySequence.seal(&builder, wall: wall, flush: false)
        append(.data, slab, shard: 0)
        var replies: [DirectoryChangeReply] = []
        directoryLedger.apply(slab, index: indexes[0], term: term, replies: &replies)
    }

    /// The generated population, in every shard; the day is open.
    func prepare() {
        commitDirectory(
            population.participants.map { .participant($0) } + population.mandates.map { .mandate($0) })
        for shard in 1...shardCount {
            commit(shard) { builder in
                let added = builder.add(Marker.openDay(day))
                precondition(added)
            }
            sendDirectory(shard)
        }
    }

    func sendDirectory(_ shard: Int, maxBytes: Int = 2_000) {
        while let page = directoryLedger.update(after: ledger(shard).directoryCursor, maxBytes: maxBytes) {
            commit(shard) { builder in
                let added = builder.add(page)
                precondition(added)
            }
        }
    }

    // MARK: - Work

    func payment(from debtor: ParticipantID, to creditor: ParticipantID, _ amount: UInt64) -> Instruction {
        nextSequence += 1
        let institution = population.instructing[Int(random.below(4))].participant
        let isBank = (UInt32(Population.instructingCount) + 1..<1_000).contains(debtor.rawValue)
        return Instruction(
            id: TransactionID(
                debtor: debtor, instructing: isBank ? institution : debtor, day: day, sequence: nextSequence),
            kind: isBank ? .agreementDebit : .payout, amount: amount, currency: Population.currency, creditor: creditor)
    }

    /// Records that some participants of this shard pay: mostly good ones, some of every sort that is refused.
    func records(_ shard: Int, _ count: Int) -> [Instruction] {
        let debtors = people.map(\.id).filter {
            Int(topology.slots.route($0, sequence: 0).rawValue) == shard
        }
        var records: [Instruction] = []
        for _ in 0..<count {
            let creditor = people[Int(random.below(UInt64(people.count)))].id
            var one = payment(
                from: debtors[Int(random.below(UInt64(debtors.count)))], to: creditor, 1 + random.below(50_000))
            switch random.below(40) {
            case 0: one.amount = 0
            case 1: one.amount = Limits.maximumAmount + 1
            case 2: one.currency = 840
            case 3: one.acceptBy = 1
            case 4: one.id.dayAndSequence = one.id.dayAndSequence & ~0xFFFF | UInt64(day.rawValue + 7)
            case 5: one.creditor = ParticipantID(900_000)
            case 6: one = Instruction.queryOrVoid(one.id)
            case 7: one.flags = 1
            case 8 where !records.isEmpty: one = records[records.count - 1]
            case 9: one.id.instructing = ParticipantID(UInt32(Population.instructingCount) + 1)
            default: break
            }
            records.append(one)
        }
        return records
    }

    /// Every shard takes some records, what the others sent it, and their confirmations; journals what it decided.
    func round(records count: Int = 20, to chosen: [Int]? = nil) {
        for shard in 1...shardCount {
            let records = records(shard, count)
            let decisions = commit(shard, flush: true, to: chosen) { builder in
                self.exchange(shard, &builder)
                for record in records { builder.append(record) }
            }
            for (record, decision) in zip(records, decisions) { journal(record, decision) }
        }
        settle()
    }

    /// Adds what this shard owes the streams: batches that others closed, confirmations of what it applied.
    func exchange(_ shard: Int, _ builder: inout EntryBuilder) {
        for other in 1...shardCount where other != shard {
            let (me, them) = (ShardID(UInt16(shard)), ShardID(UInt16(other)))
            var cursor = ledger(shard).incomingCursor(from: them)
            for batch in ledger(other).unconfirmedBatches(to: me)
            where ledger(shard).admission(of: batch, after: cursor) == .apply {
                let added = builder.add(batch)
                precondition(added)
                cursor = batch.cursor
            }
            if let confirmation = ledger(other).confirmation(for: me),
                confirmation.cursor.number > ledger(shard).confirmed(by: them).number
            {
                let added = builder.add(confirmation)
                precondition(added)
            }
        }
    }

    func journal(_ record: Instruction, _ decision: Decision, outcome: String? = nil) {
        // Comparisons are the node's business; the journal gets what was decided here.
        guard decision.answer == .decided, let found = decision.outcome else { return }
        if found == .accepted { accepted += 1 }
        journal.append(
            """
            {"id":"\(record.id)","outcome":"\(outcome ?? found.name)","shard":\(decision.shard.rawValue),\
            "index":\(decision.index),"slot":\(decision.slot),"window":\(decision.window),\
            "ledgerTime":\(decision.ledgerTime.rawValue)}
            """)
    }

    /// A node's disk is wiped: another incarnation comes in by a membership change, with snapshots of every shard.
    func replace(_ at: Int) {
        settle()
        let old = nodes[at].replica
        let new = ReplicaID(node: old.node, incarnation: Incarnation(old.incarnation.rawValue + 1))
        membership = Membership(voters: membership.voters.map { $0 == old ? new : $0 })
        for shard in 0...shardCount {
            append(.configuration, membership.encoded(), shard: shard, to: nodes.indices.filter { $0 != at })
        }
        for name in TemporaryDirectory.names(nodes[at].directory) {
            TemporaryDirectory.remove("\(nodes[at].directory)/\(name)")
        }
        nodes[at] = LogNode(
            new, directory: nodes[at].directory, cluster: topology.cluster, shards: topology.placements.map(\.shard),
            segmentBytes: 256 << 10)
        for shard in 0...shardCount {
            let id = ShardID(UInt16(shard))
            nodes[at].checkpoint(
                id, index: indexes[shard], term: term, membership,
                shard == 0 ? directoryLedger.encodeCheckpoint() : ledger(shard).encodeWhole())
            nodes[at].change { log in
                log.appendLogStart(shard: id, index: indexes[shard], term: term, membership: membership)
            }
        }
        settle()
    }

    func settle() {
        for node in nodes.indices {
            for shard in indexes.indices { catchUp(node, shard) }
            nodes[node].settle()
        }
    }

    /// Hard states with a commit hint, as replicas write them lazily.
    func hint(_ nodesToo: [Int]? = nil) {
        for at in nodesToo ?? Array(nodes.indices) {
            nodes[at].change { log in
                for shard in indexes.indices {
                    log.appendHardState(
                        HardState(term: term, vote: nil, commit: indexes[shard]), shard: ShardID(UInt16(shard)))
                }
            }
            nodes[at].settle()
        }
    }

    // MARK: - Audit

    func audit(
        journal withJournal: Bool = true, without missing: [Int] = [],
        progress: @escaping @Sendable (String) -> Void = { _ in }
    )
        -> AuditReport
    {
        settle()
        let path = "\(directory.path)/journal"
        if withJournal {
            let file = fopen(path, "w")!
            for line in journal { fputs(line + "\n", file) }
            fclose(file)
        }
        var directories: [NodeID: String] = [:]
        for (at, node) in nodes.enumerated() where !missing.contains(at) {
            directories[node.replica.node] = node.directory
        }
        return Auditor.run(
            AuditInput(
                topology: topology, directories: directories, journal: withJournal ? path : nil, progress: progress))
    }
}
