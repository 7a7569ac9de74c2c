import ClearingModel
import NIOCore
import TLS
import Wire

/// Two TLS sessions joined in memory, their handshake behind them.
final class SessionPair {
    private let client: TLSSession
    private let server: TLSSession
    private var received = 0

    init() {
        do {
            // Validity counts in OpenSSL's own clock: a span around any "now".
            let always = CertificateValidity(
                notBefore: WallTime(milliseconds: 1_577_836_800_000),
                notAfter: WallTime(milliseconds: 5_364_662_400_000))
            let authority = try CertificateAuthority(name: "microbench", validity: always)
            func context(_ role: TLSRole, _ name: Role) throws -> TLSContext {
                let issued = try authority.issue([name], cluster: Microbenchmark.cluster, validity: always)
                return try TLSContext(role: role, credentials: TLSCredentials(authority: authority, issued: issued))
            }
            client = try TLSSession(context: context(.client, .participant(ParticipantID(1))), buffers: TLSBuffers())
            server = try TLSSession(context: context(.server, .node(NodeID(1))), buffers: TLSBuffers())
            var toServer = ByteBuffer()
            var toClient = ByteBuffer()
            try client.start(into: &toServer)
            while toServer.readableBytes + toClient.readableBytes > 0 {
                let (first, second) = (toServer, toClient)
                toServer.clear()
                toClient.clear()
                try first.withUnsafeReadableBytes { try server.receive($0, into: &toClient) { _ in } }
                try second.withUnsafeReadableBytes { try client.receive($0, into: &toServer) { _ in } }
            }
        } catch {
            preconditionFailure("a handshake in memory: \(error)")
        }
        precondition(client.state == .open && server.state == .open, "the handshake ended")
    }

    func seal(_ bytes: [UInt8]) -> ByteBuffer {
        var queue = PlaintextQueue()
        queue.append(.bytes(bytes))
        var out = ByteBuffer()
        do { try client.encrypt(&queue, into: &out) } catch { preconditionFailure("sealing: \(error)") }
        return out
    }

    func open(_ buffer: ByteBuffer) {
        var back = ByteBuffer()
        do {
            try buffer.withUnsafeReadableBytes { raw in
                try server.receive(raw, into: &back) { event in
                    if case .plaintext(let bytes) = event { received += bytes.count }
                }
            }
        } catch {
            preconditionFailure("opening: \(error)")
        }
    }
}
