import Foundation
import Testing

extension RealProcesses {
    @Test func theBenchmark() throws {
        let bench = try Bench()
        defer { bench.end() }
        let outcome = try bench.start("--case", "batch-64", "--seconds", "1", "--json", "-").wait()
        // On a busy machine the generator may be the limit.
        #expect(Load.ends.contains(outcome.code), "\(outcome)")
        let manifest = try #require(outcome.json["manifest"] as? [String: Any], "\(outcome)")
        #expect(manifest["shards"] as? Int == 6 && manifest["seconds"] as? Double == 1)
        #expect(manifest["commit"] as? String == "this")
        let cases = try #require(outcome.json["cases"] as? [[String: Any]])
        #expect(cases.map { $0["name"] as? String } == ["batch-64"])
        let one = cases[0]
        #expect(one["acceptedPerSecond"] as? Double ?? 0 > 100 && one["unknown"] as? Int == 0, "\(one)")
        #expect(one["p50Ms"] as? Double ?? 0 > 0 && one["syncs"] as? Int ?? 0 > 0, "\(one)")
        #expect(one["bytesWrittenPerTransaction"] as? Double ?? 0 > 3 * 128, "three logs hold each payment")
        let cpu = try #require(one["cpu"] as? [String: [String: Double]])
        #expect(Set(cpu.keys) == ["load", "node-1", "node-2", "node-3", "nodes"])
        #expect(cpu.values.allSatisfy { $0["userMicros"]! + $0["systemMicros"]! > 0 }, "\(cpu)")
        let sum = cpu.filter { $0.key != "nodes" }.values.reduce(0) { $0 + $1["userMicros"]! + $1["systemMicros"]! }
        #expect(abs(sum - (one["cpuMicrosPerTransaction"] as? Double ?? 0)) < 0.01)
        let resident = try #require(one["residentBytes"] as? [String: Int])
        #expect(resident.count == 4 && resident.values.allSatisfy { $0 > 1 << 20 })
        let audit = try #require(one["audit"] as? [String: Any])
        #expect(audit["verdict"] as? String == "valid" && audit["missing"] as? Int == 0, "\(audit)")
        #expect(audit["acknowledged"] as? Int ?? 0 >= one["accepted"] as? Int ?? .max)
        #expect("\(one["notes"] ?? "")".contains("measured for 1.0 s only"))
        #expect(try bench.leftovers.isEmpty)
    }

    @Test func anInterruptedBenchmark() throws {
        let bench = try Bench()
        defer { bench.end() }
        let child = try bench.start("--case", "lone", "--seconds", "60", "--verbose")
        try eventually("a second of the load") { child.error.contains(" 1 s:") }
        child.signal(SIGINT)
        let outcome = try child.wait()
        #expect(outcome.code == 130 && outcome.error.contains("interrupted in lone"), "\(outcome)")
        #expect(try bench.leftovers.isEmpty)
    }

    @Test func flagsThatCannotBe() throws {
        let bench = try Bench()
        defer { bench.end() }
        for (arguments, says) in [
            (["--case", "quick"], "choose of single-max"), (["--seconds", "0"], "--seconds '0'"),
            (["--compare", "nowhere.json"], "cannot be read"),
        ] {
            let outcome = try bench.start(arguments).wait()
            #expect(outcome.code == 64 && outcome.error.contains(says), "\(outcome)")
        }
        for (arguments, says) in [
            (["--max", "--rate", "5"], "not both"), (["--in-flight", "1"], "goes with --max"),
            (["--max", "--per-shard", "0"], "--per-shard 0"),
            (["--max", "--per-connection", "0"], "--per-connection 0"),
            (["--warm-up", "30s"], "shorter than the load"), (["--batch", "8193"], "1 to 8192"),
            (["--credits", "far"], "mix, inside or across"),
        ] {
            let outcome = try bench.run(["load"] + arguments)
            #expect(outcome.code == 64 && outcome.error.contains(says), "\(outcome)")
        }
        if FileManager.default.fileExists(atPath: "/dev/shm") {
            let memory = try bench.run(["bench", "--dir", "/dev/shm/suanpan-bench"])
            #expect(memory.code == 78 && memory.error.contains("--dir"), "\(memory)")
            try FileManager.default.removeItem(atPath: "/dev/shm/suanpan-bench")
        }
    }
}

/// A place for benchmarks on a disk: what is temporary may be in memory.
private final class Bench {
    private let root = "/var/tmp/suanpan-bench-\(UUID().uuidString)"
    private var children: [Child] = []

    init() throws {
        for path in [root, "\(root)/clusters", "\(root)/output"] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        }
    }

    func start(_ arguments: String...) throws -> Child { try start(arguments) }
    func start(_ arguments: [String]) throws -> Child {
        try launch(["bench", "--dir", "\(root)/clusters", "--commit", "this"] + arguments)
    }
    func run(_ arguments: [String]) throws -> Outcome { try launch(arguments).wait() }

    private func launch(_ arguments: [String]) throws -> Child {
        let child = try Child([LocalCluster.binary()] + arguments, files: "\(root)/output")
        children.append(child)
        return child
    }

    /// Files and processes that a benchmark has not cleared away.
    var leftovers: [String] {
        get throws {
            let files = try FileManager.default.contentsOfDirectory(atPath: "\(root)/clusters")
            let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { pid in
                guard Int(pid) != nil, let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
                    return false
                }
                return String(decoding: line, as: UTF8.self).contains(root)
            }
            return files + processes
        }
    }

    /// Nodes die with the benchmark that started them.
    func end() {
        for child in children { child.end() }
        try? FileManager.default.removeItem(atPath: root)
    }
}
