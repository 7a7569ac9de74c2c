import ClearingModel
import Foundation
import LocalCluster
import Testing

/// The launcher around a stand-in for the node: a shell script in place of the binary. Real nodes are in ClusterTests.
@Suite(.serialized) struct LauncherTests {
    private let temporary: TemporaryDirectory
    private let directory: ClusterDirectory

    init() throws {
        temporary = try TemporaryDirectory()
        directory = ClusterDirectory(path: temporary.path + "/cluster")
    }

    private func launcher(script: String = "exec sleep 60") -> Launcher {
        var launcher = Launcher(directory: directory) { path, cluster, replica in
            try Data("\(cluster) \(replica)".utf8).write(to: URL(fileURLWithPath: path + "/identity"))
        } progress: { _ in
        }
        launcher.binary = temporary.write("node.sh", "#!/bin/sh\n\(script)\n", mode: 0o755)
        launcher.startSeconds = 1
        launcher.stopSeconds = 2
        return launcher
    }

    private func request() throws -> Launcher.Request {
        Launcher.Request(
            plan: try TopologyFlags(nodes: 3, shards: 2, replicas: 3, cities: 3, dataCentres: 1).plan(),
            allowFaults: true, largest: [(ParticipantID(1_001), 0.3)], instructing: [ParticipantID(7)],
            participants: 30)
    }

    private func mode(_ path: String) -> Int? {
        (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int
    }

    @Test func aNewClusterIsWhole() throws {
        let launcher = launcher()
        try launcher.create(try request())
        let state = try directory.state()
        let topology = try directory.topology()
        #expect(state.cluster == topology.cluster.description)
        #expect(state.nodes.map(\.admin) == topology.nodes.map(\.adminPort))
        #expect(mode(directory.stateFile) == 0o600)
        #expect(mode(directory.certificates.key("ca")) == 0o600)
        #expect(directory.certificates.participants == [ParticipantID(7)])
        let file = try NodeFile(path: directory.nodeFile(NodeID(2)))
        #expect(file.topology == directory.topologyFile)
        #expect(file.data == directory.dataDirectory(NodeID(2)))
        #expect(file.certificate == directory.certificates.certificate("node-2"))
        #expect(file.allowFaults)
        #expect(temporary.read("cluster/node-2/data/identity") == "\(topology.cluster) 2.1")
        // A second one in the same place is refused.
        #expect(throws: LaunchError.self) { try launcher.create(try request()) }
        try launcher.purge()
        #expect(!FileManager.default.fileExists(atPath: directory.root))
    }

    @Test func aNodeThatCannotBeWrittenDownDoesNotGoOn() throws {
        let pids = temporary.path + "/pids"
        let launcher = launcher(script: "echo $$ >> \(pids); exec sleep 60")
        try launcher.create(try request())
        // Where the new state would be written first there is something else: it cannot be, as on a full disk.
        let obstacle = "\(directory.stateFile).\(getpid()).tmp"
        try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: false)
        #expect(throws: LaunchError.self) { try launcher.startNode(NodeID(1), foreground: false) }
        func running() -> Bool? {
            let text = (try? String(contentsOfFile: pids, encoding: .utf8)) ?? ""
            return text.split(separator: "\n").contains { kill(Int32($0) ?? 0, 0) == 0 } ? true : nil
        }
        #expect(Deadline(seconds: 1).await(running) == nil)
        try FileManager.default.removeItem(atPath: obstacle)
        try launcher.startNode(NodeID(1), foreground: false)
        #expect(try directory.state().running.count == 1)
        #expect(try launcher.down())
    }

    @Test func nodesAreStartedSignalledAndStopped() throws {
        let launcher = launcher()
        try launcher.create(try request())
        try launcher.start(foreground: false)
        var state = try directory.state()
        #expect(state.running.count == 3)
        #expect(throws: LaunchError.self) { try launcher.purge() }
        let two = NodeID(2)
        #expect(try launcher.pause([two]) == [two])
        let process = try #require(state.node(two)?.process)
        #expect(Deadline(seconds: 2).await { process.isPaused ? true : nil } == true)
        #expect(try launcher.resume([two]) == [two])
        #expect(try launcher.kill([two]) == [two])
        #expect(!process.isAlive)
        #expect(try launcher.kill([two]) == [])
        #expect(try Target("all").nodes(state: state, topology: try directory.topology()).count == 3)
        #expect(try launcher.down())
        state = try directory.state()
        #expect(state.running.isEmpty && state.nodes.allSatisfy { $0.process == nil })
        #expect(try !launcher.down())
    }

    @Test func aStrangerWithAnOldNumberIsNeverSignalled() throws {
        let launcher = launcher()
        try launcher.create(try request())
        let own = try #require(ProcessIdentity.current)
        // This very process, but with another start time: as if the number had been used again.
        try directory.update { state in
            state.update(NodeID(1)) { $0.process = ProcessIdentity(pid: own.pid, startTime: own.startTime + 1) }
        }
        #expect(try launcher.kill([NodeID(1)]) == [])
        #expect(try directory.state().running.isEmpty)
    }

    @Test func aNodeThatEndsIsReportedWithItsLog() throws {
        let launcher = launcher(script: "echo 'data directory is empty: use cluster rejoin'; exit 78")
        try launcher.create(try request())
        do {
            try launcher.start(foreground: false)
            try launcher.awaitLeaders()
            Issue.record("a dead node was not noticed")
        } catch {
            #expect(error.description.contains("exited with code 78"))
            #expect(error.description.contains("use cluster rejoin"))
            #expect(error.exitCode == 78)
        }
        _ = try launcher.down()
    }

    @Test func waitingEndsWithWhatIsMissing() throws {
        let launcher = launcher()
        try launcher.create(try request())
        try launcher.start(foreground: false)
        do {
            try launcher.awaitLeaders()
            Issue.record("nobody leads, but the wait ended well")
        } catch {
            #expect(error.description.contains("no leader for the directory, shard 1, shard 2"))
            #expect(error.description.contains("node 1 is silent"))
        }
        _ = try launcher.down()
    }

    @Test func aNewDiskIsANewIncarnation() throws {
        let launcher = launcher()
        try launcher.create(try request())
        #expect(throws: LaunchError.self) { try launcher.reformat(NodeID(3), wipe: false) }
        #expect(try launcher.reformat(NodeID(3), wipe: true).incarnation == Incarnation(2))
        #expect(temporary.read("cluster/node-3/data/identity")?.hasSuffix(" 3.2") == true)
        try FileManager.default.removeItem(atPath: directory.dataDirectory(NodeID(3)))
        #expect(try launcher.reformat(NodeID(3), wipe: false).incarnation == Incarnation(3))
        #expect(throws: LaunchError.self) { try launcher.reformat(NodeID(9), wipe: true) }
    }

    @Test func theLauncherInTheForegroundSeesItsChildren() throws {
        let launcher = launcher()
        try launcher.create(try request())
        try launcher.start(foreground: true)
        var ended: Set<NodeID> = []
        #expect(try launcher.superviseOnce(ended: &ended).isEmpty)
        _ = try launcher.kill([NodeID(1)])
        let news = try launcher.superviseOnce(ended: &ended)
        #expect(news.map(\.node) == [NodeID(1)])
        #expect(try launcher.superviseOnce(ended: &ended).isEmpty)
        _ = try launcher.down()
    }

    @Test func noCluster() {
        #expect(throws: LaunchError.self) { try directory.state() }
        do {
            _ = try directory.state()
        } catch {
            #expect(error.exitCode == 69)
        }
    }
}
