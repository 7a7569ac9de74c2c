import ClearingModel
import Client
import Glibc
import Synchronization
import TLS
import Testing
import Wire
import Workload

@Suite("A load against nodes behind real sockets", .serialized)
struct LoadRunnerTests {
    static func configuration(_ cluster: LoopbackCluster, _ plan: LoadPlan) throws -> LoadConfiguration {
        let population = Population.generate()
        let identities = try population.instructing.prefix(3).map {
            ClientIdentity(
                credentials: try cluster.credentials([.participant($0.participant)]), participants: [$0.participant])
        }
        return LoadConfiguration(
            topology: cluster.topology, identities: identities, population: population, plan: plan)
    }

    static func lines(_ path: String) -> [String] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            text += String(decoding: buffer[..<count], as: UTF8.self)
        }
        return text.split(separator: "\n").map(String.init)
    }

    @Test("a rate is kept, every payment ends, and journal and series hold all of it", arguments: [1, 50])
    func rate(batch: Int) throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .rate(2_000, seconds: 1.2))
        configuration.batch = batch
        let live = Mutex<[String]>([])
        configuration.live = { line in live.withLock { $0.append(line) } }
        configuration.journalPath = "/tmp/suanpan-load-\(getpid())-\(batch).journal"
        configuration.seriesPath = "/tmp/suanpan-load-\(getpid())-\(batch).csv"
        configuration.processes = [getpid()]
        defer {
            unlink(configuration.journalPath!)
            unlink(configuration.seriesPath!)
        }
        let result = try LoadRunner.run(configuration)
        #expect(result.sent == 2_400 && result.accepted == 2_400 && result.unknown == 0 && result.notSent == 0)
        #expect(abs(result.offeredRate - 2_000) < 20)
        #expect(result.p50Ms > 0 && result.p50Ms <= result.p99Ms && result.p99Ms <= result.maxMs)
        #expect(result.cpuMicrosPerTransaction > 0)
        let journal = Self.lines(configuration.journalPath!)
        #expect(journal.count == 2_400)
        #expect(Set(journal).count == 2_400)
        #expect(journal.allSatisfy { $0.hasPrefix("{\"id\":\"") && $0.contains("\"outcome\":\"accepted\"") })
        let series = Self.lines(configuration.seriesPath!)
        #expect(series.count >= 2 && series[0].hasPrefix("second,offered,"))
        #expect(!live.withLock { $0 }.isEmpty)
    }

    @Test("without a rate the window stays full", arguments: [1, 200])
    func maximum(batch: Int) throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .maximum(seconds: 0.5))
        configuration.batch = batch
        configuration.window = 5_000
        let result = try LoadRunner.run(configuration)
        #expect(result.accepted == result.sent && result.accepted > 10_000)
    }

    @Test("the clearing mix ends too, declines and queries included")
    func clearing() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .rate(5_000, seconds: 1))
        configuration.mix = .clearing
        let result = try LoadRunner.run(configuration)
        let declined = result.rejected.reduce(0) { $0 + $1.count }
        #expect(result.accepted + declined == result.sent && result.unknown == 0)
        #expect(result.rejected.contains { $0.reason == "amountZero" })
        #expect(result.json.hasPrefix("{\"offeredRate\": ") && result.json.contains("\"amountZero\": "))
    }

    @Test("an answer that takes long shows in the percentiles, from the intended time")
    func slow() throws {
        let cluster = try LoopbackCluster(behaviour: .init(delay: .milliseconds(30)))
        defer { try? cluster.stop() }
        let result = try LoadRunner.run(try Self.configuration(cluster, .rate(1_000, seconds: 0.5)))
        #expect(result.accepted == 500 && result.p50Ms >= 30 && result.longestGapMs >= 30)
    }

    @Test("connections that are reset all the time lose no payment", arguments: [1, 20])
    func resets(batch: Int) throws {
        let cluster = try LoopbackCluster(behaviour: .init(resetAfter: batch == 1 ? 700 : 50))
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .rate(20_000, seconds: 1.5))
        configuration.batch = batch
        let result = try LoadRunner.run(configuration)
        #expect(result.accepted == 30_000 && result.unknown == 0 && result.sent == 30_000)
    }

    @Test("a stop ends the plan early and keeps what was measured")
    func stop() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .rate(1_000, seconds: 60))
        let calls = Atomic<Int>(0)
        configuration.shouldStop = { calls.add(1, ordering: .relaxed).newValue > 3 }
        let result = try LoadRunner.run(configuration)
        #expect(result.interrupted && result.accepted == result.sent && result.seconds < 30)
    }

    @Test("what cannot run says why")
    func errors() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.configuration(cluster, .rate(1_000, seconds: 1))
        configuration.identities = []
        #expect(throws: LoadError.noIdentity) { try LoadRunner.run(configuration) }
        configuration = try Self.configuration(cluster, .rate(1_000, seconds: 1))
        configuration.journalPath = "/nowhere/journal"
        #expect(throws: LoadError.file(path: "/nowhere/journal", code: ENOENT)) { try LoadRunner.run(configuration) }
    }
}

@Suite("The client for commands", .serialized)
struct SuanpanClientTests {
    @Test("payments, queries, orders and refusals")
    func calls() throws {
        let cluster = try LoopbackCluster(behaviour: .init(refusing: 2))
        defer { try? cluster.stop() }
        let client = try SuanpanClient(
            topology: cluster.topology, credentials: try cluster.credentials([.participant(ParticipantID(1))]),
            timeoutSeconds: 5)
        defer { client.close() }
        let instructions = (1...40).map {
            Instruction(
                id: TransactionID(
                    debtor: ParticipantID(UInt32(100 + $0)), instructing: ParticipantID(1), day: BusinessDay(20_000),
                    sequence: UInt64($0)),
                kind: .payout, amount: 5, currency: 156, creditor: ParticipantID(3))
        }
        let completions = try client.submit(instructions)
        #expect(completions.map(\.id) == instructions.map(\.id))
        for completion in completions {
            guard case .decided(let decision) = completion.result else { return #expect(Bool(false), "\(completion)") }
            #expect(decision.outcome == .accepted)
        }
        let operation = try client.operate(.offsetClock(milliseconds: 5), at: .node(NodeID(1)))
        #expect(operation == OperateReply(.started, message: "as told"))
        let changes = (1...2_500).map {
            DirectoryChange.participant(
                Participant(id: ParticipantID(UInt32($0)), kind: .bank, currency: 156, limit: 1))
        }
        let change = try client.change(changes)
        #expect(change.version == DirectoryVersion(500) && change.failures.map(\.change) == [1, 2_001])
        do {
            _ = try client.position(of: ParticipantID(1))
            #expect(Bool(false))
        } catch let error as ClientError {
            guard case .refused(let refusal) = error else { return #expect(Bool(false), "\(error)") }
            #expect(refusal.code == .unauthorised)
        }
    }

    @Test("a query asks each id's shard and answers in order")
    func query() throws {
        let cluster = try LoopbackCluster(nodes: 1)
        defer { try? cluster.stop() }
        let client = try SuanpanClient(
            topology: cluster.topology, credentials: try cluster.credentials([.participant(ParticipantID(1))]))
        defer { client.close() }
        let ids = (1...30).map {
            TransactionID(
                debtor: ParticipantID(UInt32($0)), instructing: ParticipantID(1), day: BusinessDay(1), sequence: 1)
        }
        let answers = try client.query(ids)
        #expect(answers.count == 30)
        for (id, answer) in zip(ids, answers) {
            #expect(answer.answer == .notFound && answer.shard == cluster.topology.slots.route(id))
        }
    }

    @Test("nobody there: no reply within the time given, with the reason")
    func nobody() throws {
        let cluster = try LoopbackCluster(nodes: 1)
        let credentials = try cluster.credentials([.participant(ParticipantID(1))])
        try cluster.stop()
        let client = try SuanpanClient(topology: cluster.topology, credentials: credentials, timeoutSeconds: 0.3)
        defer { client.close() }
        #expect(throws: ClientError.self) { try client.cluster(node: NodeID(1)) }
    }
}
