import ClearingModel
import Glibc

/// Makes and starts a local cluster of real processes. Call it from the main thread: nodes die with the thread that started them.
public struct Launcher {
    /// What a new cluster is made from.
    public struct Request {
        public var plan: TopologyPlan
        public var allowFaults: Bool
        public var logLevel: String
        /// Participants to pin apart, with their share of all debits, largest first.
        public var largest: [(participant: ParticipantID, share: Double)]
        /// Participants that get a certificate: the instructing ones.
        public var instructing: [ParticipantID]
        /// Participants that will be generated into the directory.
        public var participants: Int

        public init(
            plan: TopologyPlan, allowFaults: Bool, logLevel: String = "info",
            largest: [(participant: ParticipantID, share: Double)], instructing: [ParticipantID], participants: Int
        ) {
            self.plan = plan
            self.allowFaults = allowFaults
            self.logLevel = logLevel
            self.largest = largest
            self.instructing = instructing
            self.participants = participants
        }
    }

    /// Writes the identity of a replica into its empty data directory, so that a node never takes a wiped disk for its own.
    public typealias Format = (_ directory: String, _ cluster: ClusterID, _ replica: ReplicaID) throws -> Void

    public let directory: ClusterDirectory
    public var binary = NodeProcess.ownBinary
    public var startSeconds = 30
    public var stopSeconds = 15
    /// Asked while something is waited for; `true` ends the wait with `LaunchError.interrupted`.
    public var shouldStop: () -> Bool = { false }
    /// Progress for people, a line at a time.
    public var progress: (String) -> Void
    let format: Format

    public init(directory: ClusterDirectory, format: @escaping Format, progress: @escaping (String) -> Void) {
        self.directory = directory
        self.format = format
        self.progress = progress
    }

    // MARK: - Making

    /// Makes a new cluster in the directory: topology, certificates, formatted data directories. Starts nothing.
    public func create(_ request: Request) throws(LaunchError) {
        guard !directory.hasCluster else {
            throw .configuration("there is a cluster in \(directory.root) already: 'suanpan cluster purge' removes it")
        }
        if let names = FileStore.names(directory.root),
            let rest = names.first(where: { $0.hasPrefix("node-") || $0 == "certificates" || $0 == "topology.yaml" })
        {
            throw .configuration(
                "\(directory.root) has '\(rest)' but no cluster.json: an earlier start was cut short. "
                    + "Remove the directory, or name another with --dir")
        }
        do {
            try make(request)
        } catch {
            for name in FileStore.names(directory.root) ?? [] where name.hasPrefix("node-") {
                try? FileStore.removeAll("\(directory.root)/\(name)")
            }
            try? FileStore.removeAll(directory.certificates.directory)
            try? FileStore.removeAll(directory.topologyFile)
            throw error
        }
    }

    private func make(_ request: Request) throws(LaunchError) {
        var random = SystemRandomNumberGenerator()
        let topology: ClusterTopology
        do {
            topology = try request.plan.complete(
                cluster: ClusterID(high: random.next(), low: random.next()),
                base: try PortProbe.freeBase(nodes: request.plan.nodes.count), largest: request.largest)
        } catch let error as PlacementError {
            throw .configuration("\(error)")
        } catch let error as LaunchError {
            throw error
        } catch {
            preconditionFailure("no other error is thrown there")
        }
        try FileStore.makeDirectory(directory.root)
        progress("certificates for \(topology.nodes.count) nodes and \(request.instructing.count) participants")
        try directory.certificates.make(
            cluster: topology.cluster, nodes: topology.nodes.map(\.id), participants: request.instructing)
        try FileStore.replace(directory.topologyFile, with: TopologyFile.text(topology))
        for node in topology.nodes {
            try FileStore.makeDirectory(directory.nodeDirectory(node.id))
            try FileStore.replace(
                directory.nodeFile(node.id),
                with: NodeFile.local(node.id, allowFaults: request.allowFaults, logLevel: request.logLevel))
            try formatData(node.id, cluster: topology.cluster, incarnation: Incarnation(1))
        }
        // Last: a directory with this file is a whole cluster.
        try directory.write(
            ClusterState(
                cluster: topology.cluster.description,
                nodes: topology.nodes.map { node in
                    ClusterState.Node(
                        id: node.id.rawValue, city: node.city, dataCentre: node.dataCentre, address: node.address,
                        port: node.port, admin: node.adminPort, incarnation: 1)
                },
                allowFaults: request.allowFaults, participants: request.participants))
    }

    func formatData(_ node: NodeID, cluster: ClusterID, incarnation: Incarnation) throws(LaunchError) {
        let path = directory.dataDirectory(node)
        try FileStore.makeDirectory(path, mode: 0o700)
        do {
            try format(path, cluster, ReplicaID(node: node, incarnation: incarnation))
        } catch {
            throw .failed("the data directory \(path) cannot be prepared: \(error)")
        }
    }

    // MARK: - Starting

    /// Starts every node that does not run.
    ///
    /// - Parameter foreground: whether nodes are to die with this process.
    public func start(foreground: Bool) throws(LaunchError) {
        let state = try directory.state()
        try checkPorts(of: state.nodes.filter { !($0.process?.isAlive ?? false) })
        try directory.update { state in state.launcher = foreground ? ProcessIdentity.current : nil }
        for node in state.nodes where !(node.process?.isAlive ?? false) {
            try startNode(node.nodeID, foreground: foreground)
        }
    }

    /// Starts one node as a child of this process, without waiting for its first answer. One that cannot be written down, on a
    /// full disk say, is ended again: nobody would find it.
    public func startNode(_ node: NodeID, foreground: Bool) throws(LaunchError) {
        var started: ProcessIdentity?
        do throws(LaunchError) {
            try directory.update { state throws(LaunchError) in
                if let old = state.node(node)?.process {
                    if old.isAlive { return }
                    _ = NodeProcess.reap(old.pid)
                }
                let offset = directory.logSize(node)
                let process = try NodeProcess.spawn(
                    node, in: directory, binary: binary, parent: foreground ? getpid() : nil)
                started = process
                state.update(node) { entry in
                    entry.process = process
                    entry.logOffset = offset
                }
            }
        } catch {
            if let started { NodeProcess.end(started.pid) }
            throw error
        }
    }

    /// A port that somebody else has is found before the first process starts.
    private func checkPorts(of nodes: [ClusterState.Node]) throws(LaunchError) {
        for node in nodes {
            for (address, port) in [(node.address, node.port), ("127.0.0.1", node.admin)] where !address.contains(":") {
                switch PortProbe.hindrance(address, port) {
                case 0: continue
                case EADDRNOTAVAIL:
                    throw .configuration(
                        "\(address) of node \(node.id) is no address of this machine: the cluster's files are in "
                            + "\(directory.root), copy them to its machines (docs/OPERATIONS.md, \"Not on one machine\")"
                    )
                case EADDRINUSE:
                    throw .configuration(
                        "node \(node.id) cannot listen on \(address):\(port), another process does: end it "
                            + "('ss -ltnp sport = :\(port)' shows it), or make a new cluster with --dir")
                case let code:
                    throw .configuration(
                        "node \(node.id) cannot listen on \(address):\(port): \(String(cString: strerror(code)))")
                }
            }
        }
    }

    // MARK: - Waiting

    /// Waits until every group, the directory included, has a leader; a child that ends meanwhile is an error with the end of its log.
    @discardableResult
    public func awaitLeaders() throws(LaunchError) -> ClusterStatus {
        try awaitStatus("a leader for every shard", seconds: startSeconds) {
            $0.leaderless.isEmpty
        } report: { status in
            let waiting = status.leaderless.map { $0.id == 0 ? "the directory" : "shard \($0.id)" }
            let silent = status.nodes.filter { $0.state != .running }.map { "node \($0.id) is \($0.state.rawValue)" }
            return "no leader for \(waiting.joined(separator: ", "))"
                + (silent.isEmpty ? "" : "; " + silent.joined(separator: ", "))
        }
    }

    /// Waits until every shard has applied a version of the directory.
    public func awaitDirectory(_ version: DirectoryVersion) throws(LaunchError) {
        try awaitStatus("directory version \(version) on every shard", seconds: startSeconds) { status in
            status.groups.allSatisfy { $0.leader != nil && $0.directoryVersion >= version.rawValue }
        } report: { status in
            let behind = status.groups.filter { $0.directoryVersion < version.rawValue }
            return behind.map { "shard \($0.id) has version \($0.directoryVersion)" }.joined(separator: ", ")
        }
    }

    @discardableResult
    func awaitStatus(
        _ what: String, seconds: Int, _ condition: (ClusterStatus) -> Bool, report: (ClusterStatus) -> String
    ) throws(LaunchError) -> ClusterStatus {
        let topology = try directory.topology()
        let deadline = Deadline(seconds: seconds)
        while true {
            let state = try directory.state()
            for node in state.nodes { try checkAlive(node) }
            let status = ClusterStatus.take(state: state, topology: topology)
            if condition(status) { return status }
            if shouldStop() { throw .interrupted }
            if deadline.hasPassed { throw .timeout(waitingFor: what, seconds: seconds, state: report(status)) }
            Deadline.pause(milliseconds: 50)
        }
    }

    private func checkAlive(_ node: ClusterState.Node) throws(LaunchError) {
        guard let process = node.process, !process.isAlive else { return }
        let how = NodeProcess.reap(process.pid)?.description ?? "ended"
        throw .nodeDied(
            node.nodeID, how: how, log: directory.logFile(node.nodeID), tail: directory.logTail(node.nodeID))
    }
}
