import ClearingModel
import Client

/// How one decision reads, for people and as JSON.
enum PaymentText {
    /// The fields of a journal line, and the answer and ISO reason beside them.
    static func json(_ id: TransactionID, _ result: RecordResult) -> String {
        switch result {
        case .decided(let decision), .conflict(let decision):
            let reason = decision.outcome?.isoReason.map { "\"\($0)\"" } ?? "null"
            return "{\"id\": \"\(id)\", \"outcome\": \"\(name(decision))\", \"answer\": \"\(answer(decision))\""
                + ", \"isoReason\": \(reason), \"shard\": \(decision.shard.rawValue), \"index\": \(decision.index)"
                + ", \"slot\": \(decision.slot), \"window\": \(decision.window)"
                + ", \"ledgerTime\": \(decision.ledgerTime)}"
        case .refused(let code): return "{\"id\": \"\(id)\", \"outcome\": \"notDecided\", \"reason\": \"\(code.name)\"}"
        case .unknown: return "{\"id\": \"\(id)\", \"outcome\": \"unknown\"}"
        case .expired: return "{\"id\": \"\(id)\", \"outcome\": \"unknown\", \"reason\": \"expired\"}"
        }
    }

    static func text(_ id: TransactionID, _ result: RecordResult) -> String {
        switch result {
        case .decided(let decision): return "\(id)  \(describe(decision))"
        case .conflict(let decision):
            return "\(id)  refused: this id was decided before with another body (AM05); "
                + "the original: \(describe(decision))"
        case .refused(let code): return "\(id)  not decided: \(code.name); the id is free"
        case .unknown:
            return "\(id)  unknown: no answer in time. It may have been accepted: ask again with "
                + "'suanpan transaction \(id)'"
        case .expired: return "\(id)  expired: its day is older than the records that are kept"
        }
    }

    static func describe(_ decision: Decision) -> String {
        switch decision.answer {
        case .notFound: return "not found; not final: 'suanpan transaction ID --void' makes it so"
        case .expired: return "expired: its day is older than the records that are kept"
        case .chooseAnotherSequence: return "not decided: choose another sequence"
        default: break
        }
        var text = name(decision)
        if let reason = decision.outcome?.isoReason { text += " (\(reason), \(decision.outcome!.row.disposition))" }
        if decision.answer == .duplicate { text += ", decided before" }
        return text + " in shard \(decision.shard), index \(decision.index), slot \(decision.slot), window "
            + "\(decision.windowID), ledger time \(time(decision.ledgerTime)) UTC"
    }

    static func name(_ decision: Decision) -> String {
        decision.outcome?.name ?? "unknown outcome \(decision.outcomeCode)"
    }

    private static func answer(_ decision: Decision) -> String { decision.answer.map { "\($0)" } ?? "unknown" }

    /// `HH:MM:SS.mmm` of the day.
    static func time(_ time: WallTime) -> String {
        let milliseconds = time.milliseconds % 86_400_000
        func pad(_ value: UInt64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: width - digits.count) + digits
        }
        return pad(milliseconds / 3_600_000, 2) + ":" + pad(milliseconds / 60_000 % 60, 2) + ":"
            + pad(milliseconds / 1_000 % 60, 2) + "." + pad(milliseconds % 1_000, 3)
    }

    /// 0 accepted, 2 unknown, 1 everything else.
    static func exitStatus(_ result: RecordResult) -> Int32 {
        switch result {
        case .decided(let decision): decision.outcome?.isAccepted == true ? ExitStatus.ok : ExitStatus.failed
        case .unknown, .expired: ExitStatus.unknown
        default: ExitStatus.failed
        }
    }
}
