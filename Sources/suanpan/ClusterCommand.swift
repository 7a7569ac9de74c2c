import ArgumentParser
import ClearingModel
import LocalCluster

/// `suanpan cluster …`: the local cluster's life.
struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Start, watch, break and end a local cluster of real processes.",
        subcommands: [
            ClusterUp.self, ClusterStatusCommand.self, ClusterKill.self, ClusterPause.self, ClusterResume.self,
            ClusterRestart.self, ClusterRejoin.self, ClusterDown.self, ClusterPurge.self,
        ])
}

extension Launcher {
    /// A launcher that tells what it does on standard error.
    static func local(_ directory: ClusterDirectory) -> Launcher {
        Launcher(directory: directory, format: DataFormat.write) { Console.note($0) }
    }
}

struct ClusterStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Nodes by city, shards with their leaders, terms and indexes.")

    @OptionGroup var location: DirectoryOptions
    @Flag(help: "One line of JSON instead of tables.") var json = false
    @Flag(help: "Again every second until Ctrl-C.") var watch = false

    func run() throws {
        let directory = location.directory
        let topology = try directory.topology()
        if watch { Interrupts.install() }
        repeat {
            let status = ClusterStatus.take(state: try directory.state(), topology: topology)
            // Home and clear below, so that a watched table stands still.
            if watch && Console.isTerminal && !json { Console.out("\u{1b}[H\u{1b}[J") }
            Console.out(json ? status.json : status.table)
            for _ in 0..<20 where watch && Interrupts.count == 0 { Deadline.pause(milliseconds: 50) }
        } while watch && Interrupts.count == 0
        if watch { throw ExitCode(ExitStatus.interrupted) }
    }
}

/// What `kill`, `pause`, `resume` and `restart` have in common.
struct TargetOptions: ParsableArguments {
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "A node number, 'all', 'site:NAME' (city, data centre or its number), or 'leader:SHARD'.")
    var target: String

    func nodes() throws -> [NodeID] {
        let directory = location.directory
        let target = try Target(target)
        return try target.nodes(state: try directory.state(), topology: try directory.topology())
    }

    /// Signals the target's nodes; fails where none of them was running.
    func signal(_ verb: String, _ action: (Launcher, [NodeID]) throws -> [NodeID]) throws {
        let hit = try action(.local(location.directory), try nodes())
        guard !hit.isEmpty else {
            throw LaunchError.failed("nothing \(verb): no node of '\(target)' runs (see 'suanpan cluster status')")
        }
        Console.out("\(verb): node \(hit.map(\.description).joined(separator: ", "))")
    }
}

struct ClusterKill: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill", abstract: "Kill nodes at once (SIGKILL); 'restart' brings them back.")
    @OptionGroup var options: TargetOptions

    func run() throws { try options.signal("killed") { try $0.kill($1) } }
}

struct ClusterPause: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Freeze nodes (SIGSTOP): their connections stay open and silent.")
    @OptionGroup var options: TargetOptions

    func run() throws { try options.signal("paused") { try $0.pause($1) } }
}

struct ClusterResume: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Wake paused nodes (SIGCONT).")
    @OptionGroup var options: TargetOptions

    func run() throws { try options.signal("resumed") { try $0.resume($1) } }
}

struct ClusterRestart: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart", abstract: "Stop nodes in order where they run, one after the other, and start them.")
    @OptionGroup var options: TargetOptions

    func run() throws {
        let nodes = try options.nodes()
        try Launcher.local(options.location.directory).restart(nodes)
        Console.out("restarted: node \(nodes.map(\.description).joined(separator: ", "))")
    }
}

struct ClusterDown: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down", abstract: "Stop every node in order: leadership handed over, log synced.")
    @OptionGroup var location: DirectoryOptions

    func run() throws {
        let ran = try Launcher.local(location.directory).down()
        Console.out(ran ? "all nodes stopped; 'suanpan cluster up' starts them again" : "no node was running")
    }
}

struct ClusterPurge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge", abstract: "Remove a stopped cluster with all its data.")
    @OptionGroup var location: DirectoryOptions

    func run() throws {
        let directory = location.directory
        try Launcher.local(directory).purge()
        Console.out("removed the cluster in \(directory.root)")
    }
}
