import ClearingModel
import NIOCore
import TLS
import Testing
import Wire

struct TLSSessionTests {
    private func joined(
        clientRoles: [Role] = [.participant(ParticipantID(104)), .participant(ParticipantID(9))],
        serverRoles: [Role] = [.node(NodeID(3))]
    ) throws -> Pair {
        let authority = try makeAuthority()
        return try Pair(
            client: context(.client, credentials(authority, clientRoles)),
            server: context(.server, credentials(authority, serverRoles)))
    }

    @Test func eachSideLearnsWhoTheOtherIs() throws {
        let pair = try joined()
        pair.handshake()
        #expect(pair.client.session.state == .open && pair.server.session.state == .open)
        let server = try #require(pair.client.peer)
        #expect(server.roles(in: cluster) == [.node(NodeID(3))])
        let client = try #require(pair.server.peer)
        #expect(client.uris == ["suanpan://\(cluster)/participant/104", "suanpan://\(cluster)/participant/9"])
        let authority = client.authority(in: cluster)
        #expect(authority.participants == [ParticipantID(9), ParticipantID(104)])
        #expect(authority.mayInstruct(ParticipantID(9)) && !authority.mayInstruct(ParticipantID(10)))
        #expect(client.authority(in: ClusterID(high: 1, low: 1)).isEmpty)
    }

    @Test func noTicketsFollowTheHandshake() throws {
        let pair = try joined()
        pair.client.start()
        pair.pump()
        // A ticket would make the server the one with bytes to send after the client's last flight.
        #expect(pair.server.outgoing.readableBytes == 0 && pair.client.outgoing.readableBytes == 0)
        #expect(pair.client.pieces.isEmpty)
    }

    @Test func handshakeSurvivesSingleByteReads() throws {
        let pair = try joined()
        pair.handshake(cut: { 1 })
        #expect(pair.client.session.state == .open && pair.server.session.state == .open)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func bulkBothWaysWithRandomCuts(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pair = try joined()
        pair.handshake()
        var sent: (client: [UInt8], server: [UInt8]) = ([], [])
        for _ in 0..<60 {
            let fromClient = (0..<Int(random.below(100_000))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let fromServer = (0..<Int(random.below(40_000))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            try pair.client.send(fromClient)
            try pair.server.send(fromServer)
            sent.client += fromClient
            sent.server += fromServer
            pair.pump(cut: { 1 + Int(random.below(70_000)) })
        }
        #expect(pair.server.received == sent.client)
        #expect(pair.client.received == sent.server)
        #expect(pair.client.session.bytesSent == UInt64(sent.client.count))
        #expect(pair.server.session.bytesReceived == UInt64(sent.client.count))
    }

    @Test func largeReadsComeInOnePiecePerBuffer() throws {
        let pair = try joined()
        pair.handshake()
        try pair.client.send([UInt8](repeating: 5, count: TLSBuffers.plaintextBytes + 100))
        pair.pump()
        #expect(pair.server.pieces == [TLSBuffers.plaintextBytes, 100])
    }

    @Test func smallPartsShareRecords() throws {
        let pair = try joined()
        pair.handshake()
        var queue = PlaintextQueue()
        for index in 0..<1_000 { queue.append(.bytes([UInt8](repeating: UInt8(index % 251), count: 48))) }
        queue.append(.slab(Slab([UInt8](repeating: 252, count: 50_000))))
        queue.append(.bytes([253]))
        let total = queue.byteCount
        try pair.client.session.encrypt(&queue, into: &pair.client.outgoing)
        #expect(queue.isEmpty)
        // 98,001 bytes fit in seven records, each 22 bytes more than its plaintext.
        let records = (total + 16_383) / 16_384
        #expect(pair.client.outgoing.readableBytes <= total + (records + 1) * 22)
        pair.pump()
        var expected = (0..<1_000).flatMap { [UInt8](repeating: UInt8($0 % 251), count: 48) }
        expected += [UInt8](repeating: 252, count: 50_000) + [253]
        #expect(pair.server.received == expected)
    }

    @Test(arguments: [700, 16_512, 20_000, 100_000])
    func aLimitStopsEncryptionAndTheRestFollows(limit: Int) throws {
        let pair = try joined()
        pair.handshake()
        let bytes = (0..<120_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var queue = PlaintextQueue()
        queue.append(.bytes(Array(bytes[..<500])))
        queue.append(.slab(Slab(Array(bytes[500...]))))
        var rounds = 0
        while !queue.isEmpty {
            let before = pair.client.outgoing.readableBytes
            try pair.client.session.encrypt(&queue, into: &pair.client.outgoing, limit: max(limit, 16_512))
            #expect(pair.client.outgoing.readableBytes - before <= max(limit, 16_512))
            rounds += 1
        }
        #expect(rounds > 1)
        pair.pump()
        #expect(pair.server.received == bytes)
    }

    @Test func goodbyeEndsOneDirectionOnly() throws {
        let pair = try joined()
        pair.handshake()
        try pair.client.send([1, 2, 3])
        pair.client.session.finish(into: &pair.client.outgoing)
        #expect(!pair.client.session.canSend)
        pair.pump()
        #expect(pair.server.received == [1, 2, 3] && pair.server.inputEnded)
        #expect(pair.server.session.state == .inputEnded && pair.server.session.canSend)
        try pair.server.send([4])
        pair.server.session.finish(into: &pair.server.outgoing)
        pair.pump()
        #expect(pair.client.received == [4] && pair.client.inputEnded)
        try pair.client.session.endOfStream()
    }

    @Test func anEndWithoutGoodbyeIsAnError() throws {
        let pair = try joined()
        pair.handshake()
        #expect(throws: TLSError.truncated) { try pair.server.session.endOfStream() }
    }

    @Test func releasedBuffersComeBack() throws {
        let pair = try joined()
        pair.handshake()
        for round in 0..<3 {
            try pair.client.send([UInt8](repeating: UInt8(round), count: 20_000))
            pair.pump()
            pair.client.session.releaseIdleBuffers()
            pair.server.session.releaseIdleBuffers()
        }
        #expect(pair.server.received.count == 60_000)
    }

    @Test func reloadedCredentialsServeNewSessions() throws {
        let authority = try makeAuthority()
        let server = try context(.server, credentials(authority, [.node(NodeID(1))]))
        let client = try context(.client, credentials(authority, [.operator("ann")]))
        let before = try Pair(client: client, server: server)
        before.handshake()
        try server.reload(credentials(authority, [.node(NodeID(2))]))
        let after = try Pair(client: client, server: server)
        after.handshake()
        #expect(before.client.peer?.roles(in: cluster) == [.node(NodeID(1))])
        #expect(after.client.peer?.roles(in: cluster) == [.node(NodeID(2))])
        try before.client.send([1])
        before.pump()
        #expect(before.server.received == [1])
        // What cannot be used changes nothing.
        let broken = TLSCredentials(authorityPEM: [], certificatePEM: [], keyPEM: [])
        #expect(throws: TLSError.self) { try server.reload(broken) }
        let still = try Pair(client: client, server: server)
        still.handshake()
        #expect(still.client.peer?.roles(in: cluster) == [.node(NodeID(2))])
    }
}
