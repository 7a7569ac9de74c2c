import Glibc
import NIOCore
import NIOPosix
import TLS

/// How the sockets of a node are set up.
public struct SocketSettings: Sendable {
    /// Connections that wait to be accepted.
    public var backlog: Int32 = 1_024
    /// `SO_SNDBUF` and `SO_RCVBUF` in bytes; `nil` leaves them to the kernel, which adapts them by itself.
    public var sendBuffer: Int?
    public var receiveBuffer: Int?
    /// Bytes taken off a socket at a time, at most.
    public var readBytes = 256 << 10
    /// How long a connection may take to stand.
    public var connectTimeout = TimeAmount.seconds(1)
    /// How long a peer may take nothing off a connection that is full, or a quiet one may answer no probe, until the kernel ends it.
    /// A machine that lost its power says no goodbye, and a client that never reads would hold its answers for ever.
    public var patience = TimeAmount.seconds(30)

    public init() {}

    /// Applied to a connection, in its initialiser on the loop.
    func apply(to channel: any Channel) throws {
        guard let options = channel.syncOptions else { preconditionFailure("a channel of another kind of loop") }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try options.setOption(.allowRemoteHalfClosure, value: true)
        try options.setOption(
            .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 4_096, initial: 65_536, maximum: readBytes))
        // One full buffer of ciphertext may wait in the socket's queue while the next is made.
        try options.setOption(
            .writeBufferWaterMark,
            value: .init(low: TLSBuffers.ciphertextBytes / 2, high: TLSBuffers.ciphertextBytes))
        if let sendBuffer { try options.setOption(.socketOption(.so_sndbuf), value: sendBuffer) }
        if let receiveBuffer { try options.setOption(.socketOption(.so_rcvbuf), value: receiveBuffer) }
        try options.setOption(.tcpOption(.userTimeout), value: Int(patience.nanoseconds / 1_000_000))
        let seconds = Int(patience.nanoseconds / 1_000_000_000)
        try options.setOption(.socketOption(.so_keepalive), value: 1)
        try options.setOption(.tcpOption(.keepAliveIdle), value: max(1, seconds / 2))
        try options.setOption(.tcpOption(.keepAliveInterval), value: max(1, seconds / 6))
    }
}

extension NIOBSDSocket.Option {
    /// Milliseconds that sent bytes may stay without an acknowledgement, and a receive window at zero; for keep-alive probes as well,
    /// where it takes the place of their number (tcp(7), `TCP_USER_TIMEOUT`).
    static let userTimeout = Self(rawValue: TCP_USER_TIMEOUT)
    /// Seconds without a byte before the first probe, and between probes.
    static let keepAliveIdle = Self(rawValue: TCP_KEEPIDLE)
    static let keepAliveInterval = Self(rawValue: TCP_KEEPINTVL)
}

/// Why a node cannot listen, or a connection does not stand.
public enum SocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another process listens there.
    case portInUse(address: String, port: Int)
    /// The machine has no such address.
    case noSuchAddress(String)
    case notPermitted(address: String, port: Int)
    /// Nobody listens there.
    case refused(address: String, port: Int)
    case timeout(address: String, port: Int)
    case other(address: String, port: Int, detail: String)

    public var description: String {
        switch self {
        case .portInUse(let address, let port):
            "port \(port) of \(address) is in use: another process listens there "
                + "(see `ss -ltnp 'sport = :\(port)'`); stop it or choose other ports"
        case .noSuchAddress(let address):
            "this machine has no address \(address): check the topology, or add the address to an interface"
        case .notPermitted(let address, let port):
            "not permitted to use port \(port) of \(address): ports below 1024 need a privilege; choose a higher one"
        case .refused(let address, let port): "\(address):\(port) refuses connections: no process listens there"
        case .timeout(let address, let port): "\(address):\(port) does not answer"
        case .other(let address, let port, let detail): "\(address):\(port): \(detail)"
        }
    }

    /// `local` is the address a connection was to come from.
    init(_ error: any Error, address: String, port: Int, local: String? = nil) {
        let connecting = (error as? NIOConnectionError)?.connectionErrors.first?.error
        let io = (connecting ?? error) as? IOError
        switch io?.errnoCode {
        case EADDRINUSE: self = .portInUse(address: address, port: port)
        case EADDRNOTAVAIL: self = .noSuchAddress(local ?? address)
        case EACCES, EPERM: self = .notPermitted(address: address, port: port)
        case ECONNREFUSED: self = .refused(address: address, port: port)
        case ETIMEDOUT: self = .timeout(address: address, port: port)
        default:
            if case .connectTimeout? = error as? ChannelError {
                self = .timeout(address: address, port: port)
            } else {
                self = .other(address: address, port: port, detail: "\(error)")
            }
        }
    }
}

/// Accepts TLS connections on one address, all on one event loop.
public final class Listener {
    public let address: String
    public let port: Int
    private let channel: any Channel

    private init(address: String, port: Int, channel: any Channel) {
        self.address = address
        self.port = port
        self.channel = channel
    }

    /// Listens on `address`:`port` (0 lets the system choose) and adds to each connection the handler that `accept` makes. Call
    /// on the loop.
    ///
    /// - Parameter done: the listener, or why there is none (`SocketError`); called on the loop.
    public static func bind(
        on loop: any EventLoop, address: String, port: Int, settings: SocketSettings = SocketSettings(),
        accept: @escaping () throws -> SecureConnection, done: @escaping (Result<Listener, SocketError>) -> Void
    ) {
        loop.preconditionInEventLoop()
        let accept = NIOLoopBound(accept, eventLoop: loop)
        ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: settings.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try settings.apply(to: channel)
                    try channel.pipeline.syncOperations.addHandler(try accept.value())
                }
            }
            .bind(host: address, port: port)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    let bound = channel.localAddress?.port ?? port
                    done(.success(Listener(address: address, port: bound, channel: channel)))
                case .failure(let error): done(.failure(SocketError(error, address: address, port: port)))
                }
            }
    }

    /// Accepts no more; connections that stand are left alone.
    public func close() { channel.close(promise: nil) }
}
