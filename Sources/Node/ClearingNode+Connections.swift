import ClearingModel
import Engine
import NIOCore
import TLS

/// Connections between TLS and engine.
extension ClearingNode: SecureConnectionDelegate {
    public func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity) {
        unnamed[ObjectIdentifier(connection)] = nil
        let authority = peer.authority(in: cluster)
        guard !authority.isEmpty else {
            refusedHandshakes += 1
            logger.warning(
                "connection refused: the certificate names nobody of this cluster",
                metadata: [
                    "from": .string(connection.remoteAddress), "uris": .string(peer.uris.joined(separator: " ")),
                ])
            return connection.abort()
        }
        let dialled = dials.first { $0.connection === connection }?.peer
        if let dialled, authority.node != dialled {
            logger.error(
                "the node that answered is another one than was called; check the addresses in the topology",
                metadata: ["called": .string("\(dialled)"), "uris": .string(peer.uris.joined(separator: " "))])
            return connection.abort()
        }
        let id = engine.opened(authority: authority, dialled: dialled, now: clock.monotonic)
        connection.token = id.rawValue
        connections[id] = connection
        // A peer's link is bounded by Raft's windows; a client that never reads would grow without end.
        if authority.node == nil { connection.queueLimit = Limits.connectionWindowBytes * 2 }
        scheduleTurn()
    }

    public func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer) {
        if !gates.isEmpty, let peer = peer(of: connection) { return receiveGated(bytes, connection, peer) }
        engine.received(bytes, on: ConnectionID(connection.token), now: clock.monotonic)
    }

    public func connectionReadComplete(_ connection: SecureConnection) { scheduleTurn() }

    public func connection(_ connection: SecureConnection, isWritable: Bool) {}

    public func connectionInputEnded(_ connection: SecureConnection) { connection.close() }

    public func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd) {
        if unnamed.removeValue(forKey: ObjectIdentifier(connection)) != nil {
            refusedHandshakes += 1
            logger.warning(
                "connection refused: \(reason)", metadata: ["from": .string(connection.remoteAddress)])
        } else if reason == .silence {
            logger.warning(
                "connection lost: \(reason)",
                metadata: [
                    "from": .string(connection.remoteAddress),
                    "uris": .string(connection.peer?.uris.joined(separator: " ") ?? "?"),
                ])
        }
        let id = ConnectionID(connection.token)
        if connections[id] === connection {
            connections[id] = nil
            engine.closed(id, now: clock.monotonic)
            if let peer = peer(of: connection) { gates[peer]?.connectionEnded() }
        }
        for dial in dials where dial.connection === connection { dial.ended() }
        scheduleTurn()
    }
}
