import Bench
import ClearingModel
import LocalCluster
import Testing
import Workload

@Suite("The benchmark's cases")
struct CaseTests {
    static func load() throws -> LoadConfiguration {
        let nodes = (1...3).map {
            TopologyNode(
                id: NodeID(UInt32($0)), city: "a", dataCentre: "a", address: "127.0.0.1", port: 1, adminPort: 2)
        }
        let topology = ClusterTopology(
            cluster: ClusterID(high: 1, low: 2), nodes: nodes,
            placements: try Placement.spread(shardCount: 6, replicas: 3, nodes: nodes), slots: SlotMap(shardCount: 6))
        return LoadConfiguration(
            topology: topology, identities: [], population: Population.generate(), plan: .maximum(seconds: 1))
    }

    @Test("without a name all but the long one run, in the order of the table")
    func standard() throws {
        let names = try BenchCase.chosen([]).map(\.name)
        #expect(
            names == [
                "single-max", "single-80k", "batch-max", "batch-64", "lone", "cross-0", "cross-100", "step", "failover",
            ])
        #expect(try BenchCase.chosen(["long", "lone"]).map(\.name) == ["lone", "long"])
        #expect(Set(BenchCase.all.map(\.name)).count == BenchCase.all.count)
    }

    @Test("what cannot be is a usage error that says what can")
    func usage() {
        let bad: [(cases: [String], seconds: String, kills: Int, shards: Int, says: String)] = [
            (["lon"], "20", 10, 6, "choose of single-max"), ([], "0", 10, 6, "--seconds '0'"),
            ([], "20x", 10, 6, "--seconds '20x'"), ([], "20", 0, 6, "--kills 0"), ([], "20", 10, 257, "--shards 257"),
        ]
        for (cases, seconds, kills, shards, says) in bad {
            do {
                _ = try BenchPlan(cases: cases, seconds: seconds, kills: kills, shards: shards)
                Issue.record("\(says) is taken")
            } catch {
                #expect("\(error)".contains(says))
            }
        }
    }

    @Test("what is less than the standard is said to be")
    func shortcomings() throws {
        let short = try BenchPlan(cases: [], seconds: "2s", kills: 1, shards: 6)
        let full = try BenchPlan(cases: [], seconds: "20", kills: 10, shards: 6)
        for one in try BenchCase.chosen([]) {
            #expect(short.shortcomings(of: one).count == 1)
            #expect(full.shortcomings(of: one).isEmpty)
        }
    }

    @Test("a case makes the load that the table says")
    func loads() throws {
        for one in BenchCase.all {
            var load = try Self.load()
            one.configure(&load, seconds: 20)
            #expect(load.connections == one.connections && load.batch == one.batch && load.journalKept != nil)
            switch one.name {
            case "single-max": #expect(load.plan == .maximum(seconds: 25) && load.warmUpSeconds == 5 && load.batch == 1)
            case "single-80k": #expect(load.plan == .rate(80_000, seconds: 25))
            case "batch-max": #expect(load.batch == 8_000 && load.requestsPerShard == 4)
            case "batch-64": #expect(load.connections == 32 && load.requestsPerConnection == 1 && load.window == 2_048)
            case "lone": #expect(load.window == 1 && load.batch == 1)
            case "cross-0": #expect(load.credits == .inside)
            case "cross-100": #expect(load.credits == .across)
            case "step":
                #expect(load.plan.steps.map(\.rate) == [20_000, 80_000] && load.intervalSeconds == 0.1)
                #expect(load.plan.steps.map(\.seconds) == [15, 20])
            case "failover": #expect(load.plan.steps[0].rate == 80_000)
            case "long": #expect(load.warmUpSeconds == 0 && !one.isStandard)
            default: Issue.record("\(one.name) is not in the table")
            }
        }
        var short = try Self.load()
        BenchCase.all[0].configure(&short, seconds: 2)
        #expect(short.warmUpSeconds == 0.5 && short.plan.totalSeconds == 2.5)
    }

    @Test("a data directory in memory is refused")
    func memory() throws {
        let mounts = """
            /dev/vda / ext4 rw,relatime 0 0
            proc /proc proc rw 0 0
            tmpfs /tmp tmpfs rw,size=1g 0 0
            /dev/vdb /tmp/a\\040disk xfs rw 0 0
            ramfs /data ramfs rw 0 0
            /dev/vdc /data ext4 rw,noatime 0 0
            """
        let type = { (path: String) in FileSystem.find(path, mounts: mounts)?.type }
        #expect(type("/home/x") == "ext4" && type("/tmpx") == "ext4" && type("/tmp/x") == "tmpfs")
        #expect(type("/tmp/a disk/b") == "xfs")
        #expect(FileSystem.find("/data/b", mounts: mounts)?.device == "/dev/vdc", "the later mount hides the earlier")
        try FileSystem(type: "ext4", device: "a", options: "rw").check("/x")
        for type in ["tmpfs", "ramfs"] {
            let refusal = #expect(throws: LaunchError.self) {
                try FileSystem(type: type, device: type, options: "rw").check("/x")
            }
            #expect(refusal?.exitCode == 78 && "\(refusal, default: "")".contains("--dir"))
        }
        #expect(FileSystem.of("/proc")?.type == "proc")
    }
}
