import ClearingModel
import DequeModule
import Ledger
import Raft
import Wire

/// One shard's replica: takes payments while it leads, applies the log always.
final class ClearingGroup: Group {
    private(set) var ledger: ShardLedger
    // The leader's volatile state, reset when leadership begins.
    var open = OpenEntry()
    /// Entries that are full and wait for room in the pipeline, oldest first.
    var closed = Deque<ClosedEntry>()
    /// Requests of proposed entries, oldest first.
    var proposed = Deque<ProposedEntry>()
    /// Records taken and not yet applied.
    var queuedRecords = 0
    /// Ledger time, ordinal and window that the next entry gets.
    var sequence = EntrySequence(ledgerTime: .zero, nextOrdinal: .zero, window: WindowID(scheme: .domestic, number: 1))
    var lastProposal = MonotonicTime(0)
    var lastFlush = MonotonicTime(0)
    var outgoing: [OutgoingStream]
    var incoming: [IncomingStream]
    /// The pull under way: where it starts.
    var directoryPull: (sentAt: MonotonicTime, cursor: DirectoryVersion)?
    /// A directory update and markers that wait for the next entry.
    var waitingUpdate: DirectoryUpdate?
    var waitingMarkers: [Marker] = []
    var markersCheckedAt: MonotonicTime?
    /// Something changed since `sendCredits` last looked.
    var mayOweCredits = true
    var decisions: [Decision] = []
    /// Entries of retained days that are not in the own log, as of the last housekeeping.
    var missingEntries = 0
    /// The next pass of the backfill begins no earlier.
    var backfillAfter = MonotonicTime(0)

    /// A stamped and sealed entry.
    struct ClosedEntry {
        var payload: Slab
        var requests: [PendingRequest]
        var records: Int
        /// That the header names; what is stamped after it goes on from there.
        var window: WindowID
        var closedAt: MonotonicTime
    }

    struct ProposedEntry {
        var index: LogIndex
        var term: Term
        var requests: [PendingRequest]
        var records: Int
        var window: WindowID
        var closedAt: MonotonicTime
    }

    init(
        shard: ShardID, placement: Placement, raft: RaftReplica, applied: LogIndex, appliedTerm: Term,
        appliedMembership: Membership, ledger: ShardLedger, shardCount: Int
    ) {
        self.ledger = ledger
        outgoing = Array(repeating: OutgoingStream(), count: shardCount + 1)
        incoming = Array(repeating: IncomingStream(), count: shardCount + 1)
        decisions.reserveCapacity(Limits.maximumRecords)
        super.init(
            shard: shard, placement: placement, raft: raft, applied: applied, appliedTerm: appliedTerm,
            appliedMembership: appliedMembership)
    }

    // MARK: Leadership

    override func becameReady(in engine: Engine) {
        precondition(proposed.isEmpty && closed.isEmpty && open.isEmpty, "a new leader holds nothing of its last term")
        queuedRecords = 0
        sequence = ledger.sequence
        forgetStaged()
        for source in 1..<incoming.count {
            incoming[source].inherited = ledger.incomingCursor(from: ShardID(UInt16(source))).number
        }
        engine.notice(.notice, "shard ready", [("shard", "\(shard)"), ("term", "\(raft.term)")])
    }

    override func lostLeadership(in engine: Engine) {
        super.lostLeadership(in: engine)
        refuseAll(.notLeader, in: engine)
    }

    /// Answers every request that this leader holds. Entries already proposed may still commit under the next leader:
    /// their refusal says that the ids are in doubt, and the client asks again with the same ones.
    func refuseAll(_ code: RefusalCode, in engine: Engine) {
        if proposed.contains(where: { !$0.requests.isEmpty }) { Site.refusedInDoubt.reached() }
        for entry in proposed {
            for request in entry.requests { engine.refuse(request, shard: shard, code, inDoubt: true) }
        }
        proposed.removeAll()
        refuseUnproposed(code, in: engine)
    }

    /// Answers the requests that Raft has not seen yet, and leaves this leader unready: what it staged in them is
    /// forgotten.
    func refuseUnproposed(_ code: RefusalCode, in engine: Engine) {
        for entry in closed {
            for request in entry.requests { engine.refuse(request, shard: shard, code) }
        }
        closed.removeAll()
        for request in open.requests { engine.refuse(request, shard: shard, code) }
        open = OpenEntry()
        queuedRecords = proposed.reduce(0) { $0 + $1.records }
        forgetStaged()
    }

    /// Sets the volatile stream state and the stamps back to what is applied and proposed.
    private func forgetStaged() {
        mayOweCredits = true
        sequence = EntrySequence(
            ledgerTime: sequence.ledgerTime, nextOrdinal: ledger.nextOrdinal + queuedRecords,
            window: proposed.last?.window ?? ledger.currentWindow)
        waitingUpdate = nil
        waitingMarkers = []
        directoryPull = nil
        markersCheckedAt = nil
        for source in incoming.indices {
            let applied = ledger.incomingCursor(from: ShardID(UInt16(source)))
            incoming[source] = IncomingStream()
            incoming[source].staged = applied
            incoming[source].confirmedSeen = applied.number
            // A source may wait for a confirmation that the last leader owed.
            incoming[source].owesConfirmation = applied.number > .zero
        }
        for destination in outgoing.indices { outgoing[destination] = OutgoingStream() }
    }

    // MARK: Checkpoints

    override var checkpointDue: Bool { ledger.checkpointDue }
    override var neededFrom: LogIndex { ledger.indexNeededFrom }
    override var alwaysStandsAlone: Bool { false }
    override func encodeCheckpoint(standsAlone: Bool) -> CheckpointContent {
        ledger.encodeCheckpoint(standsAlone: standsAlone)
    }

    /// A snapshot is durable here: its ledger takes the place of this one.
    func install(_ restored: ShardLedger, _ snapshot: SnapshotHead) {
        precondition(!isLeader && proposed.isEmpty && closed.isEmpty && open.isEmpty, "a leader takes no snapshot")
        ledger = restored
        moved(to: snapshot)
    }

    override func stateHash() -> UInt64 { ledger.stateHash }

    // MARK: Apply

    override func applyData(_ entry: RaftEntry, in engine: Engine) {
        ledger.apply(entry.payload.bytes, index: entry.index, term: entry.term, decisions: &decisions)
        engine.metrics.appliedRecords += UInt64(decisions.count)
        mayOweCredits = true
        guard isLeader else { return }
        afterApply(entry, in: engine)
        while let front = proposed.first, front.index <= entry.index {
            proposed.removeFirst()
            guard front.index == entry.index, front.term == entry.term, front.records == decisions.count else {
                preconditionFailure("proposal \(front.index) of \(shard) was answered by another entry")
            }
            queuedRecords -= front.records
            engine.commitTimes.append(engine.now - front.closedAt)
            var offset = 0
            for request in front.requests {
                engine.answer(
                    request, of: entry, group: self, decisions: decisions[offset..<offset + request.count])
                offset += request.count
            }
        }
    }

    /// What a leader owes others once an entry is applied: confirmations for the batches in it.
    private func afterApply(_ entry: RaftEntry, in engine: Engine) {
        guard let header = EntryHeader.peek(entry.payload.bytes), header.sectionCount > 0 else { return }
        for source in 1..<incoming.count {
            let number = ledger.incomingCursor(from: ShardID(UInt16(source))).number
            if number > incoming[source].confirmedSeen {
                incoming[source].confirmedSeen = number
                incoming[source].owesConfirmation = true
            }
        }
    }
}
