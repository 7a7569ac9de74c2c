import ClearingModel
import Glibc

/// What happens to nodes after the start: signals, restarts, a new disk, the end.
extension Launcher {
    /// Signals nodes; returns those that were alive to get it.
    private func signal(_ nodes: [NodeID], _ number: Int32) throws(LaunchError) -> [NodeID] {
        let state = try directory.state()
        return nodes.filter { state.node($0)?.process?.signal(number) ?? false }
    }

    /// SIGKILL: the processes end at once, as in a power cut of theirs. Waits until they are gone.
    public func kill(_ nodes: [NodeID]) throws(LaunchError) -> [NodeID] {
        let hit = try signal(nodes, SIGKILL)
        try awaitEnd(of: hit, seconds: 5)
        return hit
    }

    /// SIGSTOP: the processes freeze, their connections stay.
    public func pause(_ nodes: [NodeID]) throws(LaunchError) -> [NodeID] { try signal(nodes, SIGSTOP) }

    /// SIGCONT.
    public func resume(_ nodes: [NodeID]) throws(LaunchError) -> [NodeID] { try signal(nodes, SIGCONT) }

    /// Stops the nodes in order where they run, one after the other, and starts them again. Each answers before the next one stops.
    public func restart(_ nodes: [NodeID]) throws(LaunchError) {
        for node in nodes {
            if let process = try directory.state().node(node)?.process, process.isAlive {
                progress("node \(node): stopping")
                try stop([node])
            }
            try startOne(node)
            progress("node \(node): started")
        }
    }

    /// Starts one node, through the launcher in the foreground where there is one, and waits until it answers.
    public func startOne(_ node: NodeID) throws(LaunchError) {
        let launcher = try directory.state().launcher
        let before = try directory.state().node(node)?.process
        if let launcher, launcher.isAlive, launcher != ProcessIdentity.current {
            // The launcher must be the parent, so that the node dies with it.
            try FileStore.makeDirectory(directory.requestDirectory)
            try FileStore.replace("\(directory.requestDirectory)/start-\(node)", with: "")
        } else {
            try startNode(node, foreground: launcher != nil && launcher == ProcessIdentity.current)
        }
        let deadline = Deadline(seconds: startSeconds)
        while true {
            if let entry = try directory.state().node(node), let process = entry.process, process != before {
                guard process.isAlive else {
                    let how = NodeProcess.reap(process.pid)?.description ?? "ended"
                    throw .nodeDied(node, how: how, log: directory.logFile(node), tail: directory.logTail(node))
                }
                if NodeStatus.ask(entry) != nil { return }
            }
            if shouldStop() { throw .interrupted }
            if deadline.hasPassed {
                throw .timeout(
                    waitingFor: "an answer of node \(node)", seconds: startSeconds,
                    state: "see \(directory.logFile(node))")
            }
            Deadline.pause(milliseconds: 50)
        }
    }

    /// SIGTERM: the nodes hand over, sync and end. Those that are still there in the end are named in the error.
    public func stop(_ nodes: [NodeID]) throws(LaunchError) {
        // A frozen process would get the signal only when it is woken.
        _ = try signal(nodes, SIGCONT)
        let hit = try signal(nodes, SIGTERM)
        try awaitEnd(of: hit, seconds: stopSeconds)
    }

    private func awaitEnd(of nodes: [NodeID], seconds: Int) throws(LaunchError) {
        let state = try directory.state()
        let processes = nodes.compactMap { id in state.node(id)?.process.map { (id, $0) } }
        var left = processes
        let deadline = Deadline(seconds: seconds)
        while true {
            left.removeAll { !$0.1.isAlive }
            if left.isEmpty { break }
            if deadline.hasPassed {
                let names = left.map { "node \($0.0) (pid \($0.1.pid))" }.joined(separator: ", ")
                throw .failed("still there after \(seconds) s: \(names); 'suanpan cluster kill \(left[0].0)' ends it")
            }
            Deadline.pause(milliseconds: 20)
        }
        for (_, process) in processes { _ = NodeProcess.reap(process.pid) }
    }

    /// Ends every node in order; tells whether any ran.
    public func down() throws(LaunchError) -> Bool {
        let state = try directory.state()
        let running = state.running.map(\.nodeID)
        try stop(running)
        try directory.update { state in
            for index in state.nodes.indices { state.nodes[index].process = nil }
        }
        return !running.isEmpty
    }

    /// Ends every node for a launcher that goes away itself: in order, and by force where that takes too long or `hurry` says so.
    ///
    /// Returns the nodes that had to be killed.
    public func drain(hurry: () -> Bool) throws(LaunchError) -> [NodeID] {
        let running = try directory.state().running
        _ = try signal(running.map(\.nodeID), SIGCONT)
        _ = try signal(running.map(\.nodeID), SIGTERM)
        let deadline = Deadline(seconds: stopSeconds)
        var left = running
        while true {
            left.removeAll { !($0.process?.isAlive ?? false) }
            if left.isEmpty || deadline.hasPassed || hurry() { break }
            Deadline.pause(milliseconds: 20)
        }
        _ = try kill(left.map(\.nodeID))
        for node in running { if let process = node.process { _ = NodeProcess.reap(process.pid) } }
        try directory.update { state in
            for index in state.nodes.indices { state.nodes[index].process = nil }
            state.launcher = nil
        }
        return left.map(\.nodeID)
    }

    /// Removes the cluster and everything in it. Refused while a node or the launcher runs.
    public func purge() throws(LaunchError) {
        let state = try directory.state()
        let running = state.running
        guard running.isEmpty else {
            throw .failed(
                "node \(running.map { String($0.id) }.joined(separator: ", ")) still runs: 'suanpan cluster down' first"
            )
        }
        for node in state.nodes { try FileStore.removeAll(directory.nodeDirectory(node.nodeID)) }
        for path in [directory.certificates.directory, directory.topologyFile, directory.requestDirectory] {
            try FileStore.removeAll(path)
        }
        // Last: until then a purge that was cut short can be repeated.
        try FileStore.removeAll(directory.stateFile)
        try FileStore.removeAll(directory.lockFile)
        // Journals and other files of the user's stay, and then so does the directory.
        rmdir(directory.root)
    }

    // MARK: - A new disk

    /// Gives a stopped node an empty disk under a new incarnation and returns it; the caller starts the node and has it replaced in every group.
    ///
    /// - Parameter wipe: removes what is in the data directory. Without it, data that is there is an error.
    public func reformat(_ node: NodeID, wipe: Bool) throws(LaunchError) -> ReplicaID {
        let state = try directory.state()
        guard let entry = state.node(node) else {
            throw .usage("there is no node \(node): nodes are 1 to \(state.nodes.count)")
        }
        guard !(entry.process?.isAlive ?? false) else {
            throw .failed(
                "node \(node) runs: it needs a new identity only when its disk is lost; 'suanpan cluster kill \(node)' first"
            )
        }
        let data = directory.dataDirectory(node)
        if let names = FileStore.names(data), !names.isEmpty {
            guard wipe else {
                throw .configuration(
                    "\(data) holds data: 'suanpan cluster restart \(node)' starts the node with it. To give it up for "
                        + "good, move it away or add --wipe")
            }
            try FileStore.removeAll(data)
        }
        guard let cluster = ClusterID(state.cluster) else {
            throw .configuration("\(directory.stateFile) has no cluster id: restore it")
        }
        let incarnation = Incarnation(entry.incarnation + 1)
        // First the number, then the disk: an incarnation is never used twice.
        try directory.update { $0.update(node) { $0.incarnation = incarnation.rawValue } }
        try formatData(node, cluster: cluster, incarnation: incarnation)
        return ReplicaID(node: node, incarnation: incarnation)
    }

    /// Waits until a new replica votes in every group and no older one of its node is left.
    public func awaitReplica(_ replica: ReplicaID, in shards: [ShardID], seconds: Int) throws(LaunchError) {
        let deadline = Deadline(seconds: seconds)
        while true {
            var waiting = shards
            for report in try directory.state().running.compactMap({ NodeStatus.ask($0) }) {
                for shard in report.shards where shard.isLeader && shard.holds(replica) {
                    waiting.removeAll { $0.rawValue == shard.id }
                }
            }
            if waiting.isEmpty { return }
            if shouldStop() { throw .interrupted }
            if deadline.hasPassed {
                let names = waiting.map(\.description).joined(separator: ", ")
                throw .timeout(
                    waitingFor: "node \(replica.node) as a voter of every group", seconds: seconds,
                    state: "not yet in shard \(names); it goes on by itself, 'suanpan cluster status' shows it")
            }
            Deadline.pause(milliseconds: 200)
        }
    }

    // MARK: - In the foreground

    /// One look at the children and at requests of other commands; call it a few times a second.
    ///
    /// Returns nodes that ended since the last look, with how.
    public func superviseOnce(ended: inout Set<NodeID>) throws(LaunchError) -> [(node: NodeID, how: String)] {
        for name in FileStore.names(directory.requestDirectory) ?? [] where name.hasPrefix("start-") {
            unlink("\(directory.requestDirectory)/\(name)")
            if let number = UInt32(name.dropFirst(6)) { try startNode(NodeID(number), foreground: true) }
        }
        var news: [(node: NodeID, how: String)] = []
        for node in try directory.state().nodes {
            guard let process = node.process, !process.isAlive else {
                if node.process != nil { ended.remove(node.nodeID) }
                continue
            }
            let how = NodeProcess.reap(process.pid)
            if ended.insert(node.nodeID).inserted { news.append((node.nodeID, how?.description ?? "ended")) }
        }
        return news
    }
}
