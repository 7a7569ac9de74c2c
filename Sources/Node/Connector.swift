import ClearingModel
import NIOCore
import NIOPosix
import TLS

/// Keeps one outgoing connection to one peer: connects from a given local address, and again, with growing pauses, for as long
/// as it is wanted. Confined to the event loop.
///
///     idle ──want()──▶ connecting ──▶ connected ──ended()──▶ waiting ──▶ connecting …
///                          └── failed ──▶ waiting
public final class Connector {
    public struct Settings: Sendable {
        public var sockets = SocketSettings()
        /// Pause before the second attempt; doubles with each attempt that fails.
        public var firstPause = TimeAmount.milliseconds(10)
        public var longestPause = TimeAmount.milliseconds(500)
        /// A connection that stood this long counts as a success: the pauses begin anew.
        public var steady = TimeAmount.seconds(2)
        public init() {}
    }

    public enum State: Hashable, Sendable {
        case idle
        case connecting
        /// The socket stands; the TLS handshake may still be under way.
        case connected
        case waiting
    }

    public private(set) var state = State.idle
    public private(set) var isWanted = false
    /// Attempts that failed since a connection was steady.
    public private(set) var failures = 0

    private let loop: any EventLoop
    private let address: String
    private let port: Int
    private let localAddress: String?
    private let settings: Settings
    private let make: () throws -> SecureConnection
    private let failed: (SocketError) -> Void
    private var random: SeededRandom
    private var connectedAt: NIODeadline?
    private var pause: Scheduled<Void>?

    /// - Parameters:
    ///   - localAddress: bound before the connection is made, so that a packet filter can tell the nodes apart.
    ///   - seed: of the jitter of the pauses.
    ///   - make: a new connection of role client for each attempt that reached the peer.
    ///   - failed: an attempt that did not; another follows by itself.
    public init(
        on loop: any EventLoop, address: String, port: Int, from localAddress: String?, settings: Settings = Settings(),
        seed: UInt64, make: @escaping () throws -> SecureConnection, failed: @escaping (SocketError) -> Void
    ) {
        self.loop = loop
        self.address = address
        self.port = port
        self.localAddress = localAddress
        self.settings = settings
        self.make = make
        self.failed = failed
        random = SeededRandom(seed: seed)
    }

    /// A connection is wanted from now on; harmless to repeat.
    public func want() {
        loop.preconditionInEventLoop()
        isWanted = true
        if state == .idle { connect() }
    }

    /// No further attempt is made. A connection that stands is the owner's to close.
    public func unwant() {
        isWanted = false
        pause?.cancel()
        pause = nil
        if state == .waiting { state = .idle }
    }

    /// The connection that `make` made has closed: call this from `connectionClosed`.
    public func ended() {
        guard state == .connected else { return }
        if let connectedAt, NIODeadline.now() - connectedAt >= settings.steady { failures = 0 } else { failures += 1 }
        connectedAt = nil
        retryLater()
    }

    private func connect() {
        state = .connecting
        let sockets = settings.sockets
        do {
            var bootstrap = ClientBootstrap(group: loop)
                .connectTimeout(sockets.connectTimeout)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try sockets.apply(to: channel) }
                }
            if let localAddress {
                bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: localAddress, port: 0))
            }
            let target = try SocketAddress(ipAddress: address, port: port)
            bootstrap.connect(to: target).assumeIsolated().whenComplete { [self] in attemptEnded($0) }
        } catch {
            attemptEnded(.failure(error))
        }
    }

    private func attemptEnded(_ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let channel):
            guard isWanted else {
                state = .idle
                return channel.close(promise: nil)
            }
            do {
                // Made only now, so that an attempt that reached nobody makes no connection. Nothing is missed: the client
                // speaks first.
                let handler = try make()
                state = .connected
                connectedAt = .now()
                try channel.pipeline.syncOperations.addHandler(handler)
            } catch {
                channel.close(promise: nil)
                attemptEnded(.failure(error))
            }
        case .failure(let error):
            failures += 1
            retryLater()
            failed(SocketError(error, address: address, port: port, local: localAddress))
        }
    }

    private func retryLater() {
        guard isWanted else {
            state = .idle
            return
        }
        state = .waiting
        pause = loop.assumeIsolated().scheduleTask(in: nextPause()) { [weak self] in
            guard let self, self.state == .waiting else { return }
            self.connect()
        }
    }

    /// Between half and all of the doubled pause, so that peers that lost the same node do not come back in step.
    private func nextPause() -> TimeAmount {
        let doublings = min(max(failures - 1, 0), 16)
        let full = min(settings.firstPause.nanoseconds << Int64(doublings), settings.longestPause.nanoseconds)
        return .nanoseconds(full / 2 + Int64(random.below(UInt64(full / 2 + 1))))
    }
}
