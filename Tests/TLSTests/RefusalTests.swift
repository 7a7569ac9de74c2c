import ClearingModel
import NIOCore
import TLS
import Testing

/// Every way to be refused has its own typed error and a text that says what to look at.
struct RefusalTests {
    private let participant: [Role] = [.participant(ParticipantID(104))]
    private let node: [Role] = [.node(NodeID(1))]

    @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "hello\n", "\u{0}\u{0}\u{1}"])
    func plainText(text: String) throws {
        let end = try End(context(.server, credentials(makeAuthority(), node)))
        end.start()
        end.receive(Array(text.utf8))
        guard case .plainText? = end.error else { throw Unexpected(end.error) }
        #expect(end.outgoing.readableBytes == 0)
        #expect(try #require(end.error).description.contains("plain text"))
    }

    @Test func foreignAuthorityOfTheClient() throws {
        let (ours, theirs) = (try makeAuthority(), try makeAuthority("another CA"))
        let pair = try Pair(
            client: context(.client, credentials(theirs, participant, trusting: ours)),
            server: context(.server, credentials(ours, node)))
        pair.handshake()
        guard case .foreignAuthority? = pair.server.error else { throw Unexpected(pair.server.error) }
        #expect(pair.client.error == .refusedByPeer(alert: 48))
    }

    @Test func foreignAuthorityWithTheSameName() throws {
        let (ours, theirs) = (try makeAuthority(), try makeAuthority())
        let pair = try Pair(
            client: context(.client, credentials(theirs, participant, trusting: ours)),
            server: context(.server, credentials(ours, node)))
        pair.handshake()
        guard case .foreignAuthority? = pair.server.error else { throw Unexpected(pair.server.error) }
    }

    @Test func foreignAuthorityOfTheServer() throws {
        let (ours, theirs) = (try makeAuthority(), try makeAuthority("another CA"))
        let pair = try Pair(
            client: context(.client, credentials(ours, participant)),
            server: context(.server, credentials(theirs, node, trusting: ours)))
        pair.handshake()
        guard case .foreignAuthority? = pair.client.error else { throw Unexpected(pair.client.error) }
        #expect(pair.client.peer == nil)
        #expect(pair.server.error == .refusedByPeer(alert: 48))
    }

    @Test func expired() throws {
        let authority = try makeAuthority()
        let pair = try Pair(
            client: context(.client, credentials(authority, participant, validity: past)),
            server: context(.server, credentials(authority, node)))
        pair.handshake()
        #expect(pair.server.error == .certificateExpired)
        #expect(pair.client.error == .refusedByPeer(alert: 45))
    }

    @Test func notYetValid() throws {
        let authority = try makeAuthority()
        let pair = try Pair(
            client: context(.client, credentials(authority, participant)),
            server: context(.server, credentials(authority, node, validity: future)))
        pair.handshake()
        #expect(pair.client.error == .certificateNotYetValid)
    }

    @Test func aParticipantCannotServe() throws {
        let authority = try makeAuthority()
        let pair = try Pair(
            client: context(.client, credentials(authority, participant)),
            server: context(.server, credentials(authority, participant)))
        pair.handshake()
        guard case .badCertificate? = pair.client.error else { throw Unexpected(pair.client.error) }
    }

    @Test func noClientCertificate() throws {
        let authority = try makeAuthority()
        let pair = try Pair(
            client: TLSContext(unidentifiedClientTrusting: authority.certificatePEM),
            server: context(.server, credentials(authority, node)))
        pair.handshake()
        #expect(pair.server.error == .noCertificate)
        #expect(pair.client.error == .refusedByPeer(alert: 116))
    }

    @Test func aClientThatSpeaksTLS12Only() throws {
        let end = try End(context(.server, credentials(makeAuthority(), node)))
        end.start()
        end.receive(OldTLS.clientHello)
        #expect(end.error == .protocolTooOld)
        // Alert protocol_version (70), fatal (2).
        #expect(end.outgoing.readBytes(length: end.outgoing.readableBytes)?.suffix(2) == [2, 70])
    }

    @Test func aServerThatSpeaksTLS12Only() throws {
        let end = try End(context(.client, credentials(makeAuthority(), participant)))
        end.start()
        end.receive(OldTLS.serverHello)
        #expect(end.error == .protocolTooOld)
    }

    @Test func changedCiphertext() throws {
        let authority = try makeAuthority()
        let pair = try Pair(
            client: context(.client, credentials(authority, participant)),
            server: context(.server, credentials(authority, node)))
        pair.handshake()
        try pair.client.send([1, 2, 3, 4])
        var bytes = pair.client.outgoing.readBytes(length: pair.client.outgoing.readableBytes)!
        bytes[8] ^= 1
        pair.server.receive(bytes)
        guard case .protocolViolation? = pair.server.error else { throw Unexpected(pair.server.error) }
        #expect(pair.server.received.isEmpty)
    }

    @Test func aBitFlippedAnywhereInTheHandshakeIsNeverAccepted() throws {
        let authority = try makeAuthority()
        let client = try context(.client, credentials(authority, participant))
        let server = try context(.server, credentials(authority, node))
        for step in stride(from: 0, to: 2_000, by: 37) {
            let pair = try Pair(client: client, server: server)
            pair.client.start()
            var position = 0
            // Flips one bit of the byte at `step` of what the client sends.
            while true {
                var bytes = pair.client.outgoing.readBytes(length: pair.client.outgoing.readableBytes)!
                if (position..<position + bytes.count).contains(step) { bytes[step - position] ^= 0x10 }
                position += bytes.count
                pair.server.receive(bytes)
                let answer = pair.server.outgoing.readBytes(length: pair.server.outgoing.readableBytes)!
                pair.client.receive(answer)
                if bytes.isEmpty && answer.isEmpty { break }
            }
            if step < position { #expect(pair.server.peer == nil, "byte \(step)") }
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func randomBytesBehindARecordHeader(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let end = try End(context(.server, credentials(makeAuthority(), node)))
        end.start()
        let body = (0..<400).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        end.receive([22, 3, 1, 0, 200] + body)
        #expect(end.error != nil && end.peer == nil)
    }

    @Test func unusableMaterial() throws {
        let authority = try makeAuthority()
        let one = try authority.issue(node, cluster: cluster, validity: always)
        let other = try authority.issue(node, cluster: cluster, validity: always)
        let mixed = IssuedCertificate(certificatePEM: one.certificatePEM, keyPEM: other.keyPEM)
        #expect(throws: TLSError.keyMismatch) {
            try TLSContext(role: .server, credentials: TLSCredentials(authority: authority, issued: mixed))
        }
        let noKey = IssuedCertificate(certificatePEM: one.certificatePEM, keyPEM: Array("no key".utf8))
        #expect(throws: TLSError.self) {
            try TLSContext(role: .server, credentials: TLSCredentials(authority: authority, issued: noKey))
        }
        #expect(throws: TLSError.self) {
            try authority.issue(uris: ["suanpan://x/operator/a b"], name: "x", serves: false, validity: always)
        }
    }

    @Test func authoritySurvivesItsPEM() throws {
        let authority = try makeAuthority()
        let again = try CertificateAuthority(authority.stored)
        #expect(again.certificatePEM == authority.certificatePEM)
        let pair = try Pair(
            client: context(.client, credentials(again, participant)),
            server: context(.server, credentials(authority, node)))
        pair.handshake()
        #expect(pair.server.session.state == .open)
    }
}

struct Unexpected: Error {
    let error: TLSError?
    init(_ error: TLSError?) { self.error = error }
}

/// First messages of TLS 1.2 by hand (RFC 5246 §7.4.1): what a peer without TLS 1.3 sends.
enum OldTLS {
    static let clientHello: [UInt8] = record(
        handshake(
            type: 1,
            [3, 3] + [UInt8](repeating: 7, count: 32) + [0]  // version, random, no session
                + [0, 4, 0xC0, 0x2B, 0xC0, 0x2F]  // two ECDHE suites with AES-128-GCM
                + [1, 0]  // no compression
                + [0, 8 + 8]  // extensions: groups and signature algorithms, no supported_versions
                + [0, 10, 0, 4, 0, 2, 0, 23]
                + [0, 13, 0, 4, 0, 2, 4, 3]))

    static let serverHello: [UInt8] = record(
        handshake(type: 2, [3, 3] + [UInt8](repeating: 9, count: 32) + [0] + [0xC0, 0x2B] + [0]))

    private static func handshake(type: UInt8, _ body: [UInt8]) -> [UInt8] {
        [type, 0, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
    }

    private static func record(_ message: [UInt8]) -> [UInt8] {
        [22, 3, 1, UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message
    }
}
