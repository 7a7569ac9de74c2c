import ArgumentParser
import ClearingModel
import LocalCluster

struct ClusterUp: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Make a cluster where there is none, start its processes, wait until every shard has a leader.",
        discussion: "A cluster that is there already is started as it is; the flags that make one are refused then.")

    @OptionGroup var location: DirectoryOptions
    @Option(help: "Node processes (default 6).") var nodes: Int?
    @Option(help: "Clearing shards (default 12).") var shards: Int?
    @Option(help: "Replicas of each shard, an odd number (default 3).") var replicas: Int?
    @Option(help: "Cities x data centres in each, as in 3x2 (default: by the number of nodes).") var sites: String?
    @Option(help: "Generated participants (default 3000; 0 for an empty directory).") var participants: Int?
    @Option(help: "A topology file instead of these numbers.") var topology: String?
    @Flag(help: "Leave the nodes running and return.") var detach = false
    @Flag(help: "Let operators cut links and shift clocks of these nodes.") var allowFaults = false
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?
    @Flag(help: "Print the status as one line of JSON once the cluster is ready.") var json = false

    private var makesNew: Bool {
        nodes != nil || shards != nil || replicas != nil || sites != nil || participants != nil || topology != nil
            || allowFaults || logLevel != nil
    }

    func run() throws {
        let directory = location.directory
        var launcher = Launcher.local(directory)
        Interrupts.install()
        launcher.shouldStop = { Interrupts.count > 0 }
        if directory.hasCluster {
            let running = try directory.state().running
            guard running.isEmpty else {
                throw LaunchError.failed(
                    "the cluster in \(directory.root) runs already (\(running.count) nodes): "
                        + "'suanpan cluster status' shows it, 'suanpan cluster restart N' starts a node that is down")
            }
            guard !makesNew else {
                throw LaunchError.configuration(
                    "there is a cluster in \(directory.root) already: start it without these flags, "
                        + "or remove it with 'suanpan cluster purge' first")
            }
        }
        let ports: PortLock?
        if directory.hasCluster {
            ports = nil
        } else {
            let request = try request()
            ports = PortLock()
            try launcher.create(request)
        }
        let started = Deadline.now()
        do {
            try bringUp(launcher)
            ports?.release()
        } catch {
            // A cluster that did not come up leaves no process behind.
            _ = try? launcher.drain { true }
            throw error
        }
        if detach { return }
        try supervise(launcher, since: started)
    }

    private func bringUp(_ launcher: Launcher) throws {
        let directory = launcher.directory
        try launcher.start(foreground: !detach)
        var status = try launcher.awaitLeaders()
        try DirectoryImport.generated(in: directory, launcher: launcher)
        status = ClusterStatus.take(state: try directory.state(), topology: try directory.topology())
        if json {
            Console.out(status.json)
        } else {
            Console.out(status.table)
            Console.out(nextCommands)
        }
    }

    private var nextCommands: String {
        let dir = location.dir.map { " --dir \($0)" } ?? ""
        return """
            Next, in another terminal:
              suanpan load\(dir) --rate 20000 --duration 30s
              suanpan cluster kill leader:1\(dir)      then: suanpan cluster status\(dir)
              suanpan cluster restart all\(dir)
              suanpan audit\(dir)
              suanpan cluster down\(dir)
            """
    }

    /// Watches the children until Ctrl-C or until all are gone.
    private func supervise(_ launcher: Launcher, since started: UInt64) throws {
        Console.note("running in the foreground; Ctrl-C stops the cluster")
        var ended: Set<NodeID> = []
        while Interrupts.count == 0 {
            for (node, how) in try launcher.superviseOnce(ended: &ended) { Console.note("node \(node) \(how)") }
            if try launcher.directory.state().running.isEmpty {
                Console.note("no node is left")
                _ = try launcher.drain { true }
                return
            }
            Deadline.pause(milliseconds: 100)
        }
        Console.note("stopping; Ctrl-C again kills")
        let killed = try launcher.drain { Interrupts.count > 1 }
        let seconds = (Deadline.now() - started) / 1_000_000_000
        Console.note(
            "ran \(seconds) s; "
                + (killed.isEmpty
                    ? "every node stopped in order"
                    : "killed: node \(killed.map(\.description).joined(separator: ", "))"))
        throw ExitCode(ExitStatus.interrupted)
    }

    private func request() throws -> Launcher.Request {
        let plan: TopologyPlan
        if let topology {
            guard nodes == nil, shards == nil, replicas == nil, sites == nil else {
                throw FlagError("--topology says nodes, shards, replicas and sites itself: leave those flags out")
            }
            plan = try TopologyFile.plan(path: topology)
        } else {
            let count = nodes ?? 6
            var size = TopologyFlags.defaultSites(nodes: count)
            if let sites {
                guard let parsed = TopologyFlags.parseSites(sites) else {
                    throw FlagError("--sites '\(sites)': give cities x data centres, as in 3x2")
                }
                size = parsed
            }
            plan = try TopologyFlags(
                nodes: count, shards: shards ?? 12, replicas: replicas ?? 3, cities: size.cities,
                dataCentres: size.dataCentres
            ).plan()
        }
        if let logLevel, !NodeFile.logLevels.contains(logLevel) {
            throw FlagError("--log-level '\(logLevel)': choose one of \(NodeFile.logLevels.joined(separator: ", "))")
        }
        return try GeneratedPopulation.request(
            plan: plan, allowFaults: allowFaults, logLevel: logLevel ?? "info", participants: participants ?? 3_000)
    }
}
