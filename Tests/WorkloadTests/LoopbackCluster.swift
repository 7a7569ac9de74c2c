import ClearingModel
import NIOCore
import NIOPosix
import Synchronization
import TLS
import Wire

/// Nodes on the loopback interface that decide everything at once, behind real sockets and TLS.
final class LoopbackCluster {
    let topology: ClusterTopology
    let authority: CertificateAuthority
    private let group: MultiThreadedEventLoopGroup

    /// What all nodes counted.
    final class Counts: Sendable { let submits = Atomic<Int>(0) }
    private let counts = Counts()
    /// Requests of payments that came in.
    var submits: Int { counts.submits.load(ordering: .relaxed) }

    static let validity = CertificateValidity(
        notBefore: WallTime(milliseconds: 1_577_836_800_000), notAfter: WallTime(milliseconds: 5_364_662_400_000))
    static let id = ClusterID(high: 3, low: 4)

    /// What a node does with requests; on its loop.
    struct Behaviour: Sendable {
        var delay = TimeAmount.zero
        /// The node that refuses everything as not its own; 0 = none.
        var refusing = 0
        /// Requests after which a node resets the connection they came on; 0 = never.
        var resetAfter = 0
    }

    init(nodes count: Int = 3, shards: Int = 6, behaviour: Behaviour = Behaviour()) throws {
        let authority = try CertificateAuthority(name: "loopback", validity: Self.validity)
        self.authority = authority
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let counts = counts
        var nodes: [TopologyNode] = []
        for number in 1...UInt32(count) {
            let issued = try authority.issue([.node(NodeID(number))], cluster: Self.id, validity: Self.validity)
            let credentials = TLSCredentials(authority: authority, issued: issued)
            let port = try loop.flatSubmit {
                Self.listen(loop, NodeID(number), credentials, behaviour, counts)
            }.wait()
            nodes.append(
                TopologyNode(
                    id: NodeID(number), city: "a", dataCentre: "a", address: "127.0.0.1", port: UInt16(port),
                    adminPort: 0))
        }
        topology = ClusterTopology(
            cluster: Self.id, nodes: nodes,
            placements: try Placement.spread(shardCount: shards, replicas: count, nodes: nodes),
            slots: SlotMap(shardCount: shards, largest: Population.generate().largest))
    }

    func stop() throws { try group.syncShutdownGracefully() }

    func credentials(_ roles: [Role]) throws -> TLSCredentials {
        TLSCredentials(
            authority: authority, issued: try authority.issue(roles, cluster: Self.id, validity: Self.validity))
    }

    private static func listen(
        _ loop: any EventLoop, _ node: NodeID, _ credentials: TLSCredentials, _ behaviour: Behaviour, _ counts: Counts
    ) -> EventLoopFuture<Int> {
        let context: TLSContext
        do { context = try TLSContext(role: .server, credentials: credentials) } catch {
            return loop.makeFailedFuture(error)
        }
        let server = NIOLoopBound(
            Server(node: node, context: context, behaviour: behaviour, counts: counts), eventLoop: loop)
        return ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
                    try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
                    try channel.pipeline.syncOperations.addHandler(server.value.accept())
                }
            }
            .bind(host: "127.0.0.1", port: 0).map { $0.localAddress!.port! }
    }
}

/// One node.
private final class Server: SecureConnectionDelegate {
    let node: NodeID
    let context: TLSContext
    let behaviour: LoopbackCluster.Behaviour
    let counts: LoopbackCluster.Counts
    let buffers = TLSBuffers()
    var decoders: [ObjectIdentifier: FrameDecoder] = [:]
    var index: UInt64 = 0
    var submits = 0
    /// The first thousand requests' decisions, and all of them where connections are reset.
    var decided: [TransactionID: Decision] = [:]

    init(
        node: NodeID, context: TLSContext, behaviour: LoopbackCluster.Behaviour, counts: LoopbackCluster.Counts
    ) {
        self.counts = counts
        self.node = node
        self.context = context
        self.behaviour = behaviour
    }

    func accept() throws -> SecureConnection {
        try SecureConnection(context: context, buffers: buffers, delegate: self)
    }

    func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity) {}
    func connectionReadComplete(_ connection: SecureConnection) {
        if behaviour.delay == .zero { connection.flush() }
    }
    func connection(_ connection: SecureConnection, isWritable: Bool) {}
    func connectionInputEnded(_ connection: SecureConnection) { connection.close() }
    func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd) {
        decoders[ObjectIdentifier(connection)] = nil
    }

    func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer) {
        var output = OutputQueue()
        var decoder = decoders.removeValue(forKey: ObjectIdentifier(connection)) ?? FrameDecoder()
        let error = decoder.feed(bytes) { header, body in
            output.write { serve(header, body, &$0) }
        }
        decoders[ObjectIdentifier(connection)] = decoder
        precondition(error == nil, "the client sends whole frames")
        if behaviour.resetAfter > 0, submits >= behaviour.resetAfter {
            submits = 0
            let dying = NIOLoopBound(connection, eventLoop: connectionLoop(connection))
            return connectionLoop(connection).execute { dying.value.abort(reset: true) }
        }
        if behaviour.delay == .zero {
            connection.send(&output)
        } else {
            let parts = output.drain()
            let later = NIOLoopBound((connection, parts), eventLoop: connectionLoop(connection))
            connectionLoop(connection).scheduleTask(in: behaviour.delay) {
                later.value.0.send(later.value.1)
                later.value.0.flush()
            }
        }
    }

    private func connectionLoop(_ connection: SecureConnection) -> any EventLoop {
        MultiThreadedEventLoopGroup.currentEventLoop!
    }

    private func serve(_ header: FrameHeader, _ body: UnsafeRawBufferPointer, _ writer: inout WireWriter) {
        switch header.type {
        case .hello:
            let replica = ReplicaID(node: node, incarnation: Incarnation(1))
            Hello(cluster: LoopbackCluster.id, side: .node, replica: replica, name: "loopback")
                .encode(request: 0, into: &writer)
        case .submit:
            let submit = (try? Submit.decode(body))!
            if behaviour.refusing == Int(node.rawValue) {
                return Refusal(.notLeader, shard: submit.shard, leader: nil).encode(
                    request: header.request, into: &writer)
            }
            index += 1
            submits += 1
            counts.submits.add(1, ordering: .relaxed)
            let decisions = (0..<submit.count).map { decision($0, submit[$0], submit.shard) }
            SubmitReply.encode(
                request: header.request, shard: submit.shard, decisions, 0..<decisions.count, into: &writer)
        case .query:
            let query = (try? Query.decode(body))!
            let answers = (0..<query.count).map { position in
                decided[query[position]]
                    ?? Decision(
                        outcome: .unsupported, answer: .notFound, slot: 0,
                        window: WindowID(scheme: .domestic, number: 1), index: .zero, shard: query.shard,
                        ledgerTime: .zero)
            }
            QueryReply.encode(request: header.request, shard: query.shard, answers, into: &writer)
        case .operate: OperateReply(.started, message: "as told").encode(request: header.request, into: &writer)
        case .position:
            Refusal(.unauthorised, message: "not yours").encode(request: header.request, into: &writer)
        case .directoryChange:
            let request = (try? DirectoryChangeRequest.decode(body))!
            DirectoryChangeReply(
                version: DirectoryVersion(UInt64(request.changes.count)),
                failures: [.init(change: 1, fault: .invalidID)]
            ).encode(request: header.request, into: &writer)
        case .goodbye: break
        default: preconditionFailure("unexpected \(header.type)")
        }
    }

    private func decision(_ slot: Int, _ instruction: Instruction, _ shard: ShardID) -> Decision {
        if var known = decided[instruction.id] {
            known.answerCode = Answer.duplicate.rawValue
            return known
        }
        let decision = Decision(
            outcome: instruction.amount == 0 ? .amountZero : .accepted, answer: .decided, slot: UInt16(slot),
            window: WindowID(scheme: .domestic, number: 1), index: LogIndex(index), shard: shard,
            ledgerTime: WallTime(rawValue: index))
        if index < 1_000 || behaviour.resetAfter > 0 { decided[instruction.id] = decision }
        return decision
    }
}
