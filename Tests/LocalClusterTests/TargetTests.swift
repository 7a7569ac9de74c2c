import ClearingModel
import LocalCluster
import Testing

/// What `cluster kill` and its like act on, and small forms around it.
struct TargetTests {
    @Test func forms() throws {
        #expect(try Target("3") == .node(NodeID(3)))
        #expect(try Target("all") == .all)
        #expect(try Target("site:Beijing") == .site("Beijing"))
        #expect(try Target("leader:7") == .leader(ShardID(7)))
        #expect(try Target("leader:directory") == .leader(.directory))
        for text in ["", "0", "-1", "site:", "leader:", "leader:x", "everything", "3,4"] {
            #expect(throws: LaunchError.self, "\(text)") { try Target(text) }
        }
    }

    @Test func sites() throws {
        let topology = try TopologyFlags(nodes: 6, shards: 2, replicas: 3, cities: 3, dataCentres: 2).plan()
            .complete(cluster: ClusterID(high: 1, low: 1), base: 7_400)
        let state = ClusterState(
            cluster: "",
            nodes: topology.nodes.map {
                ClusterState.Node(
                    id: $0.id.rawValue, city: $0.city, dataCentre: $0.dataCentre, address: $0.address, port: $0.port,
                    admin: $0.adminPort, incarnation: 1)
            }, allowFaults: false, participants: 0)
        func nodes(_ text: String) throws -> [UInt32] {
            try Target(text).nodes(state: state, topology: topology).map(\.rawValue)
        }
        #expect(try nodes("site:shanghai") == [3, 4])
        #expect(try nodes("site:Shanghai-B") == [4])
        #expect(try nodes("site:6") == [6])
        #expect(try nodes("all") == [1, 2, 3, 4, 5, 6])
        #expect(throws: LaunchError.self) { try nodes("site:Paris") }
        #expect(throws: LaunchError.self) { try nodes("7") }
        #expect(throws: LaunchError.self) { try nodes("leader:3") }
        // Nobody runs, so nobody leads.
        #expect(throws: LaunchError.self) { try nodes("leader:1") }
        let status = ClusterStatus.take(state: state, topology: topology)
        #expect(status.leaderless.count == 3)
        #expect(status.nodes.allSatisfy { $0.state == .stopped && $0.pid == nil })
        #expect(status.json.contains("\"admin\":\"http://127.0.0.1:7411\""))
        #expect(status.json.contains("\"leader\":null") && status.json.contains("\"pid\":null"))
        #expect(status.table.contains("127.77.3.1:7403"))
    }

    @Test func columns() {
        let table = Table(["node", "city"], rows: [["1", "Beijing"], ["12", "Wuhan"]])
        #expect(table.text == "node  city\n   1  Beijing\n  12  Wuhan\n")
    }
}
