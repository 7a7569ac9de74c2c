import Foundation
import Testing

extension RealProcesses {
    @Test func aLostDiskComesBackAsANewReplica() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let payment = Payment(sequence: 1)
        #expect(try cluster.submit(payment).code == 0)
        try cluster.kill(.node(2))
        let kept = try cluster.run("cluster", "rejoin", "2")
        #expect(
            kept.code == 78 && kept.error.contains("--wipe"), "data that is there is not given up silently: \(kept)")

        try FileManager.default.removeItem(atPath: "\(cluster.path)/node-2/data")
        try FileManager.default.createDirectory(
            atPath: "\(cluster.path)/node-2/data", withIntermediateDirectories: false)
        let refused = try cluster.run("cluster", "restart", "2")
        #expect(refused.code == 78 && refused.error.contains("cluster rejoin 2"), "\(refused)")
        let alone = try cluster.launch([
            LocalCluster.binary(), "node", "--config", "\(cluster.directory)/node-2/node.yaml",
        ])
        .wait()
        #expect(alone.code == 78 && alone.error.contains("cluster rejoin 2"), "\(alone)")
        #expect(try cluster.status().shards.allSatisfy { $0.leader != nil }, "the others go on")

        // Leaders change in the middle of it: the order is given again until every group has the new replica.
        let rejoin = try cluster.start("cluster", "rejoin", "2")
        try eventually("the order was given") {
            [1, 3].contains { cluster.log(of: $0).contains("replaceReplica") } || !rejoin.isRunning
        }
        try cluster.restart(.node(1))
        let back = try rejoin.wait(seconds: 120)
        #expect(back.code == 0, "\(back)")
        let report = try #require(try cluster.report(of: cluster.node(2)))
        #expect(report.incarnation == 2)
        let reports = try cluster.status().nodes.compactMap { try cluster.report(of: $0) }
        let led = reports.flatMap(\.shards).filter { $0.role == "leader" }
        #expect(Set(led.map(\.id)) == [0, 1, 2, 3, 4])
        for shard in led {
            let own = shard.replicas.filter { $0.node == 2 }
            #expect(own == [NodeReport.Replica(node: 2, incarnation: 2, part: "voter")], "shard \(shard.id)")
        }
        // With the new replica and one old one there is a majority that knows the payment.
        try cluster.kill(.node(3))
        let again = try cluster.submit(payment)
        #expect(again.json["answer"] as? String == "duplicate", "\(again)")
    }

    @Test func aFlippedBitInTheLog() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let payment = Payment(sequence: 0x5a5a_5a5a_5a5a)
        let first = try cluster.submit(payment)
        let shard = try #require(first.json["shard"] as? Int)
        // Hundreds of groups follow it in the log.
        let load = try Load(cluster, rate: 500, seconds: 2)
        let before = try load.finish()
        #expect(Load.ends.contains(before.code), "\(before)")
        try cluster.awaitCaughtUp()
        let leader = try #require(try cluster.leader(of: shard))
        let victim = leader % 3 + 1
        try cluster.kill(.node(victim))
        try flipABit(of: payment, in: "\(cluster.path)/node-\(victim)/data/segment-0000000001.log")

        try cluster.restart(.node(victim))
        try eventually("the damage in the metrics") {
            try cluster.metrics(of: victim)["suanpan_damaged_records_total"] ?? 0 > 0
        }
        let log = cluster.log(of: victim)
        #expect(
            log.contains("event=\"damaged records\" file=segment-0000000001.log") && log.contains("fenced"), "\(log)")
        try awaitRepair(of: victim, in: cluster)
        #expect(try cluster.metrics(of: victim)["suanpan_repaired_entries_total"] ?? 0 > 0)
        #expect(cluster.log(of: victim).contains("damage repaired"))
        // What a peer gave stands in its own log: another start finds nothing that is missing, and no fence.
        let fences = cluster.log(of: victim).components(separatedBy: "replica fenced").count
        try cluster.restart(.node(victim))
        try cluster.awaitCaughtUp()
        #expect(cluster.log(of: victim).components(separatedBy: "replica fenced").count == fences)
        #expect(try cluster.metrics(of: victim)["suanpan_shard_damaged_entries{shard=\"\(shard)\"}"] == 0)
        // The cluster goes on and answers as before, also when the leader is gone.
        #expect(try cluster.submit(Payment(sequence: 2)).code == 0)
        for other in [leader, 6 - leader - victim] {
            let again = try cluster.submit(payment)
            #expect(again.json["answer"] as? String == "duplicate", "\(again)")
            #expect(again.json["index"] as? Int == first.json["index"] as? Int, "\(again)")
            let altered = try cluster.submit(payment.altered(amount: 1))
            #expect(altered.json["answer"] as? String == "idConflict", "\(altered)")
            if other == leader {
                try cluster.restart(.node(leader))
                try eventually("a leader of shard \(shard)") { try cluster.leader(of: shard) != nil }
            }
        }
        #expect(try cluster.node(victim).state == "running")
        // The audit names the place, and finds every payment in the other replicas' logs.
        let audit = try cluster.run("audit", "--journal", load.journal, "--json", "-")
        #expect(audit.code == 0 && audit.json["missing"] as? Int == 0, "\(audit)")
        #expect("\(audit.json["notes"] ?? "")".contains("node-\(victim)/data/segment-0000000001.log"), "\(audit)")
        // It would tell if one were missing: here one that nobody submitted.
        let never = #"{"id":"\#(Payment(sequence: 9).id)","outcome":"accepted","shard":\#(shard),"index":5,"slot":0"#
        let forged = try cluster.file("forged.jsonl", never + #","window":1,"ledgerTime":1}"# + "\n")
        let invalid = try cluster.run("audit", "--journal", forged, "--json", "-")
        #expect(invalid.code == 1 && invalid.json["missing"] as? Int == 1, "\(invalid)")
    }

    /// Waits until neither the node nor `cluster status` tells of damage any more.
    private func awaitRepair(of node: Int, in cluster: LocalCluster) throws {
        try eventually("node \(node) to be repaired") {
            try cluster.report(of: cluster.node(node))?.repairs == [] && cluster.node(node).repairing == []
        }
    }

    @Test func aDamagedCheckpoint() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 1)
        defer { cluster.end() }
        // A checkpoint is due after 128 MiB of entries, a million payments.
        let load = try cluster.start(
            "load", "--rate", "200000", "--batch", "2000", "--duration", "7s", "--json", "-"
        ).wait(seconds: 60)
        #expect(Load.ends.contains(load.code), "\(load)")
        let victim = try #require(try cluster.leader(of: 1)) % 3 + 1
        let data = "\(cluster.path)/node-\(victim)/data"
        func checkpoints() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: data)
                .filter { $0.hasPrefix("checkpoint-00001") && $0.hasSuffix(".state") }
        }
        try eventually("a checkpoint of shard 1", seconds: 60) { try !checkpoints().isEmpty }
        try cluster.awaitCaughtUp()
        let payment = Payment(sequence: 1)
        let first = try cluster.submit(payment)
        #expect(first.code == 0)
        try cluster.kill(.node(victim))
        for name in try checkpoints() { try flipABit(at: 4_200, of: "\(data)/\(name)") }

        try cluster.restart(.node(victim))
        try eventually("the damage in the metrics") {
            try cluster.metrics(of: victim)["suanpan_damaged_records_total"] ?? 0 > 0
        }
        #expect(cluster.log(of: victim).contains("checkpoint damaged"))
        // Its log is whole from the beginning: the state comes from there.
        try cluster.awaitCaughtUp()
        try awaitRepair(of: victim, in: cluster)
        let again = try cluster.submit(payment)
        #expect(again.json["answer"] as? String == "duplicate", "\(again)")
        #expect(again.json["index"] as? Int == first.json["index"] as? Int, "\(again)")
        let audit = try cluster.run("audit", "--json", "-")
        #expect(audit.code == 0, "\(audit)")
    }

    private func flipABit(at place: Int, of file: String) throws {
        let descriptor = open(file, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("cannot open \(file): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var byte: UInt8 = 0
        try #require(pread(descriptor, &byte, 1, off_t(place)) == 1)
        byte ^= 0x40
        try #require(pwrite(descriptor, &byte, 1, off_t(place)) == 1)
    }

    /// Flips one bit of the payment's amount where its record stands in a segment.
    private func flipABit(of payment: Payment, in segment: String) throws {
        let descriptor = open(segment, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("cannot open \(segment): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 32 << 20)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let wanted = payment.idBytes
        let place = bytes[..<max(count, 0)].indices.first {
            bytes[$0] == wanted[0] && $0 + 16 <= count && bytes[$0..<$0 + 16].elementsEqual(wanted)
        }
        try flipABit(at: #require(place, "the payment's record is not in \(segment)") + 32, of: segment)
    }

    @Test func aFullDisk() throws {
        // One node, so that its refusal cannot be hidden by another's answer. It keeps a gibibyte in reserve.
        let cluster = try LocalCluster.up(nodes: 1, shards: 1, diskMegabytes: 2_500, "--replicas", "1")
        defer { cluster.end() }
        let payment = Payment(sequence: 1)
        #expect(try cluster.submit(payment).code == 0)
        let pid = try cluster.node(1).pid

        try cluster.resizeDisk(megabytes: 1_000)
        try eventually("the node to see that its disk is full") { cluster.log(of: 1).contains("disk full") }
        let refused = try cluster.run(["submit", "--json", "--timeout", "2"] + Payment(sequence: 2).arguments)
        #expect(refused.code != 0 && refused.out.contains("diskFull"), "\(refused)")
        #expect(try cluster.run("transaction", "\(payment.id)").code == 0, "what is acknowledged is kept and read")
        #expect(try cluster.metrics(of: 1)["suanpan_refusals_total{reason=\"diskFull\"}"] ?? 0 > 0)

        try cluster.resizeDisk(megabytes: 2_500)
        try eventually("new work to be taken again") { try cluster.submit(Payment(sequence: 2)).code == 0 }
        #expect(try cluster.node(1).pid == pid, "it ran all the time")
    }
}

extension LocalCluster {
    /// Makes the cluster's own file system larger or smaller under its processes.
    func resizeDisk(megabytes: Int) throws {
        let outcome = try launch(["mount", "-o", "remount,size=\(megabytes)m", directory]).wait()
        guard outcome.code == 0 else { throw Failure("\(outcome)") }
    }
}
