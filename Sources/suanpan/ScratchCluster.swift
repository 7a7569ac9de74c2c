import ClearingModel
import Glibc
import LocalCluster

/// A cluster that a command makes for itself, with generated participants, and may remove again.
struct ScratchCluster {
    let directory: ClusterDirectory
    let launcher: Launcher
    let population: Population
    let topology: ClusterTopology

    private let maker: Maker

    /// The commands that do so.
    enum Maker: String {
        case demo = "make demo"
        case bench = "suanpan bench"

        /// A directory with this file was made by the command and may be removed by it; nothing else may.
        func mark(_ directory: ClusterDirectory) -> String { "\(directory.root)/\(self)" }
    }

    /// Ends and removes what an earlier run left.
    static func removeEarlier(_ directory: ClusterDirectory, maker: Maker) throws {
        guard directory.hasCluster else { return }
        guard access(maker.mark(directory), F_OK) == 0 else {
            throw LaunchError.configuration(
                "the cluster in \(directory.root) was not made by '\(maker.rawValue)': give it another --dir")
        }
        let launcher = Launcher.local(directory)
        _ = try launcher.drain { true }
        try launcher.purge()
    }

    /// Makes the cluster; starts nothing.
    init(_ directory: ClusterDirectory, maker: Maker, _ flags: TopologyFlags, participants: Int) throws {
        self.directory = directory
        self.maker = maker
        var launcher = Launcher(directory: directory, format: DataFormat.write) { _ in }
        launcher.shouldStop = { Interrupts.count > 0 }
        self.launcher = launcher
        population = Population.generate(count: participants)
        try launcher.create(
            GeneratedPopulation.request(
                plan: try flags.plan(), allowFaults: false, logLevel: "info", participants: participants))
        try LoadSetup.write(
            "This cluster was made by '\(maker.rawValue)', which removes it when it runs again.\n",
            to: maker.mark(directory))
        topology = try directory.topology()
    }

    /// Starts the processes and brings the participants in force; how long leaders and participants took, in
    /// milliseconds.
    @discardableResult
    func start() throws -> (leaders: UInt64, directory: UInt64) {
        let began = Deadline.now()
        try launcher.start(foreground: true)
        try launcher.awaitLeaders()
        let leaders = Deadline.now()
        try DirectoryImport.generated(in: directory, launcher: launcher)
        return ((leaders - began) / 1_000_000, (Deadline.now() - leaders) / 1_000_000)
    }

    func status() throws -> ClusterStatus {
        ClusterStatus.take(state: try directory.state(), topology: topology)
    }

    /// Removes a stopped cluster with everything that its commands wrote beside it.
    func remove(_ files: [String]) throws {
        for file in files + [maker.mark(directory)] { unlink(file) }
        try launcher.purge()
    }
}

extension ClusterStatus {
    /// The node that leads most shards, the first of several.
    var busiest: Node {
        let count = { (id: UInt32) in shards.filter { $0.leader == id }.count }
        return nodes.max { a, b in (count(a.id), b.id) < (count(b.id), a.id) }!
    }
}

/// Whether a node that was started again has applied what its shards had committed when it first answered.
struct CatchUp {
    let node: NodeID
    private var goal: [UInt16: UInt64] = [:]

    init(node: NodeID) { self.node = node }

    /// One look; how many shards it has caught up with, once that is all of them.
    mutating func look(_ cluster: ScratchCluster) throws -> Int? {
        guard let entry = try cluster.directory.state().node(node), let report = NodeStatus.ask(entry) else {
            return nil
        }
        if goal.isEmpty {
            for group in try cluster.status().groups where group.replicas.contains(node.rawValue) {
                goal[group.id] = group.commit
            }
            return nil
        }
        let isBehind = report.shards.contains { $0.applied < goal[$0.id] ?? 0 }
        return isBehind || report.shards.count < goal.count ? nil : goal.count
    }
}
