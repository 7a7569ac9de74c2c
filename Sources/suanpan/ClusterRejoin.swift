import ArgumentParser
import ClearingModel
import LocalCluster
import Wire
import Workload

struct ClusterRejoin: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rejoin",
        abstract: "Bring a node back whose disk is lost: an empty disk, a new incarnation, new replicas in every shard."
    )
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "The node's number.") var node: UInt32
    @Flag(help: "Remove what is in the node's data directory.") var wipe = false
    @Option(help: "How long the new replicas may take to catch up, in seconds.") var timeout = 120

    func run() throws {
        let directory = location.directory
        let launcher = Launcher.local(directory)
        let topology = try directory.topology()
        let others = try directory.state().running.filter { $0.id != node }
        guard !others.isEmpty else { throw LaunchError.notRunning(directory: directory.root) }
        let replica = try launcher.reformat(NodeID(node), wipe: wipe)
        Console.note("node \(node) has an empty disk, incarnation \(replica.incarnation)")
        try launcher.startOne(replica.node)
        let shards = topology.placements.filter { $0.nodes.contains(replica.node) }.map(\.shard)
        try replace(replica, in: shards, directory)
        try launcher.awaitReplica(replica, in: shards, seconds: timeout)
        Console.out("node \(node) is back as replica \(replica) of \(shards.count) groups")
    }

    /// Orders every group to take the new replica in the place of the old one, again and again until its leader says that it
    /// is a voter: a leader that loses its group in the middle forgets the order, and the next one has to hear it too.
    private func replace(_ replica: ReplicaID, in shards: [ShardID], _ directory: ClusterDirectory) throws {
        let client = try Access.asOperator(directory, timeoutSeconds: 5)
        defer { client.close() }
        let deadline = Deadline(seconds: timeout)
        var left = shards
        var reason = ""
        while !left.isEmpty {
            left.removeAll { shard in
                do {
                    let reply = try client.operate(.replaceReplica(shard: shard, with: replica), at: .leader(shard))
                    reason = "shard \(shard): \(reply.result) \(reply.message)"
                    return reply.result == .done
                } catch {
                    reason = "shard \(shard): \(error)"
                    return false
                }
            }
            guard !deadline.hasPassed else {
                throw LaunchError.timeout(
                    waitingFor: "the replacement of node \(node)'s replicas", seconds: timeout, state: reason)
            }
            if !left.isEmpty { Deadline.pause(milliseconds: 500) }
        }
    }
}
