import Glibc
import NIOCore

/// The channel's side: events in, ciphertext out.
extension SecureConnection {
    public func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    public func handlerRemoved(context: ChannelHandlerContext) {
        if phase != .closed { finishClosed(pendingEnd ?? .aborted) }
    }

    public func channelActive(context: ChannelHandlerContext) { begin() }

    public func channelInactive(context: ChannelHandlerContext) {
        guard phase != .closed else { return }
        do {
            try session.endOfStream()
            finishClosed(.goodbye)
        } catch {
            finishClosed(pendingEnd ?? .tls(error))
        }
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase != .closed else { return }
        let buffer = unwrapInboundIn(data)
        buffer.withUnsafeReadableBytes { receive($0) }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        guard phase == .open else { return }
        delegate?.connectionReadComplete(self)
    }

    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable else { return }
        if queue.isEmpty, phase != .closing { setStuck(false) } else { pump() }
    }

    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent, phase != .closed else { return }
        // After a goodbye an end of the peer's stream is in order, and this side may still be sending.
        do {
            try session.endOfStream()
        } catch {
            end(pendingEnd ?? .tls(error))
        }
    }

    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard phase != .closed else { return }
        switch (error as? IOError)?.errnoCode {
        // A reset by the peer is what a killed process looks like.
        case ECONNRESET, EPIPE: end(pendingEnd ?? .tls(.truncated))
        case ETIMEDOUT: end(pendingEnd ?? .silence)
        default: end(.socket("\(error)"))
        }
    }

    private func begin() {
        guard phase == .handshaking, deadline == nil, let context else { return }
        remoteAddress = context.remoteAddress.map { "\($0.ipAddress ?? "?"):\($0.port ?? 0)" } ?? "?"
        startDeadline(options.handshakeTimeout) { $0.end(.tls(.handshakeTimeout)) }
        receive(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        precondition(!receiving, "bytes arrived while bytes were delivered")
        receiving = true
        var reply = ByteBuffer()
        swap(&reply, &replyBuffer)
        var failure: TLSError?
        do {
            try session.receive(bytes, into: &reply) { event in handle(event) }
        } catch {
            failure = error
        }
        receiving = false
        if reply.readableBytes > 0, let context, phase != .closed {
            context.write(wrapOutboundOut(reply), promise: nil)
            context.flush()
            reply.clear(minimumCapacity: 0)
        }
        replyBuffer = reply
        if let failure, phase != .closed { return end(.tls(failure)) }
        if flushWanted { pump() }
        closeIfBothSaidGoodbye()
    }

    private func handle(_ event: TLSSession.Event) {
        switch event {
        case .established(let identity):
            peer = identity
            guard phase == .handshaking else { return }
            phase = .open
            cancelDeadline()
            delegate?.connectionEstablished(self, peer: identity)
            if !queue.isEmpty { flushWanted = true }
        case .plaintext(let bytes):
            guard phase == .open else { return }
            delegate?.connection(self, received: bytes)
        case .inputEnded:
            guard phase == .open else { return }
            delegate?.connectionInputEnded(self)
        }
    }

    /// Encrypts and writes until the queue is empty or the socket full.
    func pump() {
        guard !receiving else {
            flushWanted = true
            return
        }
        guard !pumping, session.canSend, phase == .open || phase == .closing, let context else { return }
        flushWanted = false
        pumping = true
        var ciphertext = buffers.takeCiphertext()
        while !queue.isEmpty, phase != .closed, context.channel.isWritable {
            do {
                try session.encrypt(&queue, into: &ciphertext)
            } catch {
                pumping = false
                return end(.tls(error))
            }
            context.write(wrapOutboundOut(ciphertext), promise: nil)
            context.flush()
            // The same memory again if the socket took everything, which is the usual case.
            ciphertext.clear(minimumCapacity: 0)
        }
        buffers.putBack(ciphertext)
        pumping = false
        guard phase != .closed else { return }
        applyReading()
        setStuck(!queue.isEmpty || !context.channel.isWritable)
        if phase == .closing, queue.isEmpty { sayGoodbye() }
    }

    private func setStuck(_ now: Bool) {
        guard now != stuck else { return }
        stuck = now
        if phase == .open { delegate?.connection(self, isWritable: !now) }
    }

    private func sayGoodbye() {
        guard let context, session.canSend else { return }
        var ciphertext = buffers.takeCiphertext()
        session.finish(into: &ciphertext)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { [weak self] in self?.goodbyeHasLeft() }
        context.write(wrapOutboundOut(ciphertext), promise: written)
        context.flush()
        buffers.putBack(ciphertext)
    }

    private func goodbyeHasLeft() {
        goodbyeLeft = true
        closeIfBothSaidGoodbye()
        // Ending the output rather than the socket lets the last bytes arrive: a full close with unread input in the
        // socket would send a reset, which may overtake them. The peer's end of stream, or the deadline, does the rest.
        if phase == .closing { context?.close(mode: .output, promise: nil) }
    }

    private func closeIfBothSaidGoodbye() {
        if phase == .closing, goodbyeLeft, session.state == .inputEnded { end(.goodbye) }
    }

    /// Closes the socket at once and tells the delegate why.
    func end(_ reason: ConnectionEnd) {
        guard phase != .closed else { return }
        let context = context
        finishClosed(reason)
        context?.close(promise: nil)
    }

    private func finishClosed(_ reason: ConnectionEnd) {
        phase = .closed
        isClosed = true
        cancelDeadline()
        queue.removeAll()
        let told = delegate
        // Breaks the cycle with an owner that holds its connections.
        delegate = nil
        context = nil
        told?.connectionClosed(self, reason: reason)
    }

    func startDeadline(_ after: TimeAmount, _ body: @escaping (SecureConnection) -> Void) {
        cancelDeadline()
        guard let context else { return }
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: after) { [weak self] in
            guard let self, self.phase != .closed else { return }
            body(self)
        }
    }

    func cancelDeadline() {
        deadline?.cancel()
        deadline = nil
    }
}
