import ArgumentParser
import Bench
import CPlatform
import ClearingModel
import Foundation
import LocalCluster
import Workload

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "The standard cases, each on a fresh three-node cluster of real processes.",
        discussion: """
            Every case starts its own cluster in --dir, warms up, measures, stops the cluster, audits its disks against \
            the journal of the load, and removes it. Nodes and load share this machine's cores.

            \(BenchCase.all.map { "\($0.name): \($0.summary)\($0.isStandard ? "" : " (only with --case)")" }
                .joined(separator: "\n"))

            Exit codes: 0 every case is valid, 1 a case failed or its audit is invalid, 2 an audit could not look at \
            everything, 3 a case is void (the generator was the limit), 130 interrupted.
            """)
    @Option(help: "Where the clusters are made; on a disk. Default: .build/bench") var dir = ".build/bench"
    @Option(name: .customLong("case"), help: "A case to run; again for more (default: all but long).")
    var cases: [String] = []
    @Option(help: "Seconds of measurement of each case; under 20 the report says so.") var seconds = "20"
    @Option(help: "Leader kills of the case failover.") var kills = BenchPlan.fullKills
    @Option(help: "Clearing shards.") var shards = 6
    @Option(help: "The same seed gives the same payments.") var seed: UInt64 = 1
    @Option(help: "The result as JSON; - for standard output.") var json: String?
    @Option(help: "An earlier result: prints the ratio of every figure to it.") var compare: String?
    @Option(help: "What is measured, for the manifest (default: what git says where the program is).")
    var commit: String?
    @Flag(help: "A line a second while a load runs.") var verbose = false

    func run() throws {
        let plan = try BenchPlan(cases: cases, seconds: seconds, kills: kills, shards: shards)
        let old = try compare.map { try Self.earlier($0) }
        let suite = try BenchSuite(dir, plan: plan, seed: seed, verbose: verbose)
        Interrupts.install()
        var report = BenchReport(manifest: try suite.manifest(commit: commit ?? Self.commit))
        Console.note(report.manifest.text)
        var (interrupted, failed) = (false, false)
        for one in plan.cases where !interrupted {
            do {
                let result = try suite.run(one)
                Console.note("  \(result.line)")
                report.cases.append(result)
            } catch LaunchError.interrupted {
                interrupted = true
                Console.note("interrupted in \(one.name), which does not count; its cluster is gone")
            } catch {
                // The other cases still say something.
                failed = true
                Console.note("  \(one.name) failed: \(error)")
            }
        }
        if json == "-" { Console.out(report.json) } else { Console.out(report.text) }
        if let json, json != "-" { try LoadSetup.write(report.json, to: json) }
        if let old, let compare {
            let text = try Comparison(old: old, file: compare, new: report.json).text
            if json == "-" { Console.note(text) } else { Console.out(text) }
        }
        if interrupted { throw ExitCode(ExitStatus.interrupted) }
        let code = failed ? ExitStatus.failed : CaseResult.exitCode(report.cases)
        if code != ExitStatus.ok { throw ExitCode(code) }
    }

    /// Read before anything runs: a wrong name is not found out after ten minutes.
    private static func earlier(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw FlagError("--compare \(path): cannot be read")
        }
        let text = String(decoding: data, as: UTF8.self)
        _ = try Comparison(old: text, file: path, new: text)
        return text
    }

    /// The commit of the tree that the program stands in, with `-dirty` where that has changes.
    private static var commit: String {
        let git = Process()
        git.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let place = Bundle.main.executableURL?.deletingLastPathComponent().path ?? "."
        git.arguments = ["git", "-C", place, "describe", "--always", "--dirty", "--abbrev=12"]
        let output = Pipe()
        git.standardOutput = output
        git.standardError = FileHandle.nullDevice
        guard (try? git.run()) != nil else { return "unknown" }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        git.waitUntilExit()
        let name = text.filter { !$0.isWhitespace }
        return git.terminationStatus == 0 && !name.isEmpty ? name : "unknown"
    }
}

/// Runs cases, one after the other.
struct BenchSuite {
    static let nodes = 3
    static let participants = 3_000

    let root: String
    let plan: BenchPlan
    let seed: UInt64
    let verbose: Bool

    init(_ root: String, plan: BenchPlan, seed: UInt64, verbose: Bool) throws {
        self.root = root
        self.plan = plan
        self.seed = seed
        self.verbose = verbose
        do {
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        } catch {
            throw LaunchError.configuration("\(root) cannot be made: \(error.localizedDescription)")
        }
        try fileSystem().check(root)
        for one in BenchCase.all { try ScratchCluster.removeEarlier(directory(one), maker: .bench) }
    }

    private func fileSystem() throws -> FileSystem {
        guard let found = FileSystem.of(root) else {
            throw LaunchError.failed("the file system of \(root) is not in /proc/self/mounts")
        }
        return found
    }

    private func directory(_ one: BenchCase) -> ClusterDirectory { ClusterDirectory(path: "\(root)/\(one.name)") }

    func manifest(commit: String) throws -> Manifest {
        Manifest(
            commit: commit, fileSystem: try fileSystem(), directory: root, seconds: plan.seconds, seed: seed,
            mix: .transfers, nodes: Self.nodes, shards: plan.shards, participants: Self.participants,
            time: suanpan_wall_microseconds() / 1_000_000)
    }

    /// Runs one case from the making of its cluster to the audit. Leaves no process behind, whatever happens, and its
    /// files only where something was found wrong with them.
    func run(_ one: BenchCase) throws -> CaseResult {
        if case .payments = one.offer { try checkSpace() }
        Console.note("\(one.name): \(one.summary)")
        let flags = TopologyFlags(
            nodes: Self.nodes, shards: plan.shards, replicas: 3, cities: 3, dataCentres: 1)
        let cluster = try ScratchCluster(
            directory(one), maker: .bench, flags, participants: Self.participants)
        let run = BenchRun(case: one, cluster: cluster, plan: plan, seed: seed, verbose: verbose)
        do {
            let result = try run.run()
            if result.verdict == .failed || result.verdict == .unknown {
                Console.note("  its files are kept in \(cluster.directory.root) until the next run")
            } else {
                try cluster.remove([run.journal])
            }
            return result
        } catch {
            _ = try? cluster.launcher.drain { true }
            if case LaunchError.interrupted = error { try? cluster.remove([run.journal]) }
            throw error
        }
    }

    private func checkSpace() throws {
        let values = try? URL(fileURLWithPath: root).resourceValues(forKeys: [.volumeAvailableCapacityKey])
        let free = values?.volumeAvailableCapacity ?? 0
        guard free >> 30 >= LongRun.diskGigabytes else {
            throw LaunchError.configuration(
                "the case long needs \(LongRun.diskGigabytes) GB of disk, \(root) has \(free >> 30) GB free")
        }
    }
}
