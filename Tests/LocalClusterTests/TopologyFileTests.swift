import ClearingModel
import LocalCluster
import Testing

/// Topology files: what is read, what is written back, and every complaint with its line and column.
struct TopologyFileTests {
    private static let three = """
        version: 1
        shards: 4
        replicas: 3
        nodes:
          - {id: 1, city: Beijing, dataCentre: Beijing-A}
          - {id: 2, city: Shanghai, dataCentre: Shanghai-A}
          - {id: 3, city: Shenzhen, dataCentre: Shenzhen-A}

        """

    private func complaint(_ text: String) -> ConfigurationError? {
        do {
            _ = try TopologyFile.plan(text: text, file: "t.yaml")
            return nil
        } catch {
            return error
        }
    }

    @Test func aPlanIsFilledIn() throws {
        let plan = try TopologyFile.plan(text: Self.three, file: "t.yaml")
        let cluster = ClusterID(high: 1, low: 2)
        let topology = try plan.complete(cluster: cluster, base: 7_400)
        #expect(topology.cluster == cluster)
        #expect(topology.nodes.map(\.address) == ["127.77.1.1", "127.77.2.1", "127.77.3.1"])
        #expect(topology.nodes.map(\.port) == [7_401, 7_402, 7_403])
        #expect(topology.nodes.map(\.adminPort) == [7_411, 7_412, 7_413])
        #expect(topology.shardCount == 4)
        #expect(topology.placements.allSatisfy { $0.nodes.count == 3 })
    }

    @Test func whatIsWrittenIsReadBack() throws {
        var plan = try TopologyFlags(nodes: 6, shards: 12, replicas: 3, cities: 3, dataCentres: 2).plan()
        plan.nodes[1].city = "Xi'an \"west\": 2"
        plan.calendar = ClearingCalendar(zoneOffsetMinutes: -300, nextDayOpens: 1_385, previousDayCloses: 61)
        let largest = [(ParticipantID(1_001), 0.265), (ParticipantID(1_002), 0.086)]
        let topology = try plan.complete(
            cluster: ClusterID(high: 0xab << 56, low: 7), base: 7_400,
            largest: largest.map { (participant: $0.0, share: $0.1) })
        let read = try TopologyFile.plan(text: TopologyFile.text(topology), file: "t.yaml")
        let again = try read.complete(cluster: ClusterID(high: 9, low: 9), base: 9_000)
        #expect(again == topology)
        #expect(again.slots.pins.count == 2)
    }

    @Test func generatedSitesAreSpread() throws {
        let plan = try TopologyFlags(nodes: 6, shards: 12, replicas: 3, cities: 3, dataCentres: 2).plan()
        #expect(
            plan.sites.map(\.dataCentre) == [
                "Beijing-A", "Beijing-B", "Shanghai-A", "Shanghai-B", "Shenzhen-A", "Shenzhen-B",
            ])
        let topology = try plan.complete(cluster: ClusterID(high: 1, low: 1), base: 7_400)
        for placement in topology.placements {
            #expect(Set(placement.nodes.map { topology.node($0)!.city }).count == 3)
        }
        let leaders = topology.placements.dropFirst().map(\.preferredLeader)
        for node in topology.nodes { #expect(leaders.filter { $0 == node.id }.count == 2) }
        // Two nodes in one data centre stand beside each other.
        let eight = try TopologyFlags(nodes: 8, shards: 1, replicas: 3, cities: 3, dataCentres: 2).plan()
            .complete(cluster: ClusterID(high: 1, low: 1), base: 7_400)
        #expect(eight.nodes.map(\.address).prefix(3) == ["127.77.1.1", "127.77.1.2", "127.77.2.1"])
    }

    @Test func flagsThatCannotBe() {
        #expect(throws: FlagError.self) {
            try TopologyFlags(nodes: 4, shards: 1, replicas: 3, cities: 3, dataCentres: 2).plan()
        }
        #expect(throws: FlagError.self) {
            try TopologyFlags(nodes: 3, shards: 1, replicas: 2, cities: 3, dataCentres: 1).plan()
        }
        #expect(throws: FlagError.self) {
            try TopologyFlags(nodes: 3, shards: 1, replicas: 5, cities: 3, dataCentres: 1).plan()
        }
        #expect(TopologyFlags.parseSites("3x2")! == (3, 2))
        #expect(TopologyFlags.parseSites("3x") == nil)
        #expect(TopologyFlags.parseSites("0x2") == nil)
    }

    @Test func unknownKey() {
        let error = complaint(Self.three.replacing("id: 2, city", with: "id: 2, cty"))
        #expect(error?.line == 6 && error?.column == 13)
        #expect(error?.description == "t.yaml:6:13: unknown key 'cty' in a node; did you mean 'city'?")
    }

    @Test(arguments: [
        ("shards: 4", "shards: many", 2, 9, "shards is 'many'"),
        ("shards: 4", "shards: 300", 2, 9, "shards is '300'"),
        ("replicas: 3", "replicas: 2", 3, 11, "2 replicas survive no more"),
        ("replicas: 3", "replicas: 5", 3, 11, "5 replicas do not fit on 3 nodes"),
        ("version: 1", "version: 2", 1, 10, "version 2 is not known"),
        ("id: 3,", "id: 2,", 7, 10, "two nodes have id 2"),
        ("id: 3,", "id: 3, address: node3,", 7, 22, "'node3' is no IPv4"),
        ("replicas: 3", "replicas: 3\ncluster: 12", 4, 10, "32 hexadecimal"),
        ("replicas: 3", "replicas: 3\nshards: 5", 2, 1, "key 'shards' stands here and again"),
        ("replicas: 3", "replicas: [3", 4, 6, "did not find expected"),
        ("replicas: 3", "replicas: 3\ncalendar: {nextDayOpens: \"25:00\"}", 4, 26, "nextDayOpens is '25:00'"),
    ])
    func faults(old: String, new: String, line: Int, column: Int, text: String) throws {
        let error = try #require(complaint(Self.three.replacing(old, with: new)))
        #expect(error.problem.contains(text))
        #expect(error.line == line, "\(error)")
        #expect(error.column == column, "\(error)")
        #expect(!error.remedy.isEmpty)
    }

    @Test func overlappingAddresses() {
        let text = Self.three
            .replacing("Beijing-A", with: "Beijing-A, address: 127.0.0.1, port: 7401")
            .replacing("Shanghai-A", with: "Shanghai-A, address: 127.0.0.1, port: 7401")
        #expect(complaint(text)?.problem == "nodes 1 and 2 both listen on 127.0.0.1:7401")
        let admin = Self.three
            .replacing("Beijing-A", with: "Beijing-A, address: 127.0.0.1, adminPort: 7401")
            .replacing("Shanghai-A", with: "Shanghai-A, address: 127.0.0.2, adminPort: 7401")
        #expect(complaint(admin)?.problem == "nodes 1 and 2 both have admin port 7401 on one machine")
        // Two machines may use one port number.
        #expect(complaint(admin.replacing("127.0.0.", with: "10.0.0.")) == nil)
    }

    @Test func placementsMustFitTheSites() {
        let base = """
            version: 1
            shards: 1
            replicas: 3
            nodes:
              - {id: 1, city: Beijing, dataCentre: A}
              - {id: 2, city: Beijing, dataCentre: B}
              - {id: 3, city: Shanghai, dataCentre: A}
              - {id: 4, city: Shenzhen, dataCentre: A}
            placements:
              - {shard: 0, nodes: [1, 3, 4]}

            """
        #expect(complaint(base + "  - {shard: 1, nodes: [2, 3, 4]}\n") == nil)
        let crowded = complaint(base + "  - {shard: 1, nodes: [1, 2, 3]}\n")
        #expect(crowded?.line == 11)
        #expect(crowded?.problem.contains("do not fit the sites") == true)
        #expect(complaint(base + "  - {shard: 1, nodes: [1, 3, 7]}\n")?.problem == "there is no node 7")
        #expect(complaint(base + "  - {shard: 1, nodes: [1, 3, 3]}\n")?.problem == "node 3 stands twice")
        #expect(complaint(base)?.problem.contains("1 placements") == true)
    }

    @Test func anOpenPlanIsNoTopology() throws {
        let directory = try TemporaryDirectory()
        let path = directory.write("t.yaml", Self.three)
        #expect(throws: ConfigurationError.self) { try TopologyFile.topology(path: path) }
        #expect(throws: ConfigurationError.self) { try TopologyFile.plan(path: directory.path + "/none.yaml") }
    }
}
