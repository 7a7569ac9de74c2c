import ClearingModel
import NIOCore
import TLS

/// The outgoing link to one peer: the node with the larger id calls the one with the smaller.
final class Dial {
    let peer: NodeID
    private(set) var connection: SecureConnection?
    private var connector: Connector?

    /// - Parameter make: a new connection of role client.
    init(
        _ peer: TopologyNode, from local: String, on loop: any EventLoop, seed: UInt64,
        make: @escaping () throws -> SecureConnection, failed: @escaping (SocketError) -> Void
    ) {
        self.peer = peer.id
        connector = Connector(
            on: loop, address: peer.address, port: Int(peer.port), from: local, seed: seed,
            make: { [unowned self] in
                let made = try make()
                connection = made
                return made
            }, failed: failed)
    }

    func start() { connector?.want() }
    func stop() { connector?.unwant() }

    /// The connection has closed; another attempt follows.
    func ended() {
        connection = nil
        connector?.ended()
    }
}
