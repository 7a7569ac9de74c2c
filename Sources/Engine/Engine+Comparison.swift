import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// A request of which some ids were decided before, and the reads that fetch the originals.
final class Comparison {
    /// Its window is given back with the answer.
    let request: PendingRequest
    let group: ClearingGroup
    let type: FrameType
    var decisions: [Decision]
    var outstanding = 0
    var isUnreadable = false
    /// The submitted records, or records with the id alone for a query.
    let records: [Int: Instruction]

    init(
        request: PendingRequest, group: ClearingGroup, type: FrameType, decisions: [Decision],
        records: [Int: Instruction]
    ) {
        self.request = request
        self.group = group
        self.type = type
        self.decisions = decisions
        self.records = records
    }
}

/// One read of an original.
struct OriginalRead {
    var comparison: Comparison
    var slot: Int
    var ordinal: Ordinal
    /// The whole entry is read and its checksum verified: a difference must not come from a bad disk.
    var verified: Bool
    /// Nodes that have not been asked yet, where this one's log does not hold the record.
    var peers: [NodeID]?
    /// The node that is being asked, and since when.
    var asked: (node: NodeID, at: MonotonicTime)?
}

/// Exact answers for ids that were decided before: apply compares fingerprints only, and the leader compares the
/// records.
extension Engine {
    /// Takes a submit whose entry met known fingerprints. The submitted records are read from the entry that was just
    /// applied.
    func compare(_ request: PendingRequest, of entry: RaftEntry, group: ClearingGroup, decisions: [Decision]) {
        var decisions = decisions
        var records: [Int: Instruction] = [:]
        for (position, decision) in decisions.enumerated() {
            guard decision.answer == .needsComparison || decision.outcome == .dayNotOpen else { continue }
            let offset = EntryHeader.recordOffset(Int(decision.slot))
            let record = entry.payload.bytes.loadUnaligned(fromByteOffset: offset, as: Instruction.self)
            if decision.outcome == .dayNotOpen, decision.answer == .decided {
                resolveClosedDay(record.id, group.ledger, &decisions[position])
            }
            if decisions[position].answer == .needsComparison { records[position] = record }
        }
        startComparison(
            Comparison(
                request: request, group: group, type: .submitReply, decisions: decisions, records: records))
    }

    /// In a closed day nothing is decided any more, so apply says "not open" even for an id that was accepted while it
    /// was open: who asks again must hear of that, or pays twice.
    private func resolveClosedDay(_ id: TransactionID, _ ledger: ShardLedger, _ decision: inout Decision) {
        if let hit = ledger.lookup(id) {
            decision.outcomeCode = hit.outcome.rawValue
            decision.answerCode = Answer.needsComparison.rawValue
            decision.index = hit.ordinal.rawValue
        } else if ledger.isExpired(id.day) {
            decision.answerCode = Answer.expired.rawValue
        }
    }

    /// Starts a read for each decision that still needs one; answers at once where none does.
    func startComparison(_ comparison: Comparison) {
        for (position, decision) in comparison.decisions.enumerated() where decision.answer == .needsComparison {
            comparison.outstanding += 1
            readOriginal(
                OriginalRead(comparison: comparison, slot: position, ordinal: Ordinal(decision.index), verified: false))
        }
        if comparison.outstanding == 0 { finish(comparison) }
    }

    private func readOriginal(_ read: OriginalRead) {
        let token = token()
        originalReads[token] = read
        metrics.comparisons += 1
        log.readRecord(
            shard: read.comparison.group.shard, ordinal: read.ordinal, verify: read.verified, token: token,
            ops: &effects.disk, events: &logEvents)
    }

    /// The log has read an original.
    func originalRead(_ token: UInt64, _ stored: OriginalRecord) {
        if let inquiry = inquiries.removeValue(forKey: token) { return reply(stored, to: inquiry) }
        guard var read = originalReads.removeValue(forKey: token) else { return }
        let comparison = read.comparison
        guard let record = comparison.records[read.slot] else { preconditionFailure("a comparison without its record") }
        let fingerprint = comparison.group.ledger.fingerprint
        guard fingerprint(stored.instruction.id) == fingerprint(record.id) else {
            // Not what the index points at: what was read is wrong, whatever it says.
            originalReads[token] = read
            return originalUnreadable(token, "another record stands in its place")
        }
        let answer = ShardLedger.compare(new: record, stored: stored.instruction)
        if answer != .duplicate, !read.verified, !stored.verified {
            read.verified = true
            return readOriginal(read)
        }
        if answer == .chooseAnotherSequence { Site.fingerprintCollision.reached() }
        var decision = comparison.decisions[read.slot]
        decision.answerCode = (comparison.type == .queryReply && answer == .duplicate ? .decided : answer).rawValue
        if comparison.type == .queryReply, answer == .chooseAnotherSequence {
            // Another id has this fingerprint: the one that was asked for has no outcome.
            decision.answerCode = Answer.notFound.rawValue
        }
        decision.index = stored.index.rawValue
        decision.slot = UInt16(stored.slot)
        decision.ledgerTime = stored.ledgerTime
        decision.window = stored.window.number
        decision.scheme = stored.window.scheme
        comparison.decisions[read.slot] = decision
        ended(comparison)
    }

    /// An original cannot be read here: the other replicas are asked. Where none has it the request is refused rather
    /// than answered from half the facts.
    func originalUnreadable(_ token: UInt64, _ what: String) {
        if let inquiry = inquiries.removeValue(forKey: token) { return reply(nil, to: inquiry) }
        guard let read = originalReads.removeValue(forKey: token) else { return }
        if askPeer(for: read) { return }
        read.comparison.isUnreadable = true
        notice(
            .error, "original unreadable",
            [("shard", "\(read.comparison.group.shard)"), ("ordinal", "\(read.ordinal)"), ("what", what)])
        ended(read.comparison)
    }

    private func ended(_ comparison: Comparison) {
        comparison.outstanding -= 1
        if comparison.outstanding == 0 { finish(comparison) }
    }

    private func finish(_ comparison: Comparison) {
        let isQuery = comparison.type == .queryReply
        if isQuery { endRead(comparison.request) } else { release(comparison.request) }
        let reply = comparison.request.reply
        if comparison.isUnreadable {
            return refuse(
                reply, shard: comparison.group.shard, .unavailable, inDoubt: !isQuery,
                message: "the record of an earlier decision cannot be read on this replica")
        }
        guard let connection = connection(reply.connection) else { return }
        metrics.count(comparison.decisions[...])
        connection.output.write { writer in
            comparison.decisions.withUnsafeBufferPointer {
                Decisions.encode(
                    comparison.type, request: reply.request, shard: comparison.group.shard, $0, into: &writer)
            }
        }
        markDirty(connection)
    }
}
