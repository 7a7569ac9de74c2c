import Foundation
import Testing

extension RealProcesses {
    @Test func bytesThatAreNoTLS() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 2)
        defer { cluster.end() }
        let node = try cluster.node(1)
        let listener = node.listener
        let refusals = { try cluster.metrics(of: 1)["suanpan_connections_refused_total"] ?? 0 }
        let before = try refusals()

        let texts = [
            "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{0}\u{5}hello", String(repeating: "\0", count: 70_000),
        ]
        for text in texts {
            let socket = try RawSocket(connectingTo: listener.address, port: listener.port)
            socket.send(Array(text.utf8))
            _ = socket.receiveAll()
            #expect(socket.hasEnded, "the node did not end the connection after '\(text.prefix(20))'")
        }
        // Half a handshake and then nothing more; and one that says nothing at all for as long as the test runs.
        let half = try RawSocket(connectingTo: listener.address, port: listener.port)
        half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        half.finishSending()
        _ = half.receiveAll()
        #expect(half.hasEnded)
        let silent = try RawSocket(connectingTo: listener.address, port: listener.port)
        try eventually("four refusals in the metrics") { try refusals() >= before + 4 }
        let lines = cluster.log(of: 1).split(separator: "\n").filter { $0.contains("connection refused") }
        #expect(!lines.isEmpty && lines.allSatisfy { $0.contains("from=") }, "\(cluster.log(of: 1))")

        #expect(try cluster.node(1).pid == node.pid)
        #expect(try cluster.submit(Payment(sequence: 1)).code == 0)
        #expect(try cluster.status().nodes.allSatisfy { $0.state == "running" })
        withExtendedLifetime(silent) {}
    }

    @Test func whatMonitoringSees() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 2)
        defer { cluster.end() }
        #expect(Load.ends.contains(try Load(cluster, rate: 200, seconds: 1).finish().code))
        let port = try cluster.node(1).adminPort
        let page = try HTTP.get("/metrics", port: port)
        #expect(page.status == 200 && page.headers.contains("text/plain; version=0.0.4"))
        let labels: Set = ["shard", "outcome", "answer", "reason", "currency", "peer", "direction", "le"]
        var types: [String: String] = [:]
        for line in page.body.split(separator: "\n") {
            if let match = line.wholeMatch(of: /# TYPE ([a-z_]+) (counter|gauge|histogram)/) {
                #expect(types.updateValue(String(match.2), forKey: String(match.1)) == nil, "twice: \(line)")
            } else if !line.hasPrefix("# HELP ") {
                let sample = try #require(
                    line.wholeMatch(of: /(suanpan_[a-z_]+)(\{(.*)\})? [-+0-9.eEInf]+/), "no sample: \(line)")
                for label in (sample.3 ?? "").matches(of: /([a-z]+)="/) {
                    #expect(labels.contains(String(label.1)), "a label per \(label.1): \(line)")
                }
            }
        }
        for (name, type) in types {
            #expect(name.hasPrefix("suanpan_"))
            #expect((type == "counter") == name.hasSuffix("_total"), "\(type) \(name)")
            if type == "histogram" { #expect(name.hasSuffix("_seconds")) }
            #expect(!name.contains("milli") && !name.contains("micro"), "seconds, not \(name)")
        }
        for name in [
            "suanpan_decisions_total", "suanpan_log_sync_seconds", "suanpan_commit_seconds", "suanpan_resident_bytes",
            "suanpan_loop_busy_seconds_total", "suanpan_log_thread_busy_seconds_total", "suanpan_shard_queue_records",
            "suanpan_shard_follower_lag_entries", "suanpan_shard_credits_in_flight", "suanpan_damaged_records_total",
        ] {
            #expect(types[name] != nil, "\(name) is missing")
        }

        #expect(try HTTP.get("/healthz", port: port).status == 200)
        #expect(try HTTP.get("/status", port: port).headers.contains("application/json"))
        #expect(try HTTP.get("/nothing", port: port).status == 404)
        for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
            let refused = try HTTP.get("/metrics", port: port, method: method)
            #expect(refused.status == 405 && refused.headers.lowercased().contains("allow: get"), "\(method)")
        }
    }

    @Test func controlC() throws {
        let cluster = try LocalCluster()
        defer { cluster.end() }
        let up = try cluster.start(
            "cluster", "up", "--nodes", "3", "--shards", "2", "--participants", "30", "--json")
        try eventually("the cluster", seconds: 30) {
            guard up.isRunning else { throw Failure("\(try up.wait())") }
            return up.out.contains("\"shards\"")
        }
        // A node that another terminal restarts belongs to the launcher again.
        try cluster.restart(.node(1))
        let load = try Load(cluster, rate: 500, seconds: 30)
        try load.awaitSecond(1)
        load.interrupt()
        let loaded = try load.finish()
        #expect(loaded.code == 130, "\(loaded)")
        let accepted = try #require(loaded.json["accepted"] as? Int)
        #expect(accepted > 0 && loaded.json["unknown"] as? Int == 0, "\(loaded)")
        #expect(try Journal.read(load.journal).count == accepted)

        up.signal(SIGINT)
        let ended = try up.wait()
        #expect(ended.code == 130 && ended.error.contains("every node stopped in order"), "\(ended)")
        #expect(cluster.processes.isEmpty)
    }

    @Test func aLauncherThatIsKilled() throws {
        let cluster = try LocalCluster()
        defer { cluster.end() }
        let up = try cluster.start("cluster", "up", "--nodes", "3", "--shards", "1", "--participants", "0", "--json")
        try eventually("the cluster", seconds: 30) { up.out.contains("\"shards\"") }
        up.signal(SIGKILL)
        #expect(try up.wait().code == 128 + SIGKILL)
        try eventually("the end of its nodes") { cluster.processes.isEmpty }
    }
}
