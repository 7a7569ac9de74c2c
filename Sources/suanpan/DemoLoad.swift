import Bench
import CPlatform
import ClearingModel
import Foundation
import LocalCluster
import Synchronization
import Workload

/// Thirty seconds of load on a thread of its own, while the main thread kills the busiest leader and brings it back.
final class DemoLoad {
    let demo: Demo
    let rate: Int
    let seconds: Int
    private(set) var result = LoadResult()
    /// Part of all cores that was busy during the load.
    private(set) var machineBusy = 0.0
    private(set) var failover: DemoFailover?
    var journal: String { "\(demo.directory.root)/journal.jsonl" }

    /// Crosses between the load's event loop and the main thread.
    private final class Shared: Sendable { let lines = Mutex<[String]>([]) }
    private let shared = Shared()

    init(demo: Demo, rate: Int, seconds: Int) throws {
        self.demo = demo
        self.rate = rate
        self.seconds = seconds
    }

    func run() throws {
        var configuration = try LoadSetup.configuration(
            demo.directory, plan: .rate(Double(rate), seconds: Double(seconds)))
        configuration.journalPath = journal
        configuration.batch = 64
        let shared = shared
        configuration.live = { line in shared.lines.withLock { $0.append(line) } }
        configuration.shouldStop = { Interrupts.count > 0 }
        Console.out("Load: \(rate) payments a second for \(seconds) s, due one by one, whoever leads.")
        let before = Machine.time
        result = try watch(BackgroundLoad(configuration))
        let span = Machine.time - before
        machineBusy = Double(span.busy + span.stolen) / Double(max(span.total, 1))
        if result.interrupted { throw LaunchError.interrupted }
        try failover?.awaitReturn()
    }

    /// The main thread's part: a line a second, the kill, the restart.
    private func watch(_ load: BackgroundLoad) throws -> LoadResult {
        let began = Deadline.now()
        let failover = DemoFailover(demo: demo)
        self.failover = failover
        while true {
            if let outcome = load.outcome {
                try report()
                return try outcome.get()
            }
            let elapsed = Int((Deadline.now() - began) / 1_000_000_000)
            if failover.killed == nil, elapsed >= seconds / 3 { try failover.kill() }
            if failover.restarted == nil, elapsed >= seconds * 2 / 3 { try failover.restart() }
            try report()
            try failover.look()
            Deadline.pause(milliseconds: failover.isUrgent ? 5 : 50)
        }
    }

    private func report() throws {
        let lines = shared.lines.withLock { lines in
            defer { lines = [] }
            return lines
        }
        guard !lines.isEmpty else { return }
        let status = try demo.status()
        let leaders = status.nodes.map { node in
            node.state == .stopped
                ? "\(node.id):down" : "\(node.id):\(status.shards.filter { $0.leader == node.id }.count)"
        }
        for line in lines {
            let unknown = line.contains(" unknown") ? "" : ", 0 unknown"
            Console.out("\(line)\(unknown) | leads \(leaders.joined(separator: " "))")
        }
    }
}

/// The kill of the node that leads most, and what the others made of it.
final class DemoFailover {
    private struct Takeover {
        var shard: UInt16
        var term: UInt64
        var leader: UInt32?
        var milliseconds = 0.0
    }

    private let demo: Demo
    private(set) var victim = NodeID(0)
    /// Monotonic and wall time of the kill.
    private(set) var killed: (at: UInt64, wall: UInt64)?
    private(set) var restarted: UInt64?
    private var takeovers: [Takeover] = []
    private var catchUp: CatchUp?

    init(demo: Demo) { self.demo = demo }

    /// Whether the next look should come soon.
    var isUrgent: Bool {
        (killed != nil && takeovers.contains { $0.leader == nil }) || catchUp != nil
    }

    func kill() throws {
        let status = try demo.status()
        let busiest = status.busiest
        victim = NodeID(busiest.id)
        let led = status.groups.filter { $0.leader == busiest.id }
        takeovers = led.map { Takeover(shard: $0.id, term: $0.term) }
        guard let process = try demo.directory.state().node(victim)?.process, process.signal(SIGKILL) else {
            throw LaunchError.failed("node \(victim) was gone before it could be killed: see its node.log")
        }
        killed = (Deadline.now(), suanpan_wall_microseconds())
        Console.out("    kill -9 of node \(victim) (\(busiest.dataCentre)), leader of \(Self.names(led.map(\.id)))")
    }

    func restart() throws {
        restarted = Deadline.now()
        try demo.launcher.startNode(victim, foreground: true)
        catchUp = CatchUp(node: victim)
        Console.out("    node \(victim) is started again")
    }

    /// One look at the nodes, where something is awaited.
    func look() throws {
        guard let killed, isUrgent else { return }
        let state = try demo.directory.state()
        if takeovers.contains(where: { $0.leader == nil }) {
            for node in state.running where node.nodeID != victim {
                guard let report = NodeStatus.ask(node) else { continue }
                for index in takeovers.indices where takeovers[index].leader == nil {
                    let shard = report.shards.first { $0.id == takeovers[index].shard }
                    guard let shard, shard.isLeader, shard.term > takeovers[index].term else { continue }
                    takeovers[index].leader = report.node
                    takeovers[index].milliseconds = Double(Deadline.now() - killed.at) / 1e6
                }
            }
            if takeovers.allSatisfy({ $0.leader != nil }) {
                let text = takeovers.map { "\(Self.name($0.shard)) by node \($0.leader!) (\(Int($0.milliseconds)) ms)" }
                Console.out("    seen to be taken over: \(text.joined(separator: ", "))")
            }
        } else if let restarted, let shards = try catchUp?.look(demo.cluster) {
            catchUp = nil
            let milliseconds = (Deadline.now() - restarted) / 1_000_000
            Console.out(
                "    node \(victim) has caught up with all \(shards) of its shards \(milliseconds) ms after its start")
        }
    }

    /// Waits until the victim leads again what it leads by preference, or says what is missing.
    func awaitReturn() throws {
        guard let restarted else { return }
        let preferred = demo.topology.placements.filter { $0.preferredLeader == victim }.map(\.shard.rawValue)
        let back = try Deadline(seconds: 12).await(every: 100) { () -> UInt64? in
            if catchUp != nil { try look() }
            let groups = try demo.status().groups
            let all = preferred.allSatisfy { shard in groups.first { $0.id == shard }?.leader == victim.rawValue }
            return all ? Deadline.now() : nil
        }
        if let back {
            Console.out(
                "    node \(victim) leads \(Self.names(preferred)) again "
                    + "\((back - restarted) / 1_000_000_000) s after its start")
        } else {
            Console.out("    node \(victim) does not lead all of \(Self.names(preferred)) again yet")
        }
    }

    /// From the kill to the first payment that each affected shard decided after it, by the journal's ledger times.
    func pauses(journal: String) -> [(shard: UInt16, milliseconds: Double)] {
        guard let killed, let contents = try? Data(contentsOf: URL(fileURLWithPath: journal), options: .alwaysMapped)
        else { return [] }
        let affected = Set(takeovers.map(\.shard))
        var first: [UInt16: UInt64] = [:]
        contents.withUnsafeBytes { bytes in
            JournalScan.forEachDecision(bytes) { shard, ledgerTime in
                guard affected.contains(shard), ledgerTime > killed.wall else { return }
                first[shard] = min(first[shard] ?? .max, ledgerTime)
            }
        }
        return first.sorted { $0.key < $1.key }.map { ($0.key, Double($0.value - killed.wall) / 1_000) }
    }

    private static func name(_ shard: UInt16) -> String { shard == 0 ? "the directory" : "shard \(shard)" }
    private static func names(_ shards: [UInt16]) -> String {
        shards.isEmpty ? "nothing" : shards.map(name).joined(separator: ", ")
    }
}

/// Shard and ledger time of every decided payment of a journal, without making a string of each line.
enum JournalScan {
    static func forEachDecision(_ bytes: UnsafeRawBufferPointer, _ body: (UInt16, UInt64) -> Void) {
        let shardKey = Array("shard\":".utf8)
        let timeKey = Array("ledgerTime\":".utf8)
        var start = 0
        while start < bytes.count, let end = memchr(bytes.baseAddress! + start, 10, bytes.count - start) {
            let length = UnsafeRawPointer(end) - (bytes.baseAddress! + start)
            let line = UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
            if let shard = number(after: shardKey, in: line), let time = number(after: timeKey, in: line), time > 0 {
                body(UInt16(truncatingIfNeeded: shard), time)
            }
            start += length + 1
        }
    }

    private static func number(after key: [UInt8], in line: UnsafeRawBufferPointer) -> UInt64? {
        guard let found = ByteSearch.first(key, in: line) else { return nil }
        var value: UInt64 = 0
        for byte in line[(found + key.count)...] {
            guard byte >= 48, byte <= 57 else { break }
            value = value * 10 + UInt64(byte - 48)
        }
        return value
    }
}
