import Foundation
import Testing

extension RealProcesses {
    @Test func whatMustNotStart() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 2)
        defer { cluster.end() }
        let binary = try LocalCluster.binary()
        func node(_ file: String) throws -> Outcome { try cluster.launch([binary, "node", "--config", file]).wait() }

        let second = try node("\(cluster.directory)/node-1/node.yaml")
        #expect(second.code == 78 && second.error.contains("is in use by process"), "\(second)")

        let text = cluster.text("node-1/node.yaml")
        let other = "\(cluster.directory)/node-1/other.yaml"
        try text.replacingOccurrences(of: "data: data", with: "data: ../node-2/data")
            .write(toFile: other, atomically: true, encoding: .utf8)
        let foreign = try node(other)
        #expect(foreign.code == 78 && foreign.error.contains("belongs to node 2, this is node 1"), "\(foreign)")

        let twice = try cluster.run("cluster", "up")
        #expect(twice.code == 1 && twice.error.contains("runs already"), "\(twice)")

        let port = try cluster.node(2).listener
        try cluster.down()
        let blocker = try RawSocket(listeningOn: port.address, port: port.port)
        let taken = try cluster.run("cluster", "up")
        #expect(taken.code == 78 && taken.error.contains("\(port.address):\(port.port)"), "\(taken)")
        let alone = try node("\(cluster.directory)/node-2/node.yaml")
        #expect(alone.code == 78 && alone.error.contains("\(port.address):\(port.port)"), "\(alone)")
        withExtendedLifetime(blocker) {}
        #expect(cluster.processes.isEmpty)
    }

    @Test func clustersMadeAtTheSameMoment() throws {
        let clusters = try (0..<3).map { _ in try LocalCluster() }
        defer { for cluster in clusters { cluster.end() } }
        let starts = try clusters.map {
            try $0.start("cluster", "up", "--detach", "--nodes", "1", "--shards", "1", "--replicas", "1")
        }
        for start in starts {
            let outcome = try start.wait(seconds: 120)
            #expect(outcome.code == 0, "\(outcome)")
        }
        let ports = try clusters.map { try $0.node(1).listener.port }
        #expect(Set(ports).count == clusters.count)
    }

    @Test func dataOfAnotherCluster() throws {
        let cluster = try LocalCluster.up(nodes: 1, shards: 1, "--replicas", "1")
        defer { cluster.end() }
        try cluster.down()
        let topology = cluster.text("topology.yaml")
        let id = try #require(topology.split(separator: "\n").first { $0.hasPrefix("cluster:") })
        try topology.replacingOccurrences(of: id, with: "cluster: \"0123456789abcdef0123456789abcdef\"")
            .write(toFile: "\(cluster.path)/topology.yaml", atomically: true, encoding: .utf8)
        let refused = try cluster.run("cluster", "up")
        #expect(refused.code == 78 && refused.error.contains("belongs to cluster"), "\(refused)")
        #expect(refused.error.contains("0123456789abcdef0123456789abcdef"), "\(refused)")
        #expect(cluster.processes.isEmpty)
    }

    @Test(arguments: [
        // An unknown key, a number out of range, nodes that are too few, broken YAML.
        ("version: 1\nshards: 2\nreplicas: 3\nreplica: 3\nnodes: []\n", "4:1"),
        ("version: 1\nshards: 999\nreplicas: 1\nnodes:\n  - {id: 1, city: A, dataCentre: B}\n", "2:9"),
        ("version: 1\nshards: 2\nreplicas: 3\nnodes:\n  - {id: 1, city: A, dataCentre: B}\n", "3:11"),
        ("version: 1\nshards: 2\nreplicas: 2\nnodes:\n  - {id: 1, city: A, dataCentre: B}\n", "3:11"),
        ("version: 1\nshards: [2\nreplicas: 3\n", "3:"),
    ])
    func aBrokenTopology(text: String, place: String) throws {
        let cluster = try LocalCluster()
        defer { cluster.end() }
        let file = try cluster.file("topology.yaml", text)
        let refused = try cluster.run("cluster", "up", "--topology", file)
        #expect(refused.code == 78 && refused.error.contains("\(file):\(place)"), "\(refused)")
        #expect(!FileManager.default.fileExists(atPath: cluster.path))
    }

    @Test(arguments: [
        (["cluster", "up", "--nodes", "3", "--replicas", "5"], 64, "5"),
        (["cluster", "up", "--nodes", "3", "--sites", "4x2"], 64, "site"),
        (["cluster", "up", "--nodes", "none"], 64, "--nodes"),
        (["cluster", "up", "--no-such-option"], 64, "--no-such-option"),
        (["cluster", "up", "--topology", "/no/such/file"], 78, "/no/such/file"),
        (["load", "--rate", "many"], 64, "many"),
        (["submit", "--creditor", "1", "--amount", "-5"], 64, "--amount"),
        (["transaction", "17-1-20269999-1"], 64, "17-1-20269999-1"),
        (["cluster", "status"], 69, "cluster up"), (["cluster", "down"], 69, "cluster up"),
        (["cluster", "kill", "leader:1"], 69, "cluster up"), (["load"], 69, "cluster up"),
        (["position", "1"], 69, "cluster up"), (["audit"], 69, "cluster up"),
        // Known bugs are in test builds only.
        (["sim", "--seed", "1", "--mutation", "forgetVote"], 64, "Unknown option '--mutation'"),
    ])
    func aCommandThatCannotBe(arguments: [String], code: Int32, text: String) throws {
        let cluster = try LocalCluster()
        defer { cluster.end() }
        let refused = try cluster.run(arguments)
        #expect(refused.code == code && refused.error.contains(text) && refused.out.isEmpty, "\(refused)")
    }
}
