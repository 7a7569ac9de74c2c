import ClearingModel
import Client
import Glibc
import Synchronization
import TLS
import Testing
import Workload

@Suite("What a load measures, and what it holds in flight", .serialized)
struct MeasurementTests {
    /// One certificate that names several institutions, and as many connections as wanted.
    private static func bureau(_ cluster: LoopbackCluster, _ plan: LoadPlan) throws -> LoadConfiguration {
        let population = Population.generate()
        let participants = population.instructing.map(\.participant)
        let identity = ClientIdentity(
            credentials: try cluster.credentials(participants.map { .participant($0) }), participants: participants)
        return LoadConfiguration(
            topology: cluster.topology, identities: [identity], population: population, plan: plan)
    }

    @Test("a warm-up does not count, and the phases are told")
    func warmUp() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .rate(2_000, seconds: 1))
        configuration.warmUpSeconds = 0.5
        configuration.intervalSeconds = 0.1
        let phases = Mutex<[LoadPhase]>([])
        let intervals = Mutex<[LoadInterval]>([])
        configuration.phase = { phase in phases.withLock { $0.append(phase) } }
        configuration.interval = { interval in intervals.withLock { $0.append(interval) } }
        let result = try LoadRunner.run(configuration)
        #expect(abs(Int(result.accepted) - 1_000) <= 10 && result.unknown == 0)
        #expect(abs(result.seconds - 0.5) < 0.05 && abs(result.acceptedPerSecond - 2_000) < 200)
        #expect(phases.withLock { $0 } == [.measuring, .draining])
        let all = intervals.withLock { $0 }
        #expect(all.reduce(0) { $0 + $1.accepted } == 2_000 && all.count >= 10)
        #expect(all.filter(\.isWarmUp).allSatisfy { $0.end < 0.6 } && all.last?.isWarmUp == false)
    }

    @Test("as many payments are in flight as told", arguments: [1, 40])
    func window(count: Int) throws {
        let cluster = try LoopbackCluster(behaviour: .init(delay: .milliseconds(20)))
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .maximum(seconds: 0.5))
        configuration.connections = 16
        configuration.window = count
        let result = try LoadRunner.run(configuration)
        // Each takes 20 ms: 25 rounds in half a second.
        #expect(result.accepted == result.sent && result.accepted <= UInt64(26 * count))
        #expect(result.accepted >= UInt64(10 * count) && result.p50Ms >= 20)
    }

    @Test("requests of a shard, and those of a connection, stay within their bound", arguments: [true, false])
    func requests(ofShard: Bool) throws {
        let cluster = try LoopbackCluster(behaviour: .init(delay: .milliseconds(20)))
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .maximum(seconds: 0.5))
        configuration.batch = 10
        configuration.connections = 3
        configuration.window = 6_000
        if ofShard { configuration.requestsPerShard = 2 } else { configuration.requestsPerConnection = 4 }
        let result = try LoadRunner.run(configuration)
        // Six shards or three connections: twelve requests of ten a round; the drain takes 50 rounds more.
        #expect(result.acceptedInTime <= 26 * 12 * 10 && result.acceptedInTime >= 10 * 12 * 10)
        #expect(result.accepted == result.sent && result.unknown == 0)
    }

    @Test("requests without a rate are full")
    func full() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .maximum(seconds: 0.5))
        configuration.batch = 500
        configuration.requestsPerShard = 2
        let result = try LoadRunner.run(configuration)
        #expect(result.accepted == result.sent && result.accepted > 10_000)
        // What is left at the end goes in one last request of each shard.
        #expect(UInt64(cluster.submits) <= result.accepted / 500 + 6)
    }

    @Test("a journal kept until the end is the journal written on the way")
    func kept() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .rate(20_000, seconds: 1))
        configuration.journalPath = "/tmp/suanpan-load-\(getpid())-kept.journal"
        configuration.journalKept = 0
        defer { unlink(configuration.journalPath!) }
        let result = try LoadRunner.run(configuration)
        let lines = LoadRunnerTests.lines(configuration.journalPath!)
        #expect(result.accepted == 20_000 && Set(lines).count == 20_000)
        #expect(lines.allSatisfy { $0.hasPrefix("{\"id\":\"") && $0.contains("\"outcome\":\"accepted\"") })
    }

    @Test("the first acceptance of each shard after a moment is seen")
    func watch() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .rate(2_000, seconds: 1))
        let watch = AcknowledgementWatch()
        configuration.watch = watch
        let started = Atomic<Bool>(false)
        configuration.interval = { _ in
            // The ledger time of these nodes counts requests: by now every decision is later.
            if !started.exchange(true, ordering: .relaxed) { watch.start(after: WallTime(1)) }
        }
        configuration.intervalSeconds = 0.3
        _ = try LoadRunner.run(configuration)
        let first = watch.acknowledged
        #expect(Set(first.keys) == Set((1...6).map { ShardID($0) }))
        watch.start(after: WallTime(5))
        #expect(watch.acknowledged.isEmpty)
    }

    @Test("fewer connections than nodes, or a warm-up without end, are refused")
    func errors() throws {
        let cluster = try LoopbackCluster()
        defer { try? cluster.stop() }
        var configuration = try Self.bureau(cluster, .rate(1_000, seconds: 1))
        configuration.connections = 2
        #expect(throws: LoadError.self) { try LoadRunner.run(configuration) }
        configuration.connections = 3
        configuration.warmUpSeconds = 1
        #expect(throws: LoadError.self) { try LoadRunner.run(configuration) }
        configuration.warmUpSeconds = 0
        configuration.requestsPerShard = 0
        #expect(throws: LoadError.self) { try LoadRunner.run(configuration) }
    }
}
