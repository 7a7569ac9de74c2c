import ArgumentParser
import CPlatform
import ClearingModel
import Glibc
import LocalCluster
import Logging
import Node

struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Run one node in the foreground, as systemd or Kubernetes would.")

    @Option(help: "The node's file (node.yaml).") var config: String
    @Flag(help: "Give the node's empty data directory its identity, then exit.") var format = false
    @Option(help: "With --format: how often this node has had an empty disk, itself included.")
    var incarnation: UInt32 = 1
    /// Set by a launcher in the foreground.
    @Option(help: .hidden) var parent: Int32?

    func run() throws {
        if let parent, suanpan_die_with_parent(parent) == 0 { throw ExitCode(ExitStatus.failed) }
        let file = try NodeFile(path: config)
        let topology = try TopologyFile.topology(path: file.topology)
        guard topology.node(file.node) != nil else {
            throw ConfigurationError(
                file: config, problem: "node \(file.node) is not in \(file.topology)",
                remedy: "its nodes are \(topology.nodes.map { $0.id.description }.joined(separator: ", "))")
        }
        if format {
            let replica = ReplicaID(node: file.node, incarnation: Incarnation(incarnation))
            try DataFormat.write(file.data, topology.cluster, replica)
            Console.out("\(file.data) now belongs to node \(replica.node), incarnation \(replica.incarnation)")
            return
        }
        let identity = try DataFormat.read(file.data, cluster: topology.cluster, node: file.node)
        try ClearingNode.run(
            NodeConfiguration(
                node: file.node, incarnation: identity.incarnation, topology: topology, dataDirectory: file.data,
                certificates: NodeConfiguration.CertificateFiles(
                    authority: file.authority, certificate: file.certificate, key: file.key),
                allowFaults: file.allowFaults, logLevel: Logger.Level(rawValue: file.logLevel) ?? .info))
    }
}
