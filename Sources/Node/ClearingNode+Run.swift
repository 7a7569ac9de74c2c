import CPlatform
import ClearingModel
import Dispatch
import Engine
import Glibc
import LogFormat
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TLS

/// Why a node process ended by itself.
public struct NodeFailure: Error, Sendable, CustomStringConvertible {
    /// The data directory, certificates, addresses or topology are at fault (exit code 78), not the run (1).
    public var isConfiguration: Bool
    public var description: String
}

extension ClearingNode {
    /// Runs one node until it is told to stop (SIGINT, SIGTERM) or cannot go on.
    ///
    /// The first signal drains: leadership is handed away and what is under way is answered. The second ends the
    /// process at once.
    public static func run(_ configuration: NodeConfiguration) throws {
        signal(SIGPIPE, SIG_IGN)
        suanpan_keep_large_allocations()
        let sink = LogSink(descriptor: STDERR_FILENO)
        let logger = Self.logger(of: configuration, sink)
        defer { sink.stop() }

        let server: TLSContext
        let client: TLSContext
        let directory: DataDirectory
        do {
            let credentials = try configuration.credentials()
            server = try TLSContext(role: .server, credentials: credentials)
            client = try TLSContext(role: .client, credentials: credentials)
            directory = try DataDirectory(path: configuration.dataDirectory)
        } catch {
            throw NodeFailure(isConfiguration: true, description: "\(error)")
        }

        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let outcome = loop.makePromise(of: NodeEnd.self)
        let made = try loop.submit { () -> NIOLoopBound<ClearingNode> in
            NIOLoopBound(ClearingNode(configuration: configuration, loop: loop, logger: logger), eventLoop: loop)
        }.wait()
        // What is under way on the loop refers to the node without holding it: the node outlives the loop.
        defer { withExtendedLifetime(made) { try? group.syncShutdownGracefully() } }
        let disks = DiskThreads(directory: directory) { batch in
            loop.execute { made.value.completed(batch) }
        }
        defer { disks.stop() }
        let contexts = NIOLoopBoundBox.makeBoxSendingValue(server, eventLoop: loop)
        let callers = NIOLoopBoundBox.makeBoxSendingValue(client, eventLoop: loop)
        let signals = Self.onSignals { count in
            loop.execute { count == 1 ? made.value.drain() : outcome.succeed(.stopped) }
        }
        let reloads = Self.onHangup {
            loop.execute { made.value.reload(server: contexts.value, client: callers.value) }
        }
        defer {
            signals.forEach { $0.cancel() }
            reloads.cancel()
        }
        loop.execute {
            let node = made.value
            node.ended = { outcome.succeed($0) }
            node.start(disks: disks)
            node.listen(server: contexts.value, client: callers.value) { failure in
                outcome.succeed(.failed(EngineFailure(isConfiguration: true, text: failure)))
            }
        }
        let end = try outcome.futureResult.wait()
        try? loop.submit { made.value.close() }.wait()
        if case .failed(let failure) = end {
            logger.critical("\(failure.text)")
            sink.flush()
            throw NodeFailure(isConfiguration: failure.isConfiguration, description: failure.text)
        }
        logger.notice("stopped")
        sink.flush()
    }

    private static func logger(of configuration: NodeConfiguration, _ sink: LogSink) -> Logger {
        var logger = Logger(label: "suanpan") { AsyncLogHandler(label: $0, sink: sink, level: configuration.logLevel) }
        logger[metadataKey: "node"] = "\(configuration.node)"
        return logger
    }

    /// Calls `handler` with 1, 2, … at every SIGINT or SIGTERM.
    private static func onSignals(_ handler: @escaping @Sendable (Int) -> Void) -> [any DispatchSourceSignal] {
        let queue = DispatchQueue(label: "suanpan.signals")
        let count = SignalCount()
        return [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { handler(count.next()) }
            source.activate()
            return source
        }
    }

    private static func onHangup(_ handler: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
        signal(SIGHUP, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGHUP)
        source.setEventHandler(handler: handler)
        source.activate()
        return source
    }

    /// Reads the certificates again (SIGHUP). Connections that stand keep theirs; a file that cannot be used changes nothing.
    private func reload(server: TLSContext, client: TLSContext) {
        do {
            let credentials = try configuration.credentials()
            try server.reload(credentials)
            try client.reload(credentials)
            logger.notice("certificates reloaded")
        } catch {
            logger.error("certificates not reloaded; the old ones stay", metadata: ["error": "\(error)"])
        }
    }

    /// Opens the ports, calls the peers, and lets time pass.
    func listen(server: TLSContext, client: TLSContext, failed: @escaping (String) -> Void) {
        let own = configuration.own
        let buffers = TLSBuffers()
        Listener.bind(
            on: loop, address: own.address, port: Int(own.port),
            accept: { [unowned self] in
                let connection = try SecureConnection(context: server, buffers: buffers, delegate: self)
                unnamed[ObjectIdentifier(connection)] = connection
                return connection
            },
            done: { [unowned self] result in
                switch result {
                case .success(let listener): self.listener = listener
                case .failure(let error): failed("\(error)")
                }
            })
        AdminServer.bind(on: loop, port: Int(own.adminPort), pages: pages()) { [unowned self] result in
            switch result {
            case .success(let admin): self.admin = admin
            case .failure(let error): failed("admin port: \(error)")
            }
        }
        for peer in configuration.topology.nodes where peer.id < configuration.node {
            let dial = Dial(
                peer, from: own.address, on: loop,
                seed: UInt64(configuration.node.rawValue) << 32 | UInt64(peer.id.rawValue),
                make: { [unowned self] in try SecureConnection(context: client, buffers: buffers, delegate: self) },
                failed: { [unowned self] error in
                    logger.debug("peer not reached", metadata: ["peer": "\(peer.id)", "error": "\(error)"])
                })
            dials.append(dial)
            dial.start()
        }
        let node = NIOLoopBound(self, eventLoop: loop)
        ticking = loop.scheduleRepeatedTask(initialDelay: .milliseconds(5), delay: .milliseconds(5)) { _ in
            node.value.tick()
        }
        logger.notice(
            "started",
            metadata: [
                "address": "\(own.address):\(own.port)", "admin": "127.0.0.1:\(own.adminPort)",
                "replica": "\(configuration.replica)", "data": "\(configuration.dataDirectory)",
            ])
    }

    /// Ends sockets and timers.
    func close() {
        ticking?.cancel()
        listener?.close()
        admin?.close()
        for dial in dials { dial.stop() }
        for connection in connections.values { connection.abort() }
    }
}

/// Counts signals.
private final class SignalCount: Sendable {
    private let count = Atomic(0)
    func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}

extension NodeConfiguration {
    /// What the certificate files hold now, if it is of use to this node.
    func credentials() throws -> TLSCredentials {
        let credentials = try certificates.read()
        do {
            try credentials.check(.node(node), in: topology.cluster)
        } catch {
            throw NodeFailure(isConfiguration: true, description: "\(certificates.certificate): \(error)")
        }
        return credentials
    }
}

extension NodeConfiguration.CertificateFiles {
    /// Reads the three PEM files.
    public func read() throws(NodeFailure) -> TLSCredentials {
        TLSCredentials(
            authorityPEM: try Self.bytes(authority), certificatePEM: try Self.bytes(certificate),
            keyPEM: try Self.bytes(key))
    }

    private static func bytes(_ path: String) throws(NodeFailure) -> [UInt8] {
        guard let file = fopen(path, "r") else {
            throw NodeFailure(
                isConfiguration: true,
                description: "cannot read \(path): \(errorText(errno)); check the certificate paths in node.yaml")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}
