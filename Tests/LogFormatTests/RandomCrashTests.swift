import ClearingModel
import LogFormat
import Raft
import Testing
import Wire

/// One thing that was appended.
private enum Appended {
    case entries([RaftEntry], ShardID)
    case truncate(ShardID, LogIndex)
    case hard(HardState, ShardID)
    case start(ShardID, LogIndex, Term, Membership)
}

/// The obviously right log: a list per shard.
private struct Model {
    var entries: [ShardID: [RaftEntry]] = [:]
    var start: [ShardID: (LogIndex, Term, Membership)] = [:]
    var hard: [ShardID: HardState] = [:]

    mutating func apply(_ appended: Appended) {
        switch appended {
        case .entries(let new, let shard): entries[shard, default: []] += new
        case .truncate(let shard, let from): entries[shard, default: []].removeAll { $0.index >= from }
        case .hard(let state, let shard): hard[shard] = state
        case .start(let shard, let index, let term, let membership):
            let keeps = entries[shard, default: []].contains { $0.index == index && $0.term == term }
            entries[shard, default: []].removeAll { $0.index <= index || !keeps }
            start[shard] = (index, term, membership)
        }
    }

    func last(_ shard: ShardID) -> LogIndex { entries[shard]?.last?.index ?? start[shard]?.0 ?? .zero }
    func lastTerm(_ shard: ShardID) -> Term { entries[shard]?.last?.term ?? start[shard]?.1 ?? .zero }

    /// What differs from a recovered shard, in words.
    func difference(_ shard: RecoveredShard) -> String? {
        let raft = shard.raft
        let mine = entries[shard.shard] ?? []
        if raft.lastIndex != last(shard.shard) { return "last \(raft.lastIndex), not \(last(shard.shard))" }
        let start = start[shard.shard] ?? (.zero, .zero, .empty)
        if raft.snapshotIndex != start.0 || raft.snapshotTerm != start.1 { return "start \(raft.snapshotIndex)" }
        if raft.membership != start.2 { return "membership \(raft.membership)" }
        var hard = hard[shard.shard] ?? .initial
        hard.commit = min(hard.commit, raft.lastIndex)
        if raft.hardState != hard { return "hard state \(raft.hardState), not \(hard)" }
        if !raft.fence.isEmpty { return "fence \(raft.fence)" }
        var runs: [TermRun] = []
        for entry in mine where runs.last?.term != entry.term {
            runs.append(TermRun(firstIndex: entry.index, term: entry.term))
        }
        if raft.termRuns != runs { return "runs \(raft.termRuns), not \(runs)" }
        let configurations = mine.filter { $0.kind == .configuration }
        if raft.configurationEntries.map(\.0) != configurations.map(\.index) { return "memberships" }
        return nil
    }
}

@Suite struct RandomCrashTests {
    /// Appends, truncates, votes and crashes in loops: what was acknowledged is there, what was truncated stays away,
    /// and what is there besides is what had been appended next.
    @Test(arguments: 1...200)
    func everyCrashLeavesAPrefixThatHoldsWhatWasAcknowledged(seed: Int) throws {
        var harness = LogHarness(seed: UInt64(seed), segmentBytes: 128 << 10)
        var random = SeededRandom(seed: UInt64(seed) &* 7_919)
        let first = harness.recover()
        _ = try #require(first)
        // All that was ever appended and survived so far; states after each are found by replaying it.
        var kept: [Appended] = []

        for round in 0..<12 {
            var model = Model()
            for appended in kept { model.apply(appended) }
            var appendedNow: [(Appended, LogSequence)] = []
            var acknowledged = harness.log.syncedThrough
            let life = harness.log.appendedThrough
            #expect(life == acknowledged)
            for _ in 0..<Int(random.below(60)) {
                let shard = LogHarness.shards[Int(random.below(3))]
                let next = randomAppend(shard, model, &random)
                model.apply(next)
                let sequence = append(next, &harness.log)
                // A group may end within an append: each entry is durable by itself.
                if case .entries(let entries, _) = next {
                    for (i, entry) in entries.enumerated() {
                        let own = LogSequence(sequence.rawValue - UInt64(entries.count - 1 - i))
                        appendedNow.append((.entries([entry], shard), own))
                    }
                } else {
                    appendedNow.append((next, sequence))
                }
                if random.below(3) == 0 { harness.log.flush(&harness.ops) }
                if random.below(20) == 0 { harness.log.closeIdle(&harness.ops) }
                for _ in 0..<Int(random.below(6)) { harness.step() }
                acknowledged = max(acknowledged, harness.takeEvents().durableThrough ?? acknowledged)
            }
            if random.below(3) == 0 {
                harness.settle()
                acknowledged = max(acknowledged, harness.takeEvents().durableThrough ?? acknowledged)
            }
            switch random.below(4) {
            case 0: harness.disk.processDies()
            default: harness.disk.crash(&random)
            }
            // A crash while recovering, too.
            if random.below(3) == 0 {
                harness.reopen()
                for _ in 0..<Int(random.below(30)) { harness.step() }
                harness.disk.crash(&random)
            }
            let result = harness.recover()
            let recovered = try #require(result, "round \(round): \(harness.events)")
            #expect(harness.events.damaged.isEmpty)

            let mustHave = appendedNow.filter { $0.1 <= acknowledged }.count
            var best = ""
            var found: Int?
            for count in mustHave...appendedNow.count {
                var candidate = Model()
                for appended in kept { candidate.apply(appended) }
                for (appended, _) in appendedNow.prefix(count) { candidate.apply(appended) }
                let differences = recovered.compactMap { candidate.difference($0) }
                if differences.isEmpty {
                    found = count
                } else {
                    best += "\n\(count): " + differences.joined(separator: "; ")
                }
                if found != nil { break }
            }
            let count = try #require(found, "round \(round), \(mustHave) of \(appendedNow.count) acknowledged: \(best)")
            kept += appendedNow.prefix(count).map(\.0)
            // Recovery writes hard states down anew, with a commit hint that the log can bear out.
            kept += recovered.map { .hard($0.raft.hardState, $0.shard) }
            var survived = Model()
            for appended in kept { survived.apply(appended) }
            for shard in LogHarness.shards {
                let mine = survived.entries[shard] ?? []
                guard let first = mine.first, let last = mine.last else { continue }
                let read = harness.readAll(shard, from: first.index, through: last.index)
                #expect(read == mine, "round \(round), shard \(shard)")
            }
            harness.events = []
        }
    }

    private func append(_ appended: Appended, _ log: inout NodeLog) -> LogSequence {
        switch appended {
        case .entries(let entries, let shard): log.append(entries, shard: shard)
        case .truncate(let shard, let from): log.appendTruncate(shard: shard, from: from, term: log.lastTerm(of: shard))
        case .hard(let state, let shard): log.appendHardState(state, shard: shard)
        case .start(let shard, let index, let term, let membership):
            log.appendLogStart(shard: shard, index: index, term: term, membership: membership)
        }
    }

    private func randomAppend(_ shard: ShardID, _ model: Model, _ random: inout SeededRandom) -> Appended {
        let last = model.last(shard)
        let term = model.lastTerm(shard)
        let start = model.start[shard]?.0 ?? .zero
        switch random.below(20) {
        case 0 where last > start:
            let depth = UInt64(last - start)
            return .truncate(shard, LogIndex(last.rawValue - random.below(min(depth, 5))))
        case 1...4:
            let commit = LogIndex(start.rawValue + random.below(UInt64(last - start) + 1))
            return .hard(
                HardState(
                    term: Term(term.rawValue + random.below(3)),
                    vote: random.below(2) == 0 ? nil : ReplicaID(node: NodeID(2), incarnation: Incarnation(1)),
                    commit: max(commit, model.hard[shard]?.commit ?? .zero)), shard)
        case 5:
            let index = LogIndex(start.rawValue + random.below(UInt64(last - start) + 4))
            let known = model.entries[shard]?.first { $0.index == index }?.term
            // A snapshot never has another term than the log at an index, except where the log has to give way.
            let other = Term(term.rawValue + 1)
            if index == start { fallthrough }
            return .start(
                shard, index, random.below(4) > 0 ? known ?? other : other,
                Membership(voters: [ReplicaID(node: NodeID(UInt32(1 + random.below(5))), incarnation: Incarnation(1))]))
        default:
            let newTerm = term.rawValue + (random.below(5) == 0 ? 1 : 0)
            let count = 1 + random.below(4)
            return .entries(
                (0..<count).map { i in
                    let index = last.rawValue + 1 + i
                    if random.below(15) == 0 {
                        let voters = [ReplicaID(node: NodeID(UInt32(1 + random.below(5))), incarnation: Incarnation(1))]
                        return RaftEntry(
                            index: LogIndex(index), term: Term(max(newTerm, 1)), kind: .configuration,
                            payload: Membership(voters: voters).encoded())
                    }
                    return sample(
                        index, max(newTerm, 1), bytes: Int(random.below(random.below(6) == 0 ? 9_000 : 400)),
                        salt: random.next())
                }, shard)
        }
    }
}
