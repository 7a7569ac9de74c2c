import Glibc
import NIOCore
import Wire

/// What happens on a `SecureConnection`, told on its event loop.
///
/// `connectionClosed` comes exactly once and last, also where `connectionEstablished` never came.
public protocol SecureConnectionDelegate: AnyObject {
    /// The handshake is done and the peer's certificate verified; bytes may be sent from here on.
    func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity)
    /// Bytes from the peer, valid inside the call only, with cuts at any place.
    func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer)
    /// Everything that the socket had for now was delivered: the place to work off what came in, once.
    func connectionReadComplete(_ connection: SecureConnection)
    /// Output went from moving to stuck (`false`), or the whole queue is moving again (`true`).
    func connection(_ connection: SecureConnection, isWritable: Bool)
    /// The peer said goodbye and will send no more. Answers may still be sent; then call `close`.
    func connectionInputEnded(_ connection: SecureConnection)
    func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd)
}

/// How a connection ended.
public enum ConnectionEnd: Error, Hashable, Sendable, CustomStringConvertible {
    /// Both sides had what they wanted; `close` or a goodbye of the peer came first.
    case goodbye
    /// `abort` was called on this side.
    case aborted
    /// Refused or broken by TLS: see the error's text. `truncated` is a peer that vanished, killed perhaps.
    case tls(TLSError)
    /// The peer's kernel answered nothing for too long, or its process took nothing.
    case silence
    /// The socket failed.
    case socket(String)

    public var description: String {
        switch self {
        case .goodbye: "closed"
        case .aborted: "aborted by this side"
        case .tls(let error): error.description
        case .silence: "the peer took nothing or answered nothing for too long"
        case .socket(let text): text
        }
    }
}

/// The last handler of a connection's pipeline: owns the TLS session and hands plaintext to a delegate.
///
/// Everything happens on the channel's event loop. `send` only queues; one `flush` a loop turn encrypts what was queued,
/// full records at a time, straight from the queued slabs into the buffer that the socket takes. Nothing is encrypted
/// ahead of the socket: what waits, waits as plaintext by reference, and `queuedBytes` counts it.
public final class SecureConnection: ChannelInboundHandler {
    public typealias InboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    public struct Options: Sendable {
        /// From connect or accept to the end of the handshake.
        public var handshakeTimeout: TimeAmount = .seconds(5)
        /// How long `close` waits for queued bytes to leave and for the peer to close too.
        public var closeTimeout: TimeAmount = .seconds(2)
        public init() {}
    }

    /// Free for the owner: the number of the connection in its tables.
    public var token: UInt64 = 0
    /// More plaintext than this waiting for the socket stops the reading from it, until half of it has left: a peer that asks and
    /// never reads answers has to wait. For one side of a connection only: two that stop reading would wait for ever.
    public var queueLimit: Int? {
        didSet { applyReading() }
    }
    /// `nil` until the handshake is done.
    public internal(set) var peer: PeerIdentity?
    public internal(set) var isClosed = false
    /// The socket's addresses as text, for logs.
    public internal(set) var remoteAddress = "?"

    let session: TLSSession
    let buffers: TLSBuffers
    let options: Options
    var delegate: (any SecureConnectionDelegate)?
    var context: ChannelHandlerContext?
    var queue = PlaintextQueue()
    var phase = Phase.handshaking
    var deadline: Scheduled<Void>?
    var pendingEnd: ConnectionEnd?
    /// While the session hands out plaintext it cannot be called: a flush then waits until it is done.
    var receiving = false
    var pumping = false
    var flushWanted = false
    var goodbyeLeft = false
    /// What the session wants sent while it receives: handshake, alerts, key updates. Small.
    var replyBuffer = ByteBuffer()
    /// By the owner, and by `queueLimit`.
    var readingPaused = false
    var readingLimited = false
    /// Whether bytes are taken off the socket.
    public private(set) var isReading = true
    var stuck = false

    enum Phase {
        case handshaking
        case open
        /// `close` was called: queued bytes leave, then `close_notify`, then the socket is closed.
        case closing
        case closed
    }

    /// A connection whose side of the handshake is `context.role`; add it to a channel's pipeline as the only handler.
    public init(
        context: TLSContext, buffers: TLSBuffers, delegate: any SecureConnectionDelegate, options: Options = Options()
    ) throws(TLSError) {
        session = try TLSSession(context: context, buffers: buffers)
        self.buffers = buffers
        self.delegate = delegate
        self.options = options
    }

    public var role: TLSRole { session.role }
    /// Plaintext bytes that wait for the socket.
    public var queuedBytes: Int { queue.byteCount }
    public var bytesReceived: UInt64 { session.bytesReceived }
    public var bytesSent: UInt64 { session.bytesSent }
    /// Whether the socket takes bytes at the moment.
    public var isWritable: Bool { phase == .open && !stuck }

    // MARK: What the owner calls

    /// Queues bytes in order; they leave with the next `flush`. Dropped where the connection is closing or closed.
    public func send(_ parts: [OutputQueue.Part]) {
        guard phase == .handshaking || phase == .open else { return }
        queue.append(parts)
        applyReading()
    }

    /// Drains an output queue into this connection.
    public func send(_ output: inout OutputQueue) {
        guard !output.isEmpty else { return }
        send(output.drain())
    }

    /// Encrypts and sends what is queued, as far as the socket takes it; the rest leaves by itself as it drains.
    public func flush() {
        guard !queue.isEmpty else { return }
        pump()
    }

    /// Stops reading from the socket: the peer's window fills and it has to wait.
    public func pauseReading() {
        readingPaused = true
        applyReading()
    }

    public func resumeReading() {
        readingPaused = false
        applyReading()
    }

    /// Sends what is queued, says goodbye and closes; after `closeTimeout` it closes anyhow.
    public func close() {
        guard phase == .open || phase == .handshaking else { return }
        guard phase == .open else { return end(.aborted) }
        phase = .closing
        // The peer's goodbye has to be seen.
        applyReading()
        pendingEnd = .goodbye
        startDeadline(options.closeTimeout) { $0.end(.goodbye) }
        pump()
    }

    /// Closes at once. With `reset` the peer gets a TCP reset rather than an end of stream.
    public func abort(reset: Bool = false) {
        guard phase != .closed else { return }
        if reset, let provider = context?.channel as? any SocketOptionProvider {
            // Done in place: this is the channel's own loop.
            _ = provider.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        }
        end(.aborted)
    }

    /// Lets go of memory that a quiet connection does not need; call it now and then.
    public func releaseIdleBuffers() {
        guard !receiving, !pumping, queue.isEmpty, phase == .open else { return }
        session.releaseIdleBuffers()
    }

    /// Reads from the socket, or not, as owner, queue and phase want it.
    func applyReading() {
        if let queueLimit {
            if queue.byteCount > queueLimit { readingLimited = true }
            if queue.byteCount <= queueLimit / 2 { readingLimited = false }
        } else {
            readingLimited = false
        }
        let wanted = phase == .closing || !(readingPaused || readingLimited)
        guard wanted != isReading, phase != .closed, let context else { return }
        isReading = wanted
        try? context.channel.syncOptions?.setOption(.autoRead, value: wanted)
    }
}
