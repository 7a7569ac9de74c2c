import ClearingModel
import Simulation
import Testing

@Suite("New work in the liveness phase")
struct NewWorkTests {
    private func decision(_ shard: UInt16, _ outcome: Outcome) -> Decision {
        Decision(
            outcome: outcome, answer: .decided, slot: 0, window: WindowID(scheme: .domestic, number: 1),
            index: LogIndex(1),
            shard: ShardID(shard), ledgerTime: .zero)
    }

    @Test("is missed where a shard accepts none of it, whatever else it decides")
    func missing() {
        var work = NewWork(shards: 2)
        #expect(work.missing.isEmpty)
        for _ in 0..<10 {
            work.sent(to: ShardID(1))
            work.sent(to: ShardID(2))
        }
        work.answered(decision(1, .accepted))
        work.answered(decision(2, .dayNotOpen))
        #expect(work.missing == ["shard 2 accepted none of 10 new payments"])
        work.answered(decision(2, .accepted))
        #expect(work.missing.isEmpty)
    }

    @Test("does not come from duplicates")
    func duplicates() {
        var work = NewWork(shards: 1)
        for _ in 0..<10 { work.sent(to: ShardID(1)) }
        var again = decision(1, .accepted)
        again.answerCode = Answer.duplicate.rawValue
        work.answered(again)
        #expect(work.missing.count == 1)
    }
}
