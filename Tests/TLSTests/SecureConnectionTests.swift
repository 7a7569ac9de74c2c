import ClearingModel
import NIOCore
import NIOEmbedded
import TLS
import Testing
import Wire

/// Writes down what a connection tells; answers as told.
private final class Recorder: SecureConnectionDelegate {
    var events: [String] = []
    var received: [UInt8] = []
    var end: ConnectionEnd?
    var onEstablished: (SecureConnection) -> Void = { _ in }
    var onReceived: (SecureConnection) -> Void = { _ in }
    var onInputEnded: (SecureConnection) -> Void = { _ in }

    func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity) {
        events.append("established")
        onEstablished(connection)
    }
    func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer) {
        received.append(contentsOf: bytes)
        onReceived(connection)
    }
    func connectionReadComplete(_ connection: SecureConnection) { connection.flush() }
    func connection(_ connection: SecureConnection, isWritable: Bool) { events.append("writable \(isWritable)") }
    func connectionInputEnded(_ connection: SecureConnection) {
        events.append("inputEnded")
        onInputEnded(connection)
    }
    func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd) {
        events.append("closed")
        end = reason
    }
}

/// One side: an embedded channel with a `SecureConnection`.
private final class Side {
    let recorder = Recorder()
    let connection: SecureConnection
    let channel: EmbeddedChannel

    init(_ context: TLSContext) throws {
        connection = try SecureConnection(context: context, buffers: TLSBuffers(), delegate: recorder)
        channel = EmbeddedChannel(handler: connection)
    }

    func activate() throws {
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func deliver(to other: Side) throws -> Int {
        var moved = 0
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
            moved += bytes.readableBytes
            if other.channel.isActive { try other.channel.writeInbound(bytes) }
        }
        return moved
    }
}

struct SecureConnectionTests {
    private func make() throws -> (client: Side, server: Side) {
        let authority = try makeAuthority()
        let client = try Side(context(.client, credentials(authority, [.participant(ParticipantID(1))])))
        let server = try Side(context(.server, credentials(authority, [.node(NodeID(1))])))
        return (client, server)
    }

    private func joined() throws -> (client: Side, server: Side) {
        let (client, server) = try make()
        try server.activate()
        try client.activate()
        try pump(client, server)
        return (client, server)
    }

    private func pump(_ a: Side, _ b: Side) throws {
        while try a.deliver(to: b) + b.deliver(to: a) > 0 {}
    }

    @Test func bytesSentBeforeAndDuringTheHandshakeArrive() throws {
        let (client, server) = try make()
        client.connection.send([.bytes([1, 2])])
        client.recorder.onEstablished = { $0.send([.bytes([3])]) }
        server.recorder.onReceived = { connection in
            connection.send([.bytes([9])])
            connection.flush()
        }
        try server.activate()
        try client.activate()
        try pump(client, server)
        #expect(server.recorder.received == [1, 2, 3])
        #expect(client.recorder.received == [9])
        #expect(client.recorder.events == ["established"] && server.recorder.events == ["established"])
        #expect(server.connection.peer?.roles(in: cluster) == [.participant(ParticipantID(1))])
    }

    @Test func everythingQueuedInOneTurnIsOneWrite() throws {
        let (client, server) = try joined()
        for index in 0..<100 { client.connection.send([.bytes([UInt8](repeating: UInt8(index), count: 100))]) }
        #expect(client.connection.queuedBytes == 10_000)
        client.connection.flush()
        #expect(client.connection.queuedBytes == 0)
        let first = try #require(try client.channel.readOutbound(as: ByteBuffer.self))
        // One record: header 5, content type 1, tag 16.
        #expect(first.readableBytes == 10_000 + 22)
        #expect(try client.channel.readOutbound(as: ByteBuffer.self) == nil)
        try server.channel.writeInbound(first)
        #expect(server.recorder.received.count == 10_000)
    }

    @Test func backpressureLeavesBytesInTheQueueAndTellsTheDelegate() throws {
        let (client, server) = try joined()
        client.channel.isWritable = false
        let slab = Slab([UInt8](repeating: 8, count: 1 << 20))
        client.connection.send([.slab(slab)])
        client.connection.flush()
        #expect(client.connection.queuedBytes == 1 << 20)
        #expect(!client.connection.isWritable && client.recorder.events.last == "writable false")
        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        #expect(client.connection.queuedBytes == 0 && client.recorder.events.last == "writable true")
        try pump(client, server)
        #expect(server.recorder.received.count == 1 << 20)
    }

    @Test func aPeerThatNeverReadsIsNotReadEither() throws {
        let (_, server) = try joined()
        server.connection.queueLimit = 1_000
        server.channel.isWritable = false
        server.connection.send([.bytes([UInt8](repeating: 1, count: 1_000))])
        #expect(server.connection.isReading)
        server.connection.send([.bytes([1])])
        #expect(!server.connection.isReading)
        server.connection.pauseReading()
        server.channel.isWritable = true
        server.channel.pipeline.fireChannelWritabilityChanged()
        #expect(server.connection.queuedBytes == 0 && !server.connection.isReading)
        server.connection.resumeReading()
        #expect(server.connection.isReading)
    }

    @Test func closeSendsWhatIsQueuedAndSaysGoodbye() throws {
        let (client, server) = try joined()
        server.recorder.onInputEnded = { connection in
            connection.send([.bytes([7])])
            connection.close()
        }
        client.connection.send([.bytes([1])])
        client.connection.close()
        client.connection.send([.bytes([2])])
        try pump(client, server)
        #expect(server.recorder.received == [1] && server.recorder.events.suffix(2) == ["inputEnded", "closed"])
        #expect(server.recorder.end == .goodbye && client.recorder.end == .goodbye)
        #expect(!server.channel.isActive && !client.channel.isActive)
    }

    @Test func aVanishedPeerIsNotAGoodbye() throws {
        let (_, server) = try joined()
        try server.channel.close().wait()
        #expect(server.recorder.end == .tls(.truncated) && server.connection.isClosed)
    }

    @Test func theHandshakeHasALimitInTime() throws {
        let (_, server) = try make()
        try server.activate()
        server.channel.embeddedEventLoop.advanceTime(by: .milliseconds(4_999))
        #expect(server.recorder.end == nil)
        server.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(server.recorder.end == .tls(.handshakeTimeout) && !server.channel.isActive)
    }

    @Test func anUndisturbedConnectionHasNoTimeLimit() throws {
        let (client, server) = try joined()
        server.channel.embeddedEventLoop.advanceTime(by: .hours(1))
        client.connection.send([.bytes([1])])
        client.connection.flush()
        try pump(client, server)
        #expect(server.recorder.received == [1])
    }

    @Test func plainTextIsRefusedAndClosed() throws {
        let (_, server) = try make()
        try server.activate()
        try server.channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
        guard case .tls(.plainText)? = server.recorder.end else { throw Unexpected(nil) }
        #expect(server.recorder.events == ["closed"] && !server.channel.isActive)
    }

    @Test func aRefusedClientHearsWhy() throws {
        let (ours, theirs) = (try makeAuthority(), try makeAuthority("another"))
        let client = try Side(
            context(.client, credentials(theirs, [.operator("eve")], trusting: ours)))
        let server = try Side(context(.server, credentials(ours, [.node(NodeID(1))])))
        try server.activate()
        try client.activate()
        try pump(client, server)
        guard case .tls(.foreignAuthority)? = server.recorder.end else { throw Unexpected(nil) }
        #expect(client.recorder.end == .tls(.refusedByPeer(alert: 48)))
    }

    @Test func abortInTheMiddleOfDelivery() throws {
        let (client, server) = try joined()
        server.recorder.onReceived = { $0.abort() }
        client.connection.send([.slab(Slab([UInt8](repeating: 1, count: 600_000)))])
        client.connection.flush()
        try pump(client, server)
        #expect(server.recorder.end == .aborted && server.recorder.received.count <= TLSBuffers.plaintextBytes)
        #expect(server.recorder.events.last == "closed")
    }
}
