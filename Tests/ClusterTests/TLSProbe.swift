import ClearingModel
import Foundation
import NIOCore
import TLS
import Wire

/// A TLS connection to a node that only shakes hands: what certificate a new connection meets, and whether it stands.
final class TLSProbe {
    private let socket: RawSocket
    private let session: TLSSession
    /// URIs of the node's certificate.
    let uris: [String]

    init(_ address: (address: String, port: UInt16), _ credentials: TLSCredentials) throws {
        let socket = try RawSocket(connectingTo: address.address, port: address.port)
        let session = try TLSSession(
            context: TLSContext(role: .client, credentials: credentials), buffers: TLSBuffers())
        var out = ByteBuffer()
        try session.start(into: &out)
        var found: [String]?
        while found == nil {
            socket.send(Array(out.readableBytesView))
            out.clear()
            guard let bytes = socket.receive() else { throw Failure("the node ended the handshake") }
            try bytes.withUnsafeBytes { raw in
                try session.receive(raw, into: &out) { event in
                    if case .established(let peer) = event { found = peer.uris }
                }
            }
        }
        socket.send(Array(out.readableBytesView))
        (self.socket, self.session, uris) = (socket, session, found!)
    }

    /// Sends a client's hello and waits for the node's answer: the connection works in both directions.
    func isAnswered(_ hello: [UInt8]) throws -> Bool {
        var queue = PlaintextQueue()
        queue.append(.bytes(hello))
        var out = ByteBuffer()
        while !queue.isEmpty { try session.encrypt(&queue, into: &out) }
        socket.send(Array(out.readableBytesView))
        var answered = false
        while !answered, let bytes = socket.receive() {
            try bytes.withUnsafeBytes { raw in
                try session.receive(raw, into: &out) { event in
                    if case .plaintext = event { answered = true }
                }
            }
        }
        return answered
    }
}
