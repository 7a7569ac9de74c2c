import ArgumentParser
import LocalCluster

/// The executable: one program for nodes, operators, participants and tests.
struct Suanpan: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "suanpan",
        abstract: "A payment-clearing cluster: launch it, load it, break it on purpose, audit it.",
        discussion: """
            Exit codes: 0 ok or valid, 1 failed or invalid, 2 verdict unknown, 3 void (the generator was the limit), \
            64 usage, 69 no cluster, 78 configuration, 130 interrupted.
            """,
        version: "0.1.0",
        subcommands: [
            ClusterCommand.self, NodeCommand.self, ParticipantsCommand.self, LoadCommand.self, SubmitCommand.self,
            TransactionCommand.self, PositionCommand.self, AuditCommand.self, BenchCommand.self,
            SimCommand.self, DemoCommand.self,
        ])
}

/// Where the cluster is: every command takes it.
struct DirectoryOptions: ParsableArguments {
    @Option(help: "The cluster's directory. Default: $SUANPAN_DIR, then ./.suanpan")
    var dir: String?

    var directory: ClusterDirectory { ClusterDirectory(path: dir) }
}
