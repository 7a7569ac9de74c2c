import ClearingModel

/// All shards' replays, side by side in the order of ledger time, so that what one shard closed meets what another applied
/// while both are at hand.
final class Replay {
    let topology: ClusterTopology
    let directory: ShardReplay
    let shards: [ShardReplay]
    let streams: StreamBook
    private let findings: Findings

    init(
        topology: ClusterTopology, logs: [ShardLog], files: FileCache, checkpoints: [CheckpointFile], findings: Findings
    ) {
        self.topology = topology
        self.findings = findings
        let streams = StreamBook(shardCount: topology.shardCount, findings: findings)
        let model = DirectoryModel(calendar: topology.calendar)
        self.streams = streams
        directory = ShardReplay(
            shard: 0, log: logs[0], model: nil, outcomes: nil, directory: model, cluster: topology.cluster,
            checkpoints: checkpoints, findings: findings)
        shards = logs.dropFirst().map { log in
            let outcomes = OutcomeStore(entries: LogEntrySource(log: log, files: files))
            let shard = ShardModel(
                shard: log.shard, topology: topology, directory: model, streams: streams, outcomes: outcomes,
                findings: findings)
            return ShardReplay(
                shard: log.shard, log: log, model: shard, outcomes: outcomes, directory: model,
                cluster: topology.cluster, checkpoints: checkpoints, findings: findings)
        }
    }

    /// - Parameter firstCut: per shard, what was committed when the nodes were read for the first time.
    func run(firstCut: [UInt64], progress: (String) -> Void) {
        // The directory takes nothing from the others, and they never run ahead of all of it.
        directory.target = directory.log.through
        while directory.nextTime(directory.target) != nil { directory.step() }
        for shard in shards { shard.target = firstCut[shard.shard] }
        var done: UInt64 = 0
        var announced: UInt64 = 1_000_000
        while let shard = earliest() {
            let before = shard.model?.records ?? 0
            shard.step()
            done += (shard.model?.records ?? 0) - before
            if done >= announced {
                progress("replayed \(done) records")
                announced = done + 1_000_000
            }
        }
        extend()
    }

    private func earliest() -> ShardReplay? {
        var best: (time: UInt64, shard: ShardReplay)?
        for shard in shards {
            guard let time = shard.nextTime(shard.target) else { continue }
            if best.map({ time < $0.time }) ?? true { best = (time, shard) }
        }
        return best?.shard
    }

    /// Shards of a live cluster were read one after the other: where one has credits from another's later entries, or a
    /// confirmation of them, the other goes on as far as it must.
    ///
    /// Everything that is needed was committed before the first reading ended, so the second one has it.
    private func extend() {
        var moved = true
        while moved {
            moved = false
            let needed = streams.ahead.map(\.source) + streams.unapplied.map(\.destination)
            for number in Set(needed).sorted() {
                let shard = shards[number - 1]
                guard shard.nextTime(shard.log.through) != nil else { continue }
                shard.target = max(shard.target, shard.index)
                shard.step()
                moved = true
            }
        }
        for (source, destination) in streams.ahead {
            let applied = streams.stream(from: source, to: destination).applied[0]
            guard shards[source - 1].isComplete else { continue }
            findings.problem(
                "credit batch \(applied.cursor.number) from shard \(source) to shard \(destination), applied in entry "
                    + "\(applied.index) of shard \(destination): shard \(source) never closed it "
                    + "(\(applied.lines) lines over \(applied.total) were credited for nothing)")
        }
        for (source, destination) in streams.unapplied where shards[destination - 1].isComplete {
            let stream = streams.stream(from: source, to: destination)
            findings.problem(
                "shard \(source) logged a confirmation of credit batch \(stream.confirmedThrough) to shard "
                    + "\(destination), which applied only \(stream.appliedThrough)")
        }
    }

    // MARK: - Money

    /// Debits, credits and credits in flight of one window and currency over all shards.
    struct Balance {
        var key: BookKey
        var debits: UInt128 = 0
        var credits: UInt128 = 0
        var inFlight: UInt128 = 0

        var difference: UInt128 {
            let sum = credits + inFlight
            return debits > sum ? debits - sum : sum - debits
        }
    }

    var balances: [Balance] {
        var found: [BookKey: Balance] = [:]
        func add(_ key: BookKey, _ change: (inout Balance) -> Void) { change(&found[key, default: Balance(key: key)]) }
        for shard in shards {
            for book in shard.model?.books ?? [] {
                add(book.key) {
                    $0.debits += book.debits
                    $0.credits += book.credits
                }
            }
            for (key, amount) in shard.model?.openCredits ?? [] { add(key) { $0.inFlight += amount } }
            for other in shards {
                for batch in streams.stream(from: shard.shard, to: other.shard).inFlight {
                    for (key, amount) in batch.amounts { add(key) { $0.inFlight += amount } }
                }
            }
        }
        return found.values.sorted { $0.key < $1.key }
    }
}
