import ClearingModel
import Client
import Testing
import Wire

/// A cluster in a few lines: decides every id once, answers duplicates with the original, and misbehaves as told.
final class FakeCluster {
    struct Node {
        var isUp = true
        /// Reads and answers nothing; its connections stay open.
        var isFrozen = false
        /// Decides, but its replies vanish.
        var losesReplies = false
        /// Decides, but its replies wait for `release`.
        var holdsReplies = false
        var held: [(connection: UInt32, bytes: [UInt8])] = []
        /// Refuses every request with this.
        var refusal: Refusal?
        var decoders: [UInt32: FrameDecoder] = [:]
        /// Bytes that came while it was frozen.
        var unread: [(UInt32, [UInt8])] = []
        var submits = 0
    }

    let topology: ClusterTopology
    var nodes: [Node]
    /// Leader of each group by position; `nil` = none at the moment.
    var leaders: [Int?]
    var decided: [TransactionID: Decision] = [:]
    var bodies: [TransactionID: Instruction] = [:]
    var timesDecided: [TransactionID: Int] = [:]
    var outcome: (Instruction) -> Outcome = { _ in .accepted }
    /// Whether the records of an id's day are gone.
    var isExpired: (TransactionID) -> Bool = { _ in false }
    var replies: [(connection: UInt32, bytes: [UInt8])] = []
    private var nextIndex: UInt64 = 1

    init(topology: ClusterTopology) {
        self.topology = topology
        nodes = topology.nodes.map { _ in Node() }
        leaders = topology.placements.map { placement in
            topology.nodes.firstIndex { $0.id == placement.preferredLeader }
        }
    }

    static func topology(nodes count: Int = 3, shards: Int = 4) -> ClusterTopology {
        let nodes = (1...count).map {
            TopologyNode(
                id: NodeID(UInt32($0)), city: "a", dataCentre: "a", address: "127.77.1.\($0)",
                port: UInt16(7_400 + $0), adminPort: 0)
        }
        let placements = (0...shards).map { shard in
            let replicas = min(3, count)
            return Placement(
                shard: ShardID(UInt16(shard)),
                nodes: (0..<replicas).map { nodes[(shard + $0) % count].id })
        }
        return ClusterTopology(
            cluster: ClusterID(high: 1, low: 2), nodes: nodes, placements: placements,
            slots: SlotMap(shardCount: shards))
    }

    func receive(_ bytes: [UInt8], at node: Int, on connection: UInt32) {
        guard nodes[node].isUp else { return }
        if nodes[node].isFrozen {
            nodes[node].unread.append((connection, bytes))
            return
        }
        var decoder = nodes[node].decoders[connection] ?? FrameDecoder()
        let error = bytes.withUnsafeBytes {
            decoder.feed($0) { header, body in serve(header, body, at: node, on: connection) }
        }
        precondition(error == nil, "the client sends whole frames")
        nodes[node].decoders[connection] = decoder
    }

    /// Submit frames that all nodes have read.
    var submits: Int { nodes.reduce(0) { $0 + $1.submits } }

    func thaw(_ node: Int) {
        nodes[node].isFrozen = false
        let unread = nodes[node].unread
        nodes[node].unread = []
        for (connection, bytes) in unread { receive(bytes, at: node, on: connection) }
    }

    /// Lets a node's replies go that it held back.
    func release(_ node: Int) {
        nodes[node].holdsReplies = false
        replies += nodes[node].held
        nodes[node].held = []
    }

    private func reply(_ connection: UInt32, at node: Int, _ build: (inout WireWriter) -> Void) {
        if nodes[node].losesReplies { return }
        var writer = WireWriter()
        build(&writer)
        if nodes[node].holdsReplies {
            nodes[node].held.append((connection, writer.bytes))
        } else {
            replies.append((connection, writer.bytes))
        }
    }

    private func serve(_ header: FrameHeader, _ body: UnsafeRawBufferPointer, at node: Int, on connection: UInt32) {
        switch header.type {
        case .hello:
            let replica = ReplicaID(node: topology.nodes[node].id, incarnation: Incarnation(1))
            reply(connection, at: node) {
                Hello(cluster: topology.cluster, side: .node, replica: replica, name: "fake").encode(
                    request: 0, into: &$0)
            }
        case .submit:
            guard let submit = try? Submit.decode(body) else { preconditionFailure("a submit that cannot be read") }
            nodes[node].submits += 1
            if let refusal = refusal(of: submit, at: node) {
                return reply(connection, at: node) { refusal.encode(request: header.request, into: &$0) }
            }
            let decisions = (0..<submit.count).map { decide(submit[$0], slot: $0, shard: submit.shard) }
            reply(connection, at: node) {
                SubmitReply.encode(
                    request: header.request, shard: submit.shard, decisions, 0..<decisions.count, into: &$0)
            }
        case .position:
            guard let request = try? PositionRequest.decode(body) else { preconditionFailure("position") }
            reply(connection, at: node) {
                PositionReply(
                    participant: request.participant, shard: ShardID(1), status: .active, currency: 156,
                    applied: LogIndex(1), directoryVersion: DirectoryVersion(1), funding: 1, limit: 2, available: 3,
                    rows: []
                ).encode(request: header.request, into: &$0)
            }
        default: preconditionFailure("unexpected \(header.type)")
        }
    }

    private func refusal(of submit: Submit, at node: Int) -> Refusal? {
        if let refusal = nodes[node].refusal { return refusal }
        let leader = leaders[Int(submit.shard.rawValue)]
        if leader != node {
            return Refusal(.notLeader, shard: submit.shard, leader: leader.map { topology.nodes[$0].id })
        }
        for index in 0..<submit.count where submit[index].fault != nil {
            return Refusal(.malformed, shard: submit.shard, record: index)
        }
        return nil
    }

    private func decide(_ instruction: Instruction, slot: Int, shard: ShardID) -> Decision {
        precondition(topology.slots.route(instruction.id) == shard, "routed to the wrong shard")
        if var known = decided[instruction.id] {
            let isSame = bodies[instruction.id] == instruction
            known.answerCode = (isSame ? Answer.duplicate : .idConflict).rawValue
            return known
        }
        let isExpired = isExpired(instruction.id)
        let decision = Decision(
            outcome: outcome(instruction), answer: isExpired ? .expired : .decided, slot: UInt16(slot),
            window: WindowID(scheme: .domestic, number: 1), index: LogIndex(nextIndex), shard: shard,
            ledgerTime: WallTime(rawValue: nextIndex))
        nextIndex += 1
        guard outcome(instruction).isKept, !isExpired else { return decision }
        decided[instruction.id] = decision
        bodies[instruction.id] = instruction
        timesDecided[instruction.id, default: 0] += 1
        return decision
    }
}

/// A client and a fake cluster with a clock of their own: one step is a millisecond.
struct World {
    var core: ClientCore
    let cluster: FakeCluster
    var now = MonotonicTime(1_000_000_000)
    var out = ClientOutput()
    var open: Set<UInt32> = []
    var completions: [Completion] = []
    var completedAt: [UInt64: MonotonicTime] = [:]
    var calls: [CallCompletion] = []
    var refusedConnections: [Refusal] = []

    init(
        nodes: Int = 3, shards: Int = 4, identities: Int = 1,
        configuration: ClientConfiguration = ClientConfiguration()
    ) {
        cluster = FakeCluster(topology: FakeCluster.topology(nodes: nodes, shards: shards))
        core = ClientCore(
            topology: cluster.topology, identities: identities, configuration: configuration, now: now)
    }

    func position(_ id: NodeID) -> Int { Int(id.rawValue) - 1 }

    /// One millisecond: actions, bytes there, bytes back, tick.
    mutating func step(_ count: Int = 1) {
        for _ in 0..<count {
            now = now + .milliseconds(1)
            core.tick(now: now, &out)
            act()
            var sent: [(ConnectionID, [UInt8])] = []
            core.flush { sent.append(($0, $1)) }
            for (connection, bytes) in sent where open.contains(connection.rawValue) {
                let node = position(core.node(of: connection).id)
                cluster.receive(bytes, at: node, on: connection.rawValue)
            }
            let replies = cluster.replies
            cluster.replies = []
            for (connection, bytes) in replies where open.contains(connection) {
                bytes.withUnsafeBytes { core.received($0, on: ConnectionID(connection), now: now, &out) }
            }
            act()
        }
    }

    private mutating func act() {
        while !out.actions.isEmpty {
            let actions = out.actions
            out.actions = []
            for action in actions {
                switch action {
                case .connect(let connection):
                    let node = position(core.node(of: connection).id)
                    if cluster.nodes[node].isUp {
                        open.insert(connection.rawValue)
                        core.connectionUp(connection, now: now, &out)
                    } else {
                        core.connectionDown(connection, now: now, &out)
                    }
                case .close(let connection): disconnect(connection.rawValue)
                case .connectionRefused(_, let refusal): refusedConnections.append(refusal)
                }
            }
        }
        for completion in out.completions {
            completions.append(completion)
            completedAt[completion.token] = now
        }
        calls += out.calls
        out.removeAll()
    }

    private mutating func disconnect(_ connection: UInt32) {
        open.remove(connection)
        for node in cluster.nodes.indices { cluster.nodes[node].decoders[connection] = nil }
    }

    mutating func kill(_ node: Int) {
        cluster.nodes[node].isUp = false
        cluster.nodes[node].unread = []
        for connection in open.sorted() where position(core.node(of: ConnectionID(connection)).id) == node {
            disconnect(connection)
            core.connectionDown(ConnectionID(connection), now: now, &out)
        }
        cluster.replies.removeAll { position(core.node(of: ConnectionID($0.connection)).id) == node }
    }

    mutating func submit(
        _ sequence: UInt64, debtor: UInt32 = 1, identity: Int = 0, within: MonotonicTime.Span = .seconds(5)
    ) {
        let taken = core.submit(
            World.instruction(sequence, debtor: debtor), identity: identity, deadline: now + within, token: sequence,
            now: now, &out)
        precondition(taken, "room")
    }

    static func instruction(_ sequence: UInt64, debtor: UInt32 = 1) -> Instruction {
        Instruction(
            id: TransactionID(
                debtor: ParticipantID(debtor), instructing: ParticipantID(7), day: BusinessDay(20_000),
                sequence: sequence),
            kind: .payout, amount: 100 + sequence, currency: 156, creditor: ParticipantID(9))
    }

    func shard(of debtor: UInt32) -> ShardID { cluster.topology.slots.home(of: ParticipantID(debtor)) }
    func leader(of debtor: UInt32) -> Int { cluster.leaders[Int(shard(of: debtor).rawValue)]! }

    mutating func lead(_ debtor: UInt32, _ node: Int?) { cluster.leaders[Int(shard(of: debtor).rawValue)] = node }

    /// A replica of the debtor's shard that does not lead it.
    func follower(of debtor: UInt32) -> Int {
        let placement = cluster.topology.placement(of: shard(of: debtor))!
        return placement.nodes.map { position($0) }.first { $0 != leader(of: debtor) }!
    }

    func isAccepted(_ token: UInt64) -> Bool {
        guard let completion = completions.first(where: { $0.token == token }) else { return false }
        if case .decided(let decision) = completion.result { return decision.outcome == .accepted }
        return false
    }

    func result(_ token: UInt64) -> RecordResult? { completions.first { $0.token == token }?.result }
}

extension World: CustomTestStringConvertible {
    /// Without the slot map, which fills screens.
    var testDescription: String { "World at \(now) with \(completions.count) completions" }
}
