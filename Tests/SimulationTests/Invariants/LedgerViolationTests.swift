import ClearingModel
import Engine
import Ledger
import Simulation
import Testing
import Wire

@Suite("The checker finds broken rules of the ledger")
struct LedgerViolationTests {
    @Test("a replica with another state, by its running hash and by the whole of it")
    func equalStates() throws {
        let first = try ForgedHistory()
        first.show(first.follower, restarted: true) { $0.change = { $0.runningHash ^= 1 } }
        first.expect("EqualStates", "running hash")

        let second = try ForgedHistory()
        second.show(second.follower, restarted: true) { $0.hash = 1 }
        for _ in 0..<3 { second.checker.interval() }
        second.expect("EqualStates", "the state of")
    }

    /// Commits a forged entry of shard 1 on every disk; the leader shows it committed.
    private func commit(_ payload: Slab, in history: ForgedHistory) {
        let group = history.group(history.leader)
        let next = group.raft.lastIndex.next
        for machine in history.payments.cluster.machines {
            history.write(
                machine,
                ForgedRecord(
                    shard: history.shard, term: group.raft.term, index: next, previousTerm: group.raft.lastTerm,
                    payload: Array(payload.bytes)))
            history.checker.synced(machine.replica.node, file: .segment(99))
        }
        history.show(history.leader) { engine in
            engine.terms[next] = .some(group.raft.term)
            engine.change = {
                $0.raft.lastIndex = next
                $0.raft.commit = next
                $0.commit = next
            }
        }
    }

    /// Stamps as the shard's next entry has to bear them.
    private func sequence(_ history: ForgedHistory, ordinalError: Int = 0) -> EntrySequence {
        let state = history.leader.engine!.encodedState(of: history.shard)!.bytes
        let ordinal = Ordinal(state.loadUnaligned(fromByteOffset: 48, as: UInt64.self))
        return EntrySequence(
            ledgerTime: WallTime(state.loadUnaligned(fromByteOffset: 40, as: UInt64.self)),
            nextOrdinal: ordinal + ordinalError, window: WindowID(scheme: .domestic, number: 1))
    }

    @Test("an entry that does not continue the log")
    func ledgerModel() throws {
        let history = try ForgedHistory()
        var sequence = sequence(history, ordinalError: 5)
        var builder = EntryBuilder()
        builder.append(history.payments.payment(77, from: 1, to: 2))
        commit(sequence.seal(&builder, wall: history.payments.cluster.wall, flush: false), in: history)
        history.expect("LedgerModel", "first ordinal")
    }

    @Test("credits that nobody was debited for")
    func creditConservation() throws {
        let history = try ForgedHistory()
        let home = history.payments.participants.first {
            history.payments.cluster.topology.slots.home(of: $0) == history.shard
        }
        var cursor: CreditCursor?
        history.leader.engine!.forEachStream(of: history.shard) { _, stream in cursor = stream.applied }
        let last = try #require(cursor)
        let line = CreditLine(
            participant: try #require(home), window: WindowID(scheme: .domestic, number: 1), amount: 500, count: 1)
        let batch = CreditBatch(
            source: ShardID(2), destination: history.shard, number: last.number.next,
            sourceIndex: last.sourceIndex.next, sourceTerm: last.sourceTerm, directoryVersion: DirectoryVersion(1),
            previousHash: last.hash, lines: [line], key: SipHash(cluster: history.payments.cluster.topology.cluster))
        var sequence = sequence(history)
        var builder = EntryBuilder()
        let isAdded = builder.add(batch)
        try #require(isAdded)
        commit(sequence.seal(&builder, wall: history.payments.cluster.wall, flush: false), in: history)
        #expect(history.checker.violation == nil, "\(history.checker.violation!)")
        history.checker.interval()
        history.expect("CreditConservation", "currency 156")
    }

    @Test("a position past its limit, unless the limit was lowered")
    func positionLimits() throws {
        let history = try ForgedHistory()
        history.show(history.leader, restarted: true) { $0.overdraft = 2_000_000 }
        for _ in 0..<3 { history.checker.interval() }
        history.expect("PositionLimits", "past its limit")
    }

    @Test("a cursor ahead of the logs, one that goes back, and batches forgotten too early")
    func creditStreams() throws {
        let ahead = try ForgedHistory()
        ahead.show(ahead.follower, restarted: true) {
            $0.streams = { $0.applied.number = BatchNumber($0.applied.number.rawValue + 5) }
        }
        ahead.expect("CreditStreamOrder", "the committed logs close")

        let forgotten = try ForgedHistory()
        forgotten.show(forgotten.follower, restarted: true) {
            $0.streams = { stream in
                stream.closed = stream.closed.next
                stream.confirmed = stream.closed
            }
        }
        forgotten.expect("CreditStreamOrder", "the committed log closes")

        let other = try ForgedHistory()
        other.show(other.follower, restarted: true) { $0.streams = { $0.applied.hash ^= 1 } }
        other.expect("CreditStreamOrder", "a replica before it applied")
    }

    @Test("a queue above its bound")
    func boundedMemory() throws {
        let history = try ForgedHistory()
        history.show(history.follower, restarted: true) {
            $0.resources = { $0.waitingBatches = Limits.maximumUnconfirmedBatches + 1 }
        }
        history.checker.interval()
        history.expect("BoundedMemory", "waiting credit batches")
    }
}
