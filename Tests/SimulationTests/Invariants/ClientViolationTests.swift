import ClearingModel
import Engine
import Simulation
import Testing
import Wire

@Suite("The checker finds answers that must not be")
struct ClientViolationTests {
    /// A history with one more payment, and what it was answered.
    private func paid(telling: Bool = true) throws -> (ForgedHistory, Instruction, Decision) {
        let history = try ForgedHistory()
        let payment = history.payments.payment(100, from: 1, to: 2)
        history.payments.isSilent = !telling
        let decision = try #require(history.payments.decide(payment))
        history.payments.isSilent = false
        return (history, payment, decision)
    }

    private func answer(_ history: ForgedHistory, _ payment: Instruction, _ decision: Decision) {
        history.checker.decided(
            client: 1, instruction: payment, decision: decision,
            shard: history.payments.cluster.topology.slots.route(payment.id), sentAt: history.payments.cluster.now)
    }

    @Test("another outcome than the log's")
    func otherOutcome() throws {
        var (history, payment, decision) = try paid()
        decision.outcomeCode = Outcome.insufficientFunds.rawValue
        answer(history, payment, decision)
        history.expect("AcknowledgedOutcomes", "the model decides accepted")
    }

    @Test("a place that holds nothing, another record, or nothing committed")
    func otherPlace() throws {
        for (text, change) in [
            ("no such record", { $0.slot += 1 }), ("the record there is", { $0.index -= 1 }),
            ("are committed", { $0.index += 1_000 }),
        ] as [(String, (inout Decision) -> Void)] {
            var (history, payment, decision) = try paid()
            // Two payments behind each other, so that the entry before holds a record as well.
            if text.hasPrefix("the record") {
                let next = history.payments.payment(101, from: 1, to: 2)
                decision = try #require(history.payments.decide(next))
                payment = next
                var index = decision.index - 1
                let first = try #require(history.payments.decide(history.payments.payment(100, from: 1, to: 2)))
                index = first.index
                decision.index = index
                decision.ledgerTime = first.ledgerTime
            } else {
                change(&decision)
            }
            answer(history, payment, decision)
            history.expect("AcknowledgedOutcomes", text)
        }
    }

    @Test("an id that is said to be decided twice, or whose conflict is none")
    func otherAnswer() throws {
        for (text, answerGiven) in [("same body", Answer.idConflict), ("answers no instruction", .notFound)] {
            var (history, payment, decision) = try paid()
            decision.answerCode = answerGiven.rawValue
            answer(history, payment, decision)
            history.expect("AcknowledgedOutcomes", text)
        }
        let (history, payment, decision) = try paid()
        var altered = payment
        altered.amount += 1
        answer(history, altered, decision)
        history.expect("AcknowledgedOutcomes", "another body")
    }

    @Test("an id of an open day that is called expired")
    func expiredToday() throws {
        var (history, payment, decision) = try paid()
        decision.answerCode = Answer.expired.rawValue
        answer(history, payment, decision)
        history.expect("AcknowledgedOutcomes", "its day is open")
        let (other, same, _) = try paid()
        other.checker.expired(same)
        other.expect("AcknowledgedOutcomes", "its day is open")
    }

    @Test("a refusal of what was decided, at once or later")
    func refusedAndDecided() throws {
        let (history, payment, _) = try paid()
        history.checker.refused(payment)
        history.expect("RefusedForGood", "the log decides accepted")

        let early = try ForgedHistory()
        let next = early.payments.payment(100, from: 1, to: 2)
        early.checker.sent(client: 1, instruction: next, at: early.payments.cluster.now)
        early.checker.refused(next)
        #expect(early.checker.violation == nil)
        early.payments.isSilent = true
        _ = try #require(early.payments.decide(next))
        early.checker.finished()
        early.expect("RefusedForGood", "the log decides accepted")
    }

    @Test("a refused id that was sent again is nobody's lie")
    func refusedAndSentAgain() throws {
        let history = try ForgedHistory()
        let payment = history.payments.payment(100, from: 1, to: 2)
        history.checker.sent(client: 1, instruction: payment, at: history.payments.cluster.now)
        history.checker.refused(payment)
        _ = try #require(history.payments.decide(payment))
        history.checker.finished()
        #expect(history.checker.violation == nil)
    }

    @Test("a position from before what was told, or from after what is committed")
    func stalePosition() throws {
        for (text, distance) in [("told as of entry", -1), ("which has committed", 1_000)] {
            let (history, payment, _) = try paid()
            let shard = history.payments.cluster.topology.slots.route(payment.id)
            let told = history.checker.told(of: shard)
            let participant = payment.id.debtor
            #expect(history.payments.cluster.topology.slots.home(of: participant) == shard)
            func read(at applied: LogIndex) {
                history.checker.positionRead(
                    participant,
                    PositionReply(
                        participant: participant, shard: shard, status: .active, currency: 156, applied: applied,
                        directoryVersion: DirectoryVersion(1), funding: 0, limit: 0, available: 0, rows: []),
                    after: told)
            }
            read(at: told)
            #expect(history.checker.violation == nil)
            read(at: LogIndex(UInt64(Int(told.rawValue) + distance)))
            history.expect("RealTimeOrder", text)
        }
    }

    @Test("an original that does not exist")
    func unknownOriginal() throws {
        var (history, _, decision) = try paid()
        decision.answerCode = Answer.duplicate.rawValue
        answer(history, history.payments.payment(999, from: 1, to: 2), decision)
        history.expect("AcknowledgedOutcomes", "nothing decided it before")
    }

    @Test("an acknowledged id that a replica does not know at the end")
    func forgotten() throws {
        let (history, _, _) = try paid()
        history.payments.cluster.run(milliseconds: 500)
        history.show(history.follower, restarted: true) { $0.forgetsIDs = true }
        history.checker.finished()
        history.expect("AcknowledgedOutcomes", "no outcome of it")
    }

    @Test("a payment in front of one that was acknowledged before it was sent")
    func realTimeOrder() throws {
        let (history, first, decision) = try paid(telling: false)
        let second = history.payments.payment(101, from: 1, to: 2)
        try #require(history.payments.decide(second) != nil)
        history.checker.sent(client: 1, instruction: first, at: history.payments.cluster.now)
        answer(history, first, decision)
        history.expect("RealTimeOrder", "when it was first sent")
    }

    @Test("a query that misses what was acknowledged before it was sent, and one with another outcome")
    func queries() throws {
        let (history, payment, _) = try paid()
        let shard = history.payments.cluster.topology.slots.route(payment.id)
        let later = history.payments.cluster.now + .milliseconds(5)
        history.checker.queried(client: 1, id: payment.id, decision: nil, shard: shard, sentAt: later)
        history.expect("RealTimeOrder", "found nothing")

        let (other, known, decision) = try paid()
        var wrong = decision
        wrong.outcomeCode = Outcome.voided.rawValue
        other.checker.queried(client: 1, id: known.id, decision: wrong, shard: shard, sentAt: later)
        other.expect("AcknowledgedOutcomes", "the log decides accepted")
    }

    @Test("nothing where nothing was acknowledged, and does not call that valid")
    func nothingAcknowledged() throws {
        let cluster = try CheckedCluster()
        cluster.run(milliseconds: 2_000)
        #expect(cluster.checker.verdict == .valid)
        cluster.checker.finished()
        #expect(cluster.checker.violation == nil && cluster.checker.verdict == .unknown)
        #expect(cluster.checker.coverage.idle.contains("AcknowledgedOutcomes"))
    }
}
