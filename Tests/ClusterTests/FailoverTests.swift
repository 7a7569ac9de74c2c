import Foundation
import Testing

extension RealProcesses {
    /// How often leaders are killed; a longer series is for figures.
    private static let kills = ProcessInfo.processInfo.environment["SUANPAN_KILLS"].flatMap { Int($0) } ?? 2

    @Test func aKilledLeaderUnderLoad() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        var pauses: [Double] = []
        for round in 1...Self.kills {
            let load = try Load(cluster, rate: 2_000, seconds: 5, seed: round)
            try load.awaitSecond(1)
            let victim = try #require(try cluster.leader(of: round % 4 + 1))
            let led = try cluster.shards(ledBy: victim)
            let (sent, gone) = try cluster.strike(victim)
            try load.awaitSecond(3)
            try cluster.restart(.node(victim))
            let result = try load.finish()
            #expect(Load.ends.contains(result.code), "\(result)")
            try cluster.awaitCaughtUp()

            let lines = try Journal.read(load.journal)
            #expect(result.json["accepted"] as? Int == lines.filter { $0.outcome == "accepted" }.count)
            #expect(Set(lines.map(\.id)).count == lines.count, "one line a payment")
            let found = Journal.pauses(lines, shards: led, since: sent, after: gone)
            #expect(found.count == led.count, "shards \(led) that node \(victim) led: pauses \(found)")
            pauses += found.map(\.milliseconds)
            print("kill of node \(victim), leader of \(led): pauses", found)
            try cluster.expectValid(journal: load.journal, acknowledged: lines)
        }
        pauses.sort()
        print("pauses of \(Self.kills) kills: median \(pauses[pauses.count / 2]) ms, longest \(pauses.last!) ms")
        #expect(pauses.last! < 5_000)
    }

    @Test func everyNodeKilledAtOnceUnderLoad() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let load = try Load(cluster, rate: 2_000, seconds: 20)
        try load.awaitSecond(2)
        try cluster.kill(.all)
        #expect(cluster.processes.count == 1, "only the load is left")
        try cluster.upAgain()
        try load.awaitSecond(8)
        load.interrupt()
        let result = try load.finish()
        #expect(result.code == 130, "\(result)")
        try cluster.awaitCaughtUp()
        let lines = try Journal.read(load.journal)
        try cluster.expectValid(journal: load.journal, acknowledged: lines)
        #expect(try cluster.submit(Payment(sequence: 7)).code == 0)
    }

    @Test func aPausedLeader() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let load = try Load(cluster, rate: 1_000, seconds: 8)
        try load.awaitSecond(1)
        let paused = try #require(try cluster.leader(of: 1))
        let led = try cluster.shards(ledBy: paused)
        try cluster.pause(.node(paused))
        let moment = Date()
        #expect(try cluster.node(paused).state == "paused")
        try eventually("other leaders of shards \(led)") {
            try cluster.status().shards.allSatisfy { $0.leader != nil && $0.leader != paused }
        }
        try load.awaitSecond(5)
        try cluster.resume(.node(paused))
        let result = try load.finish()
        #expect(Load.ends.contains(result.code), "\(result)")
        try cluster.awaitCaughtUp()
        let lines = try Journal.read(load.journal)
        let found = Journal.pauses(lines, shards: led, since: moment, after: moment)
        print("pause of node \(paused):", found)
        #expect(found.count == led.count)
        try cluster.expectValid(journal: load.journal, acknowledged: lines)
    }
}

extension LocalCluster {
    /// SIGKILL without a command in between, so that the moment is exact.
    ///
    /// Returns when the signal was sent and when the process was gone: in between it may still have decided something.
    func strike(_ node: Int) throws -> (sent: Date, gone: Date) {
        guard let pid = try self.node(node).pid else { throw Failure("node \(node) does not run") }
        let sent = Date()
        Foundation.kill(pid, SIGKILL)
        try eventually("the end of node \(node)") {
            (FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()).isEmpty
        }
        return (sent, Date())
    }

    /// The audit finds the journal's payments in the logs, each once, and the ledgers say the same when they are asked.
    func expectValid(journal: String, acknowledged lines: [JournalLine]) throws {
        let accepted = lines.filter { $0.outcome == "accepted" }
        #expect(!accepted.isEmpty, "a fault that met no work proves nothing")
        // A payment is where its answer said: the last of every shard before and after the fault are the likeliest to be lost.
        for shard in Set(accepted.map(\.shard)) {
            let own = accepted.filter { $0.shard == shard }.sorted { ($0.index, $0.slot) < ($1.index, $1.slot) }
            for line in [own[0], own[own.count / 2], own[own.count - 1]] {
                let found = try run("transaction", line.id, "--json")
                #expect(found.json["outcome"] as? String == "accepted", "\(found)")
                #expect(
                    found.json["index"] as? UInt64 == line.index && found.json["slot"] as? Int == line.slot, "\(line)")
            }
        }
        #expect(Set(accepted.map { "\($0.shard)/\($0.index)/\($0.slot)" }).count == accepted.count, "two in one place")
        let outcome = try run("audit", "--journal", journal, "--json", "-")
        #expect(outcome.code == 0, "\(outcome)")
        let audit = try JSONDecoder().decode(Audit.self, from: Data(outcome.out.utf8))
        #expect(audit.verdict == "valid" && audit.missing == 0 && audit.doubled == 0, "\(outcome)")
        #expect(audit.acknowledged >= UInt64(accepted.count), "\(outcome)")
    }
}
