import ClearingModel
import Client
import NIOCore
import NIOPosix
import TLS
import Wire

/// One certificate to speak with, and the participants it names.
public struct ClientIdentity: Sendable {
    public var credentials: TLSCredentials
    public var participants: [ParticipantID]
    public init(credentials: TLSCredentials, participants: [ParticipantID] = []) {
        self.credentials = credentials
        self.participants = participants
    }
}

/// Who uses a `ClientDriver`; called on its event loop.
protocol ClientDriverOwner: AnyObject {
    /// Requests ended. The driver empties `output` afterwards.
    func driver(_ driver: ClientDriver, ended output: ClientOutput)
    /// Once a turn before output leaves: the place to submit more. Every millisecond such a turn `isTick`, the others
    /// follow what was read.
    func driverTurn(_ driver: ClientDriver, now: MonotonicTime, isTick: Bool)
}

/// Gives a `ClientCore` sockets, TLS and a clock, all on one event loop.
///
/// A turn follows what was read: completions go to the owner, the owner submits, and what came of it leaves in one flush
/// a connection.
final class ClientDriver {
    private(set) var core: ClientCore
    let loop: any EventLoop
    private var out = ClientOutput()
    private let contexts: [TLSContext]
    private let buffers = TLSBuffers()
    private var links: [SecureConnection?]
    private var outgoing: [(connection: ConnectionID, bytes: [UInt8])] = []
    private weak var owner: (any ClientDriverOwner)?
    private var turnIsScheduled = false
    private var isClosed = false
    /// Why connections ended or were refused, the newest last; for people.
    private(set) var troubles: [String] = []

    init(
        loop: any EventLoop, topology: ClusterTopology, identities: [ClientIdentity],
        configuration: ClientConfiguration, owner: any ClientDriverOwner
    ) throws {
        self.loop = loop
        self.owner = owner
        contexts = try identities.map { try TLSContext(role: .client, credentials: $0.credentials) }
        core = ClientCore(
            topology: topology, identities: identities.count, configuration: configuration, now: Clocks.monotonic())
        links = [SecureConnection?](repeating: nil, count: core.connectionCount)
    }

    /// Begins to tick and, where the configuration says so, to connect.
    func start() {
        if core.configuration.keepAllConnected { core.start(now: Clocks.monotonic(), &out) }
        tick()
    }

    /// Says goodbye on every connection and stops.
    func close() {
        isClosed = true
        for link in links.compactMap({ $0 }) {
            var output = OutputQueue()
            output.write { $0.frame(.goodbye, request: 0) { _ in } }
            link.send(&output)
            link.flush()
            link.close()
        }
    }

    // MARK: - What the owner submits

    @inline(__always)
    func submit(
        _ instruction: Instruction, identity: Int, deadline: MonotonicTime, token: UInt64, now: MonotonicTime
    ) -> Bool {
        core.submit(instruction, identity: identity, deadline: deadline, token: token, now: now, &out)
    }

    func submit(
        _ instructions: [Instruction], identity: Int, deadline: MonotonicTime, token: UInt64, now: MonotonicTime
    ) -> Int {
        instructions.withUnsafeBufferPointer {
            core.submit($0, identity: identity, deadline: deadline, token: token, now: now, &out)
        }
    }

    func call(
        _ type: FrameType, body: [UInt8], to target: CallTarget, identity: Int = 0, repeatable: Bool = true,
        deadline: MonotonicTime, token: UInt64, now: MonotonicTime
    ) -> Bool {
        core.call(
            type, body: body, to: target, identity: identity, repeatable: repeatable, deadline: deadline,
            token: token, now: now, &out)
    }

    // MARK: - Turns

    private func tick() {
        guard !isClosed else { return }
        core.tick(now: Clocks.monotonic(), &out)
        turn(isTick: true)
        let driver = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: .milliseconds(1)) { driver.value.tick() }
    }

    /// Runs a turn once the sockets that are ready have been read.
    func scheduleTurn() {
        guard !turnIsScheduled else { return }
        turnIsScheduled = true
        let driver = NIOLoopBound(self, eventLoop: loop)
        loop.execute { driver.value.turn(isTick: false) }
    }

    private func turn(isTick: Bool) {
        turnIsScheduled = false
        guard !isClosed else { return }
        act()
        owner?.driverTurn(self, now: Clocks.monotonic(), isTick: isTick)
        act()
        // A flush can meet a connection that broke, and then calls back into the core: not while the core lends its bytes.
        var written: [SecureConnection] = []
        core.flush { connection, bytes in
            guard let link = links[Int(connection.rawValue)] else { return }
            link.send([.bytes(bytes)])
            written.append(link)
        }
        for link in written { link.flush() }
    }

    /// Carries out the core's actions and hands over what ended; either may bring more of the other.
    private func act() {
        while !out.isEmpty {
            var taken = ClientOutput()
            swap(&taken, &out)
            for action in taken.actions { carryOut(action) }
            if !taken.completions.isEmpty || !taken.calls.isEmpty { owner?.driver(self, ended: taken) }
            taken.removeAll()
            // The larger buffer is kept.
            if out.isEmpty { swap(&taken, &out) }
        }
    }

    private func carryOut(_ action: ClientAction) {
        switch action {
        case .connect(let connection): connect(connection)
        case .close(let connection):
            let link = links[Int(connection.rawValue)]
            links[Int(connection.rawValue)] = nil
            link?.abort()
        case .connectionRefused(let connection, let refusal):
            note("node \(core.node(of: connection).id) refused the connection: \(refusal.code.name) \(refusal.message)")
        }
    }

    private func note(_ trouble: String) {
        if troubles.last == trouble { return }
        if troubles.count == 100 { troubles.removeFirst() }
        troubles.append(trouble)
    }
}

// MARK: - Connections

extension ClientDriver: SecureConnectionDelegate {
    private func connect(_ connection: ConnectionID) {
        let node = core.node(of: connection)
        let driver = NIOLoopBound(self, eventLoop: loop)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(1))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try Self.configure(channel)
                    try channel.pipeline.syncOperations.addHandler(try driver.value.link(connection))
                }
            }
        bootstrap.connect(host: node.address, port: Int(node.port)).assumeIsolated().whenFailure { error in
            let cause = (error as? NIOConnectionError)?.connectionErrors.first?.error ?? error
            self.note("node \(node.id) at \(node.address):\(node.port) cannot be reached: \(cause)")
            self.ended(connection, link: nil)
        }
    }

    private func link(_ connection: ConnectionID) throws -> SecureConnection {
        let context = contexts[core.identity(of: connection)]
        let link = try SecureConnection(context: context, buffers: buffers, delegate: self)
        link.token = UInt64(connection.rawValue)
        links[Int(connection.rawValue)] = link
        return link
    }

    private static func configure(_ channel: any Channel) throws {
        guard let options = channel.syncOptions else { preconditionFailure("a channel of another kind of loop") }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try options.setOption(.allowRemoteHalfClosure, value: true)
        try options.setOption(
            .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 4_096, initial: 65_536, maximum: 256 << 10))
        try options.setOption(
            .writeBufferWaterMark,
            value: .init(low: TLSBuffers.ciphertextBytes / 2, high: TLSBuffers.ciphertextBytes))
    }

    /// `link` is `nil` where there never was a connection.
    private func ended(_ connection: ConnectionID, link: SecureConnection?) {
        let index = Int(connection.rawValue)
        // One that the core closed has been replaced or forgotten already.
        if let link, links[index] !== link { return }
        links[index] = nil
        core.connectionDown(connection, now: Clocks.monotonic(), &out)
        scheduleTurn()
    }

    private func isCurrent(_ link: SecureConnection) -> Bool { links[Int(link.token)] === link }

    func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity) {
        guard isCurrent(connection) else { return }
        let id = ConnectionID(UInt32(connection.token))
        let node = core.node(of: id).id
        guard peer.authority(in: core.topology.cluster).node == node else {
            note("node \(node): the certificate names \(peer.uris.joined(separator: ", ")) instead")
            return connection.abort()
        }
        core.connectionUp(id, now: Clocks.monotonic(), &out)
        scheduleTurn()
    }

    func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer) {
        guard isCurrent(connection) else { return }
        core.received(bytes, on: ConnectionID(UInt32(connection.token)), now: Clocks.monotonic(), &out)
    }

    func connectionReadComplete(_ connection: SecureConnection) { scheduleTurn() }

    /// The core's window bounds what waits here: nothing to do.
    func connection(_ connection: SecureConnection, isWritable: Bool) {}

    func connectionInputEnded(_ connection: SecureConnection) { connection.close() }

    func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd) {
        if case .tls(let error) = reason, error != .truncated {
            note("node \(core.node(of: ConnectionID(UInt32(connection.token))).id): \(error)")
        }
        ended(ConnectionID(UInt32(connection.token)), link: connection)
    }
}
