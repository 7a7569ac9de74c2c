import ClearingModel
import Wire

// What participants send and hear.
extension Checker {
    /// A client sends an instruction for the first time: also one with an altered body, or another client's id.
    public func sent(client: Int, instruction: Instruction, at: MonotonicTime) {
        realTimeOrder.sent(instruction.id, to: topology.slots.route(instruction.id))
        refusedForGood.sent(instruction.id)
    }

    /// How often any client has sent this id.
    func attempts(_ id: TransactionID) -> Int { refusedForGood.attempts(id) }

    /// A client was told that nothing was decided, and nothing that it sent can still be.
    public func refused(_ instruction: Instruction) {
        guard violation == nil else { return }
        let shard = topology.slots.route(instruction.id)
        report(RefusedForGood.self, refusedForGood.refused(instruction.id, shard, replay))
    }

    /// A client was told that the records of the id's day are gone.
    public func expired(_ instruction: Instruction) {
        guard violation == nil else { return }
        let shard = topology.slots.route(instruction.id)
        report(AcknowledgedOutcomes.self, acknowledgedOutcomes.expired(instruction.id, shard, replay))
    }

    /// A client was told what became of its instruction, whatever the answer.
    public func decided(
        client: Int, instruction: Instruction, decision: Decision, shard: ShardID, sentAt: MonotonicTime
    ) {
        guard violation == nil else { return }
        guard isClearing(shard) else {
            return report(AcknowledgedOutcomes.self, "\(instruction.id) was answered by shard \(shard)")
        }
        report(
            AcknowledgedOutcomes.self,
            acknowledgedOutcomes.answered(
                instruction, decision, shard, committed: references[Int(shard.rawValue)].committed, replay))
        guard violation == nil else { return }
        switch decision.answer {
        case .decided, .duplicate, .idConflict:
            report(
                RealTimeOrder.self,
                realTimeOrder.told(
                    instruction.id, decision, shard, isOwn: decision.answer == .decided, at: now))
        default: break
        }
    }

    /// A query was answered; `nil`: the id is not known.
    public func queried(
        client: Int, id: TransactionID, decision: Decision?, shard: ShardID, sentAt: MonotonicTime
    ) {
        guard violation == nil else { return }
        guard isClearing(shard) else {
            return report(AcknowledgedOutcomes.self, "a query of \(id) was answered by shard \(shard)")
        }
        guard let decision, decision.answer != .notFound else {
            return report(RealTimeOrder.self, realTimeOrder.notFound(id, shard, sentAt: sentAt))
        }
        report(
            AcknowledgedOutcomes.self,
            acknowledgedOutcomes.queried(
                id, decision, shard, committed: references[Int(shard.rawValue)].committed, replay))
        guard violation == nil, decision.answer != .expired else { return }
        report(RealTimeOrder.self, realTimeOrder.told(id, decision, shard, isOwn: false, at: now))
    }

    /// The furthest entry of a shard that any client was told of.
    public func told(of shard: ShardID) -> LogIndex { realTimeOrder.told(of: shard) }

    /// A participant's position was told.
    ///
    /// - Parameter after: what `told(of:)` its home shard was when the request was sent.
    public func positionRead(_ participant: ParticipantID, _ reply: PositionReply, after: LogIndex) {
        guard violation == nil else { return }
        let shard = topology.slots.home(of: participant)
        guard reply.shard == shard, reply.participant == participant else {
            return report(
                AcknowledgedOutcomes.self,
                "the position of participant \(participant) was told by shard \(reply.shard) for \(reply.participant)")
        }
        report(
            RealTimeOrder.self,
            realTimeOrder.position(
                participant, shard, at: reply.applied, after: after,
                committed: references[Int(shard.rawValue)].committed))
    }

    private func isClearing(_ shard: ShardID) -> Bool {
        !shard.isDirectory && Int(shard.rawValue) < references.count
    }
}
