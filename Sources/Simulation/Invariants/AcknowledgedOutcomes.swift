import Audit
import ClearingModel
import Engine

/// Every answer that a client got, held against the committed log and the model's decision there.
struct AcknowledgedOutcomes: Invariant {
    static let rule =
        "one id has one outcome for ever, and what was acknowledged is in the committed log with that outcome (DOMAIN, "
        + "invariants 3 and 4; FAULTS, no acknowledged outcome missing or changed)"
    private(set) var tally = Tally()
    private(set) var decided: UInt64 = 0

    /// An answer to a submitted instruction.
    mutating func answered(
        _ instruction: Instruction, _ decision: Decision, _ shard: ShardID, committed: LogIndex, _ replay: LiveReplay
    ) -> String? {
        tally.checks += 1
        var text: String { "\(instruction.id) was answered \(Self.text(decision))" }
        guard decision.shard == shard else { return "\(text), by shard \(shard)" }
        guard let outcome = decision.outcome, let answer = decision.answer else { return "\(text): no known code" }
        switch answer {
        case .decided:
            decided += 1
            return Self.decided(instruction, decision, outcome, shard, committed, replay).map { "\(text), and \($0)" }
        case .duplicate, .idConflict:
            return Self.repeated(instruction, decision, answer, outcome, shard, committed, replay).map {
                "\(text), and \($0)"
            }
        case .chooseAnotherSequence:
            guard let found = replay.decision(of: instruction.id, in: shard) else { return nil }
            return
                "\(text), and the log decides it as \(found.outcome.name) in entry \(found.index), slot \(found.slot)"
        case .expired: return Self.expired(instruction.id, shard, replay).map { "\(text), and \($0)" }
        case .notFound, .needsComparison: return "\(text), which answers no instruction"
        }
    }

    private static func text(_ decision: Decision) -> String {
        "\(decision.answer.map { "\($0)" } ?? "answer \(decision.answerCode)"), "
            + "\(decision.outcome?.name ?? "outcome \(decision.outcomeCode)"), entry \(decision.index), slot "
            + "\(decision.slot) of shard \(decision.shard)"
    }

    /// The record at the answer's place, if it is committed and is what the answer says.
    private static func place(
        _ id: TransactionID, _ decision: Decision, _ shard: ShardID, _ committed: LogIndex, _ replay: LiveReplay
    ) -> (record: ReplayedRecord?, fault: String?) {
        let index = LogIndex(decision.index)
        guard index <= committed else { return (nil, "only entries up to \(committed) are committed") }
        guard let record = replay.record(of: shard, at: index, slot: Int(decision.slot)) else {
            return (nil, "there is no such record")
        }
        guard record.id == id else { return (nil, "the record there is \(record.id)") }
        guard record.ledgerTime == decision.ledgerTime, record.window == decision.window else {
            return (nil, "the entry has ledger time \(record.ledgerTime) and window \(record.window)")
        }
        return (record, nil)
    }

    /// Says nothing about the outcome, and takes nothing back; but an open day has not expired, and no day opens twice.
    private static func expired(_ id: TransactionID, _ shard: ShardID, _ replay: LiveReplay) -> String? {
        replay.openDays(of: shard).contains(id.day) ? "its day is open" : nil
    }

    private static func decided(
        _ instruction: Instruction, _ decision: Decision, _ outcome: Outcome, _ shard: ShardID, _ committed: LogIndex,
        _ replay: LiveReplay
    ) -> String? {
        let (record, fault) = place(instruction.id, decision, shard, committed, replay)
        guard let record else { return fault }
        guard let found = record.outcome else { return "another record had decided the id before" }
        guard found == outcome else { return "the model decides \(found.name)" }
        let stored = replay.instruction(of: shard, at: LogIndex(decision.index), slot: Int(decision.slot))
        return stored == instruction ? nil : "the record there has another body"
    }

    private static func repeated(
        _ instruction: Instruction, _ decision: Decision, _ answer: Answer, _ outcome: Outcome, _ shard: ShardID,
        _ committed: LogIndex, _ replay: LiveReplay
    ) -> String? {
        guard let original = replay.decision(of: instruction.id, in: shard) else { return "nothing decided it before" }
        guard original.index == LogIndex(decision.index), original.slot == Int(decision.slot) else {
            return "the original is entry \(original.index), slot \(original.slot)"
        }
        if let fault = place(instruction.id, decision, shard, committed, replay).fault { return fault }
        guard original.outcome == outcome else { return "the original is \(original.outcome.name)" }
        guard let stored = replay.instruction(of: shard, at: original.index, slot: original.slot) else {
            return "the original cannot be read"
        }
        let isSame = stored == instruction || stored.kind == .queryOrVoid || instruction.kind == .queryOrVoid
        return isSame == (answer == .duplicate) ? nil : "the original has \(isSame ? "the same" : "another") body"
    }

    /// An answer to a query that found the id.
    mutating func queried(
        _ id: TransactionID, _ decision: Decision, _ shard: ShardID, committed: LogIndex, _ replay: LiveReplay
    ) -> String? {
        tally.checks += 1
        var text: String { "a query of \(id) was answered \(Self.text(decision))" }
        if decision.answer == .expired { return Self.expired(id, shard, replay).map { "\(text), and \($0)" } }
        guard decision.answer == .decided || decision.answer == .duplicate, let outcome = decision.outcome else {
            return "\(text), which answers no query"
        }
        guard let found = replay.decision(of: id, in: shard) else { return "\(text), and nothing has decided it" }
        if let fault = Self.place(id, decision, shard, committed, replay).fault { return "\(text), and \(fault)" }
        guard found.index == LogIndex(decision.index), found.slot == Int(decision.slot), found.outcome == outcome else {
            return "\(text), and the log decides \(found.outcome.name) in entry \(found.index), slot \(found.slot)"
        }
        return nil
    }

    /// A client was told that an id's records are gone.
    mutating func expired(_ id: TransactionID, _ shard: ShardID, _ replay: LiveReplay) -> String? {
        tally.checks += 1
        return Self.expired(id, shard, replay).map { "\(id) was called expired, and \($0)" }
    }

    /// At the end of a run: what a replica's index says of an id that was acknowledged.
    mutating func kept(
        _ id: TransactionID, _ outcome: Outcome, by replica: ReplicaID, indexed: Outcome?, isExpired: Bool
    ) -> String? {
        tally.checks += 1
        if indexed == outcome { return nil }
        // The index of its day is gone, as it should be; the log still holds what was acknowledged.
        if indexed == nil, isExpired { return nil }
        return "\(id) was acknowledged as \(outcome.name); at the end \(replica) has "
            + (indexed.map { "\($0.name)" } ?? "no outcome of it")
    }

    /// At the end of a run: nobody is left who could say.
    mutating func nobodyKnows() { tally.unknown += 1 }
}
