import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// The path of a payment through the leader: checked in place, copied once, answered from the entry's decisions.
extension Engine {
    func submit(_ submit: Submit, bytes: Int, _ reply: ReplyAddress, _ connection: Connection) {
        guard let group = clearing(submit.shard), group.isReady else {
            let exists = submit.shard.rawValue > 0 && Int(submit.shard.rawValue) < groups.count
            let isStarting = clearing(submit.shard)?.isLeader == true
            return refuse(reply, shard: submit.shard, !exists ? .wrongShard : isStarting ? .unavailable : .notLeader)
        }
        if phase != .running { return refuse(reply, shard: submit.shard, .shuttingDown) }
        if isDiskFull {
            Site.diskFullRefused.reached()
            return refuse(
                reply, shard: submit.shard, .diskFull, message: "the node's disk is full: free space or move the leader"
            )
        }
        if let refused = check(submit, connection.authority) {
            return refuse(
                reply, shard: submit.shard, refused.code, record: refused.record, message: refused.message)
        }
        guard group.open.records + submit.count <= group.sequence.recordRoom else {
            return refuse(
                reply, shard: submit.shard, .notSupported,
                message: "shard \(submit.shard) has numbered the \(Ordinal.count) records that it can, and decides "
                    + "no more: go on in a new cluster with more shards; what was decided is told to queries")
        }
        guard group.queuedRecords + submit.count <= Limits.shardQueueRecords,
            connection.pendingRequests < Limits.connectionWindowRequests,
            connection.pendingBytes + bytes <= Limits.connectionWindowBytes
        else { return refuse(reply, shard: submit.shard, .overloaded) }
        if !group.open.hasRoom(records: submit.count) {
            // Closing stamps, and a stamp of a clock in doubt would spoil all that follow.
            guard group.raft.mayStamp(now: now, wall: wall) else {
                return refuse(reply, shard: submit.shard, .overloaded)
            }
            group.close(now: now, wall: wall)
        }
        group.open.add(PendingRequest(reply: reply, count: submit.count, bytes: bytes), records: submit.records)
        group.queuedRecords += submit.count
        connection.pendingRequests += 1
        connection.pendingBytes += bytes
        metrics.submittedRecords += UInt64(submit.count)
    }

    /// The checks that need no state, for each record. One bad record refuses the request; none of it is decided.
    private func check(
        _ submit: Submit, _ authority: Authority
    ) -> (code: RefusalCode, record: Int, message: String)? {
        let slots = configuration.topology.slots
        for slot in 0..<submit.count {
            let instruction = submit[slot]
            if let fault = instruction.fault {
                switch fault {
                case .notSupported:
                    return (.notSupported, slot, "a kind, flag or field that this version does not build")
                case .malformed:
                    return (.malformed, slot, "no debtor, no instructing participant, or a query with a body")
                }
            }
            guard authority.mayInstruct(instruction.id.instructing) else {
                return (
                    .unauthorised, slot,
                    "the certificate (\(authority.summary)) does not name participant \(instruction.id.instructing)"
                )
            }
            guard slots.route(instruction.id) == submit.shard else {
                return (.wrongShard, slot, "the id belongs to shard \(slots.route(instruction.id))")
            }
        }
        return nil
    }

    /// Answers one request from its entry's decisions; records whose id was known wait for a comparison with the
    /// original, and so may those of a day that is closed.
    func answer(
        _ request: PendingRequest, of entry: RaftEntry, group: ClearingGroup, decisions: ArraySlice<Decision>
    ) {
        for decision in decisions
        where decision.answerCode == Answer.needsComparison.rawValue
            || decision.outcomeCode == Outcome.dayNotOpen.rawValue
        {
            return compare(request, of: entry, group: group, decisions: Array(decisions))
        }
        release(request)
        guard let connection = connection(request.reply.connection) else { return }
        metrics.count(decisions)
        connection.output.write { writer in
            decisions.withUnsafeBufferPointer {
                Decisions.encode(.submitReply, request: request.reply.request, shard: group.shard, $0, into: &writer)
            }
        }
        markDirty(connection)
    }
}
