import ArgumentParser
import Audit
import ClearingModel
import LocalCluster

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Replay every shard's log with a decoder and a model of its own, and compare; changes nothing.",
        discussion: "Works on a running or stopped cluster. Exit codes: 0 valid, 1 invalid, 2 unknown.")
    @OptionGroup var location: DirectoryOptions
    @Option(help: "A journal of 'suanpan load': every decision in it must stand in the log.") var journal: String?
    @Option(help: "The result as JSON; - for standard output.") var json: String?

    func run() throws {
        let report = try AuditSetup.run(location.directory, journal: journal) { Console.note($0) }
        if json == "-" {
            Console.out(report.json)
        } else {
            Console.out(report.table)
            if let json { try LoadSetup.write(report.json + "\n", to: json) }
        }
        if report.verdict != .valid { throw ExitCode(report.verdict.exitCode) }
    }
}

enum AuditSetup {
    /// Audits the cluster of a directory with what every node has on disk.
    static func run(
        _ directory: ClusterDirectory, journal: String?, progress: @escaping @Sendable (String) -> Void
    ) throws -> AuditReport {
        let topology = try directory.topology()
        var directories: [NodeID: String] = [:]
        for node in topology.nodes { directories[node.id] = directory.dataDirectory(node.id) }
        return Auditor.run(
            AuditInput(topology: topology, directories: directories, journal: journal, progress: progress))
    }
}
