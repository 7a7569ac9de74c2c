import Foundation
import Testing
import Yams

/// The files under cluster/ say what the program and the documents say.
extension RealProcesses {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    private static func text(_ path: String) throws -> String {
        try String(contentsOfFile: "\(repository)/\(path)", encoding: .utf8)
    }

    /// Settings of a unit file, the last one of each name.
    private static func unit() throws -> [String: String] {
        var settings: [String: String] = [:]
        let lines = try text("cluster/systemd/suanpan-node@.service").split(separator: "\n")
        for line in lines where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { settings[parts[0]] = parts[1] }
        }
        return settings
    }

    private static func documents(_ name: String) throws -> [[String: Any]] {
        try Yams.load_all(yaml: try text("cluster/kubernetes/\(name)")).map { $0 as? [String: Any] ?? [:] }
    }

    /// Every option of a `suanpan node` command line is one of the program's.
    private static func check(_ command: [String], _ help: String) throws {
        #expect(command.prefix(2).map { $0.split(separator: "/").last.map(String.init) } == ["suanpan", "node"])
        for option in command where option.hasPrefix("--") {
            #expect(help.contains("\(option) ") || help.contains("\(option)\n"), "\(option) is none of:\n\(help)")
        }
        #expect(command.contains("--config"))
    }

    @Test func theUnitFileRunsANode() throws {
        let cluster = try LocalCluster.up(nodes: 1, shards: 1, "--replicas", "1")
        defer { cluster.end() }
        let port = try cluster.node(1).adminPort
        try cluster.down()
        let unit = try Self.unit()
        let start = try #require(unit["ExecStart"]).split(separator: " ").map(String.init)
        try Self.check(start, try cluster.launch([LocalCluster.binary(), "help", "node"]).wait().out)
        #expect(start[0].hasPrefix("/"), "systemd wants a whole path")
        // The node file stands where docs/OPERATIONS.md puts it.
        let config = try #require(start.last)
        #expect(try Self.text("docs/OPERATIONS.md").contains(config.replacingOccurrences(of: "%i", with: "3")))
        #expect(unit["ReadWritePaths"] == "/var/lib/suanpan")

        // The very line, with this cluster's files for /etc/suanpan, and as little environment as systemd gives.
        let here = start.dropFirst().map {
            $0.replacingOccurrences(of: "%i", with: "1")
                .replacingOccurrences(of: "/etc/suanpan", with: cluster.directory)
        }
        let node = try cluster.launch(["env", "-i", "PATH=/usr/bin:/bin", LocalCluster.binary()] + here)
        try eventually("the node is healthy") { (try? HTTP.get("/healthz", port: port).status) == 200 }
        #expect(unit["ExecReload"] == "/bin/kill -HUP $MAINPID")
        node.signal(SIGHUP)
        try eventually("certificates reloaded") { node.error.contains("certificates reloaded") }
        #expect(unit["KillSignal"] == "SIGTERM")
        node.signal(SIGTERM)
        let patience = try #require(unit["TimeoutStopSec"].flatMap(Double.init))
        #expect(try node.wait(seconds: patience).code == 0)

        // A disk that was lost ends with a code after which systemd does not start it again and again.
        try FileManager.default.removeItem(atPath: "\(cluster.path)/node-1/data/identity")
        let lost = try cluster.launch([LocalCluster.binary()] + here).wait()
        let final = try #require(unit["RestartPreventExitStatus"]).split(separator: " ").compactMap { Int32($0) }
        #expect(final.contains(lost.code) && lost.code == 78, "\(lost)")
        #expect(final.contains(try cluster.launch([LocalCluster.binary(), "node"]).wait().code), "usage")
    }

    @Test func theKubernetesFilesFitTogether() throws {
        let cluster = try LocalCluster()
        defer { cluster.end() }
        let help = try cluster.launch([LocalCluster.binary(), "help", "node"]).wait().out
        let version = try cluster.launch([LocalCluster.binary(), "--version"]).wait().out
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let all = try Self.documents("format.yaml") + Self.documents("suanpan.yaml")
        #expect(all.allSatisfy { $0["apiVersion"] is String && $0["kind"] is String })
        func name(_ document: [String: Any]) -> String {
            (document["metadata"] as? [String: Any])?["name"] as? String ?? ""
        }
        func named(_ kind: String) -> Set<String> { Set(all.filter { $0["kind"] as? String == kind }.map(name)) }
        #expect(named("PersistentVolumeClaim") == ["suanpan-1", "suanpan-2", "suanpan-3"])
        #expect(named("StatefulSet") == named("PersistentVolumeClaim"))
        #expect(named("Job") == ["suanpan-format-1", "suanpan-format-2", "suanpan-format-3"])

        for document in all where ["StatefulSet", "Job"].contains(document["kind"] as? String) {
            let number = try #require(name(document).last)
            let template = try #require((document["spec"] as? [String: Any])?["template"] as? [String: Any])
            let pod = try #require(template["spec"] as? [String: Any])
            let container = try #require((pod["containers"] as? [[String: Any]])?.first)
            #expect(container["image"] as? String == "suanpan:\(version)")
            let command = try #require(container["command"] as? [String])
            try Self.check(command, help)
            #expect(command.contains("/etc/suanpan/node-\(number).yaml"))
            #expect(command.contains("--format") == (document["kind"] as? String == "Job"))
            let mounts = try #require(container["volumeMounts"] as? [[String: Any]])
            let volumes = try #require(pod["volumes"] as? [[String: Any]])
            #expect(mounts.contains { $0["mountPath"] as? String == "/etc/suanpan" })
            #expect(mounts.contains { $0["mountPath"] as? String == "/var/lib/suanpan" })
            for mount in mounts { #expect(volumes.contains { $0["name"] as? String == mount["name"] as? String }) }
            let claims = volumes.compactMap { ($0["persistentVolumeClaim"] as? [String: Any])?["claimName"] as? String }
            #expect(claims == ["suanpan-\(number)"])
        }
        // The paths that the comment gives for node-N.yaml are where the volumes are.
        let text = try Self.text("cluster/kubernetes/suanpan.yaml")
        for key in ["topology", "data", "certificate", "key", "authority"] {
            #expect(text.contains("#     \(key): "), "\(key)")
        }
        #expect(text.contains("http://127.0.0.1:7411/healthz") && text.contains("adminPort\n#   7411"))
    }
}
