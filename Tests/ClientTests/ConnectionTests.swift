import ClearingModel
import Client
import Testing
import Wire

@Suite("Connections of a client, and what may be in flight")
struct ConnectionTests {
    @Test("connections are dealt to the nodes in turn, for each identity", arguments: [3, 4, 16, 32])
    func dealt(connections: Int) {
        var configuration = ClientConfiguration()
        configuration.connections = connections
        var world = World(identities: 2, configuration: configuration)
        world.step(3)
        #expect(world.core.connectionCount == 2 * connections && world.core.readyConnections == 2 * connections)
        for identity in 0..<2 {
            let own = (0..<world.core.connectionCount).map { ConnectionID(UInt32($0)) }
                .filter { world.core.identity(of: $0) == identity }
            let counts = (1...3).map { node in
                own.filter { world.core.node(of: $0).id == NodeID(UInt32(node)) }.count
            }
            #expect(counts == (0..<3).map { connections / 3 + ($0 < connections % 3 ? 1 : 0) })
        }
    }

    @Test("requests use all connections to a leader")
    func spread() {
        var configuration = ClientConfiguration()
        configuration.connections = 16
        configuration.maximumInflightRequests = 1
        var world = World(configuration: configuration)
        world.step(3)
        let leader = world.leader(of: 1)
        world.cluster.nodes[leader].isFrozen = true
        for sequence in 1...20 { world.submit(UInt64(sequence)) }
        world.step(2)
        // One in flight on each connection to the leader; the rest waits.
        let open = 16 / 3 + (leader < 16 % 3 ? 1 : 0)
        #expect(world.core.waitingRequests == 20 - open)
        world.cluster.thaw(leader)
        world.step(20)
        #expect((1...20).allSatisfy { world.isAccepted(UInt64($0)) })
    }

    @Test("no more of a shard is in flight than told", arguments: [1, 4])
    func ofShard(limit: Int) {
        var configuration = ClientConfiguration()
        configuration.maximumInflightOfShard = limit
        var world = World(configuration: configuration)
        world.step(3)
        let leader = world.leader(of: 1)
        world.cluster.nodes[leader].isFrozen = true
        for sequence in 1...50 { world.submit(UInt64(sequence)) }
        world.step(2)
        #expect(world.core.waitingRequests == 50 - limit)
        world.cluster.thaw(leader)
        world.step(100)
        #expect((1...50).allSatisfy { world.isAccepted(UInt64($0)) })
        #expect(world.core.pendingRequests == 0)
    }
}
