import ClearingModel
import NIOCore
import TLS

let cluster = ClusterID(high: 7, low: 11)
/// Validity counts in OpenSSL's own clock, so the tests need a span around any "now": 2020 to 2140.
let always = CertificateValidity(
    notBefore: WallTime(milliseconds: 1_577_836_800_000), notAfter: WallTime(milliseconds: 5_364_662_400_000))
let past = CertificateValidity(
    notBefore: WallTime(milliseconds: 1_577_836_800_000), notAfter: WallTime(milliseconds: 1_577_923_200_000))
let future = CertificateValidity(
    notBefore: WallTime(milliseconds: 5_333_126_400_000), notAfter: WallTime(milliseconds: 5_364_662_400_000))

func makeAuthority(_ name: String = "test CA") throws -> CertificateAuthority {
    try CertificateAuthority(name: name, validity: always)
}

func credentials(
    _ authority: CertificateAuthority, _ roles: [Role], trusting: CertificateAuthority? = nil,
    validity: CertificateValidity = always
) throws -> TLSCredentials {
    TLSCredentials(
        authority: trusting ?? authority, issued: try authority.issue(roles, cluster: cluster, validity: validity))
}

func context(_ role: TLSRole, _ credentials: TLSCredentials) throws -> TLSContext {
    try TLSContext(role: role, credentials: credentials)
}

/// One end of an in-memory connection: a session and what it said.
final class End {
    let session: TLSSession
    var outgoing = ByteBuffer()
    var received: [UInt8] = []
    var peer: PeerIdentity?
    var inputEnded = false
    var error: TLSError?
    /// Lengths of the plaintext pieces handed out.
    var pieces: [Int] = []

    init(_ context: TLSContext) throws { session = try TLSSession(context: context, buffers: TLSBuffers()) }

    func start() {
        do { try session.start(into: &outgoing) } catch { self.error = error }
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        do {
            try session.receive(bytes, into: &outgoing) { event in
                switch event {
                case .established(let peer): self.peer = peer
                case .plaintext(let bytes):
                    received.append(contentsOf: bytes)
                    pieces.append(bytes.count)
                case .inputEnded: inputEnded = true
                }
            }
        } catch { self.error = self.error ?? error }
    }

    func receive(_ bytes: [UInt8]) { bytes.withUnsafeBytes { receive($0) } }

    func send(_ bytes: [UInt8]) throws {
        var queue = PlaintextQueue()
        queue.append(.bytes(bytes))
        while !queue.isEmpty { try session.encrypt(&queue, into: &outgoing) }
    }
}

/// A client and a server joined by memory.
final class Pair {
    let client: End
    let server: End

    init(client: TLSContext, server: TLSContext) throws {
        self.client = try End(client)
        self.server = try End(server)
    }

    /// Carries bytes both ways until none are left, cut into pieces of at most `cut()` bytes.
    func pump(cut: () -> Int = { .max }) {
        while true {
            let moved = carry(client, server, cut) + carry(server, client, cut)
            if moved == 0 { return }
        }
    }

    func handshake(cut: () -> Int = { .max }) {
        client.start()
        pump(cut: cut)
    }

    private func carry(_ from: End, _ to: End, _ cut: () -> Int) -> Int {
        var rest = from.outgoing.readBytes(length: from.outgoing.readableBytes)![...]
        let moved = rest.count
        while !rest.isEmpty {
            let piece = Array(rest.prefix(max(1, cut())))
            rest = rest.dropFirst(piece.count)
            to.receive(piece)
        }
        return moved
    }
}
