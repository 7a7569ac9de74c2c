import COpenSSL
import NIOCore

/// One TLS connection as a transformer of bytes, with no socket inside. Confined to one event loop.
///
///     receive(ciphertext)  ──▶ events: established(peer), plaintext(bytes) …, inputEnded
///     encrypt(&queue)      ──▶ ciphertext
///
/// All ciphertext that a call produces is appended to the buffer the caller passes, and must be sent in the order of the
/// calls, also when the call throws (it may hold an alert for the peer).
///
/// In TLS 1.3 a client is done before the server has judged the client's certificate, so a refusal reaches it after
/// `established`, as `TLSError.refusedByPeer` out of a later `receive`.
public final class TLSSession {
    public enum State: Hashable, Sendable {
        case handshaking
        case open
        /// The peer sent `close_notify`; this side may still send.
        case inputEnded
        case failed(TLSError)
    }

    public enum Event {
        /// The handshake is done; comes once, before any plaintext.
        case established(PeerIdentity)
        /// Bytes from the peer; valid inside the call only.
        case plaintext(UnsafeRawBufferPointer)
        /// The peer said goodbye; no plaintext follows.
        case inputEnded
    }

    public private(set) var state = State.handshaking
    /// Whether this side has sent `close_notify`: nothing can be sent after.
    public private(set) var outputEnded = false
    /// Plaintext bytes received and sent so far.
    public private(set) var bytesReceived: UInt64 = 0
    public private(set) var bytesSent: UInt64 = 0
    public let role: TLSRole

    private let ssl: OpaquePointer
    private let transport: UnsafeMutablePointer<suanpan_transport>
    private let buffers: TLSBuffers
    private var sawFirstBytes = false
    private var busy = false

    private nonisolated(unsafe) static let method: OpaquePointer? = suanpan_transport_method()

    public init(context: TLSContext, buffers: TLSBuffers) throws(TLSError) {
        let ssl = try context.makeSSL()
        let transport = UnsafeMutablePointer<suanpan_transport>.allocate(capacity: 1)
        transport.initialize(to: suanpan_transport())
        guard let method = Self.method, suanpan_attach_transport(ssl, method, transport) == 1 else {
            SSL_free(ssl)
            transport.deallocate()
            throw .library()
        }
        switch context.role {
        case .client: SSL_set_connect_state(ssl)
        case .server: SSL_set_accept_state(ssl)
        }
        self.ssl = ssl
        self.transport = transport
        self.buffers = buffers
        role = context.role
    }

    deinit {
        SSL_free(ssl)
        transport.deallocate()
    }

    /// Whether plaintext can be encrypted now.
    public var canSend: Bool { (state == .open || state == .inputEnded) && !outputEnded }

    /// Begins the handshake: a client writes its first message, a server nothing.
    public func start(into ciphertext: inout ByteBuffer) throws(TLSError) {
        try receive(UnsafeRawBufferPointer(start: nil, count: 0), into: &ciphertext) { _ in }
    }

    /// Takes ciphertext as it came off the socket, all of it, and reports what it held.
    ///
    /// `body` must not call this session again: what it wants to send, it queues.
    public func receive(
        _ bytes: UnsafeRawBufferPointer, into ciphertext: inout ByteBuffer, _ body: (Event) -> Void
    ) throws(TLSError) {
        guard state == .handshaking || state == .open else { return }
        if !sawFirstBytes, let first = bytes.first {
            sawFirstBytes = true
            // Content types of TLS records are 20 to 23 (RFC 8446 §5.1).
            guard (20...23).contains(first) else { throw fail(.plainText(firstBytes: Self.readable(bytes))) }
        }
        enter()
        defer { leave() }
        transport.pointee.in = bytes.bindMemory(to: UInt8.self).baseAddress
        transport.pointee.in_left = bytes.count
        // A flight of the handshake, or room for an alert; a key update may want more.
        var reserve = state == .handshaking ? 4_096 : 128
        while true {
            switch withWindow(&ciphertext, reserve, { advance(body) }) {
            case .needsRoom: reserve *= 4
            case .needsInput, .ended:
                transport.pointee.in = nil
                transport.pointee.in_left = 0
                return
            case .failed(let error): throw fail(error)
            }
        }
    }

    /// Encrypts from the queue until it is empty or `limit` bytes of ciphertext are made.
    /// - Precondition: `canSend`; `limit` has room for a record (16,512 bytes).
    public func encrypt(
        _ queue: inout PlaintextQueue, into ciphertext: inout ByteBuffer, limit: Int = TLSBuffers.ciphertextBytes
    ) throws(TLSError) {
        precondition(canSend, "nothing can be encrypted in this state")
        precondition(limit >= TLSBuffers.recordBytes + TLSBuffers.recordOverhead)
        enter()
        defer { leave() }
        let records = queue.byteCount / TLSBuffers.recordBytes + 1
        let reserve = min(limit, queue.byteCount + records * TLSBuffers.recordOverhead)
        let before = queue.byteCount
        let failure = withWindow(&ciphertext, reserve, atMost: limit) { () -> TLSError? in
            while !queue.isEmpty, transport.pointee.out_left >= TLSBuffers.recordOverhead {
                let room = transport.pointee.out_left - TLSBuffers.recordOverhead
                guard room >= min(queue.byteCount, TLSBuffers.recordBytes) else { break }
                if let failure = encryptSome(&queue) { return failure }
            }
            return nil
        }
        bytesSent += UInt64(before - queue.byteCount)
        if let failure { throw fail(failure) }
    }

    /// Says goodbye; nothing can be sent after. Does nothing before the handshake is done.
    public func finish(into ciphertext: inout ByteBuffer) {
        guard canSend else { return }
        outputEnded = true
        enter()
        defer { leave() }
        withWindow(&ciphertext, 1_024) { _ = SSL_shutdown(ssl) }
        ERR_clear_error()
    }

    /// The socket ended. An end without the peer's `close_notify` is an error: bytes may be missing.
    public func endOfStream() throws(TLSError) {
        switch state {
        case .handshaking, .open: throw fail(.truncated)
        case .inputEnded, .failed: return
        }
    }

    /// Gives OpenSSL's record buffers (about 34 KB) back while the connection is quiet; they come back on demand.
    public func releaseIdleBuffers() {
        guard !busy else { return }
        _ = SSL_free_buffers(ssl)
    }
}

extension TLSSession {
    private enum Progress {
        case needsInput
        case needsRoom
        case ended
        case failed(TLSError)
    }

    private func enter() {
        precondition(!busy, "a TLS session was called from its own callback")
        busy = true
        // Errors that another session of this thread left behind would be taken for this one's.
        ERR_clear_error()
    }

    private func leave() { busy = false }

    private func fail(_ error: TLSError) -> TLSError {
        state = .failed(error)
        return error
    }

    /// Lets OpenSSL write into the free end of `ciphertext`, at least `reserve` bytes and at most `limit`, while `body` runs.
    private func withWindow<R>(
        _ ciphertext: inout ByteBuffer, _ reserve: Int, atMost limit: Int = .max, _ body: () -> R
    ) -> R {
        var result: R?
        ciphertext.writeWithUnsafeMutableBytes(minimumWritableBytes: reserve) { window in
            transport.pointee.out = window.bindMemory(to: UInt8.self).baseAddress
            let room = min(window.count, limit)
            transport.pointee.out_left = room
            result = body()
            let left = transport.pointee.out_left
            transport.pointee.out = nil
            transport.pointee.out_left = 0
            return room - left
        }
        return result!
    }

    private func advance(_ body: (Event) -> Void) -> Progress {
        if state == .handshaking {
            let result = SSL_do_handshake(ssl)
            guard result == 1 else { return progress(after: result) }
            guard let peer = PeerIdentity.of(ssl) else { return .failed(.noCertificate) }
            state = .open
            body(.established(peer))
        }
        precondition(!buffers.plaintextInUse, "two sessions receive at a time on one event loop")
        buffers.plaintextInUse = true
        defer { buffers.plaintextInUse = false }
        while true {
            let (filled, result) = fillPlaintext()
            if filled > 0 {
                bytesReceived += UInt64(filled)
                body(.plaintext(UnsafeRawBufferPointer(start: buffers.plaintext, count: filled)))
            }
            guard let result else { continue }
            if case .ended = result {
                state = .inputEnded
                body(.inputEnded)
            }
            return result
        }
    }

    /// Decrypts records until the buffer is full (`nil`) or OpenSSL stops.
    private func fillPlaintext() -> (filled: Int, stop: Progress?) {
        var filled = 0
        while filled < TLSBuffers.plaintextBytes {
            var count = 0
            let result = SSL_read_ex(ssl, buffers.plaintext + filled, TLSBuffers.plaintextBytes - filled, &count)
            guard result == 1 else { return (filled, progress(after: result)) }
            filled += count
        }
        return (filled, nil)
    }

    private func progress(after result: Int32) -> Progress {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_WANT_WRITE: return .needsRoom
        case SSL_ERROR_ZERO_RETURN: return .ended
        default: return .failed(.fromSession(ssl))
        }
    }

    /// Whole records straight from a large part, or one record gathered from small ones.
    private func encryptSome(_ queue: inout PlaintextQueue) -> TLSError? {
        let record = TLSBuffers.recordBytes
        let room = transport.pointee.out_left
        if queue.firstCount >= record {
            var failure: TLSError?
            queue.consumeFirst { part in
                let count = min(part.count / record, max(room / (record + TLSBuffers.recordOverhead), 1)) * record
                failure = write(part.baseAddress!, count)
                return count
            }
            return failure
        }
        var filled = 0
        while filled < record, !queue.isEmpty {
            queue.consumeFirst { part in
                let count = min(part.count, record - filled)
                (buffers.staging + filled).copyMemory(from: part.baseAddress!, byteCount: count)
                filled += count
                return count
            }
        }
        return write(buffers.staging, filled)
    }

    private func write(_ bytes: UnsafeRawPointer, _ count: Int) -> TLSError? {
        var written = 0
        guard SSL_write_ex(ssl, bytes, count, &written) == 1 else { return .fromSession(ssl) }
        precondition(written == count, "OpenSSL wrote a part without being asked to")
        return nil
    }

    private static func readable(_ bytes: UnsafeRawBufferPointer) -> String {
        let text = bytes.prefix(12).map { (0x20...0x7E).contains($0) ? String(UnicodeScalar($0)) : "." }.joined()
        return "\"\(text)\""
    }
}
