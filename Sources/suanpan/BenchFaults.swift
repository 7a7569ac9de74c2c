import Bench
import CPlatform
import ClearingModel
import Glibc
import LocalCluster
import Workload

/// What the cases `failover` and `long` do while their load runs; on the main thread.
extension BenchRun {
    /// Kills the node that leads most, waits until its shards answer and it is back, and again.
    func kill(_ load: BackgroundLoad) throws -> FailoverFigures {
        var pauses: [FailoverFigures.Pause] = []
        for kill in 1...plan.kills {
            pauses += try killOnce(kill, load)
        }
        shared.isDone.store(true, ordering: .relaxed)
        return FailoverFigures(kills: plan.kills, pauses: pauses)
    }

    private func killOnce(_ number: Int, _ load: BackgroundLoad) throws -> [FailoverFigures.Pause] {
        try cluster.launcher.awaitLeaders()
        let status = try cluster.status()
        let victim = NodeID(status.busiest.id)
        let led = status.shards.filter { $0.leader == victim.rawValue }.map(\.id)
        guard let entry = try cluster.directory.state().node(victim), let process = entry.process else {
            throw LaunchError.failed("node \(victim) was gone before it could be killed")
        }
        // What it used is lost with it.
        meter.end(Self.name(victim), try reading(entry))
        let killed = Deadline.now()
        guard process.signal(SIGKILL) else {
            throw LaunchError.failed("node \(victim) was gone before it could be killed")
        }
        while process.isAlive {}
        // Until here it may have decided something itself; the next leaders decide later.
        shared.watch.start(after: WallTime(suanpan_wall_microseconds()))
        try wait(seconds: 10, load, except: victim) {
            let heard = self.shared.watch.acknowledged
            return led.allSatisfy { heard[ShardID($0)] != nil }
        }
        let heard = shared.watch.acknowledged
        try bringBack(victim, load)
        let pauses = led.map { shard in
            let at = heard[ShardID(shard)]?.rawValue
            return FailoverFigures.Pause(
                kill: number, node: victim.rawValue, shard: shard,
                milliseconds: at.map { Double($0 - min(killed, $0)) / 1e6 })
        }
        let texts = pauses.map { pause in
            "\(pause.shard): " + (pause.milliseconds.map { "\(($0 * 10).rounded() / 10) ms" } ?? "never")
        }
        Console.note("  kill \(number) of node \(victim), pause of shard \(texts.joined(separator: ", "))")
        return pauses
    }

    private func bringBack(_ node: NodeID, _ load: BackgroundLoad) throws {
        try cluster.launcher.startNode(node, foreground: true)
        meter.begin(Self.name(node), ProcessUse())
        var catchUp = CatchUp(node: node)
        let isBack = try wait(seconds: 60, every: 50, load) { try catchUp.look(self.cluster) != nil }
        guard isBack else { throw LaunchError.failed("node \(node) has not caught up within 60 s") }
    }

    /// Waits until the load has come to each mark; takes rate, p99 and the nodes' memory there.
    func awaitMarks(_ load: BackgroundLoad) throws -> [LongMark] {
        guard case .payments(let last) = one.offer else { return [] }
        var marks: [LongMark] = []
        for mark in LongRun.marks.filter({ $0 < last }) + [last] {
            try wait(seconds: 3_600, load) { self.shared.accepted.load(ordering: .relaxed) >= mark }
            let resident = try cluster.directory.state().running.reduce(0) { try $0 + reading($1).residentBytes }
            marks.append(LongMark(payments: mark, shared.intervals.withLock { $0 }, residentBytes: resident))
            Console.note("  \(mark / 1_000_000) million accepted, nodes \(resident >> 20) MB")
        }
        shared.isDone.store(true, ordering: .relaxed)
        return marks
    }

    /// Looks until the condition is met; `false` once the time is over.
    @discardableResult
    private func wait(
        seconds: Int, every milliseconds: Int = 5, _ load: BackgroundLoad, except killed: NodeID? = nil,
        _ condition: () throws -> Bool
    ) throws -> Bool {
        let met = try Deadline(seconds: seconds).await(every: milliseconds) { () -> Bool? in
            if try condition() { return true }
            try supervise(except: killed)
            if let outcome = load.outcome {
                _ = try outcome.get()
                throw LaunchError.failed("the load was over too early")
            }
            return nil
        }
        return met ?? false
    }
}
