import ClearingModel
import Engine
import TLS
import Wire

/// Faults on purpose: link policies and a wrong wall clock, in a node that was started with `--allow-faults`.
extension ClearingNode {
    /// The peer at the other end, or `nil` for a client.
    func peer(of connection: SecureConnection) -> NodeID? { connection.peer?.authority(in: cluster).node }

    func carryOut(_ fault: Operation) {
        switch fault {
        case .setLink(let peer, let incoming, let outgoing):
            let peers = peer.map { [$0] } ?? configuration.topology.nodes.map(\.id).filter { $0 != configuration.node }
            for peer in peers {
                var gate = gates[peer] ?? LinkGate()
                let verdict = gate.set(incoming: incoming, outgoing: outgoing)
                gates[peer] = gate
                logger.warning(
                    "link policy changed", metadata: ["peer": .string("\(peer)"), "policy": .string(describe(gate))])
                if verdict == .reset { reset(peer) }
            }
        case .offsetClock(let milliseconds):
            clock.wallOffset = milliseconds * 1_000
            logger.warning("wall clock offset changed", metadata: ["milliseconds": .string("\(milliseconds)")])
        case .transferLeadership, .replaceReplica: break
        }
    }

    func describe(_ gate: LinkGate) -> String { "in \(gate.incoming) out \(gate.outgoing)" }

    func sendGated(_ parts: [OutputQueue.Part], _ connection: SecureConnection, _ peer: NodeID) {
        guard var gate = gates[peer] else {
            connection.send(parts)
            return connection.flush()
        }
        let verdict = gate.send(parts, now: clock.monotonic) {
            connection.send($0)
            connection.flush()
        }
        gates[peer] = gate
        if verdict == .reset { connection.abort(reset: true) }
    }

    func receiveGated(_ bytes: UnsafeRawBufferPointer, _ connection: SecureConnection, _ peer: NodeID) {
        let id = ConnectionID(connection.token)
        guard var gate = gates[peer] else { return engine.received(bytes, on: id, now: clock.monotonic) }
        let verdict = gate.receive(bytes, now: clock.monotonic) { engine.received($0, on: id, now: clock.monotonic) }
        gates[peer] = gate
        if verdict == .reset { connection.abort(reset: true) }
    }

    /// Lets go of what a delay has held long enough; to the millisecond of the tick.
    func releaseGates() {
        guard !gates.isEmpty else { return }
        let now = clock.monotonic
        for (id, connection) in connections.sorted(by: { $0.key < $1.key }) {
            guard let peer = peer(of: connection), var gate = gates[peer], let due = gate.nextDue, due <= now else {
                continue
            }
            gate.release(
                now: now,
                send: {
                    connection.send($0)
                    connection.flush()
                }, deliver: { engine.received($0, on: id, now: now) })
            gates[peer] = gate
        }
    }

    private func reset(_ peer: NodeID) {
        for connection in connections.values where self.peer(of: connection) == peer { connection.abort(reset: true) }
    }
}
