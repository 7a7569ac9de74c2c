import Audit
import ClearingModel

/// A refusal, held against the log for ever after.
struct RefusedForGood: Invariant {
    static let rule =
        "what a client is told is refused was not decided and never will be, unless somebody sends it again (DESIGN, client; "
        + "`RecordResult.refused`)"
    private(set) var tally = Tally()

    /// How often any client sent an id, to have it paid or voided.
    private var attempts: [TransactionID: Int] = [:]
    private var refused: [(id: TransactionID, shard: ShardID)] = []

    mutating func sent(_ id: TransactionID) { attempts[id, default: 0] += 1 }
    func attempts(_ id: TransactionID) -> Int { attempts[id] ?? 0 }

    /// The only attempt ever made was refused; where there were others the log does not tell which of them it holds.
    mutating func refused(_ id: TransactionID, _ shard: ShardID, _ replay: LiveReplay) -> String? {
        guard attempts[id] == 1 else { return nil }
        refused.append((id, shard))
        return look(id, shard, replay)
    }

    /// At the end of a run, when nothing is under way any more.
    mutating func finished(_ replay: LiveReplay) -> String? {
        for (id, shard) in refused where attempts[id] == 1 {
            if let found = look(id, shard, replay) { return found }
        }
        return nil
    }

    private mutating func look(_ id: TransactionID, _ shard: ShardID, _ replay: LiveReplay) -> String? {
        tally.checks += 1
        return replay.decision(of: id, in: shard).map {
            "\(id) was refused, and the log decides \($0.outcome.name) in entry \($0.index), slot \($0.slot)"
        }
    }
}
