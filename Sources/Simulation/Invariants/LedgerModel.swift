import Audit
import ClearingModel

/// The audit's model decides every committed record by itself.
struct LedgerModel: Invariant {
    static let rule =
        "ledgers decide what an independent model decides from the same log (FAULTS, the client's view; DOMAIN, "
        + "invariant 3)"
    private(set) var tally = Tally()

    /// An entry was fed to the model.
    mutating func fed(_ replay: LiveReplay) -> String? { replay.problem }

    /// A replica ended a turn with everything up to here applied.
    mutating func applied(
        _ replica: ReplicaID, _ shard: ShardID, _ index: LogIndex, hash: UInt64, model: UInt64
    ) -> String? {
        tally.checks += 1
        if hash == model { return nil }
        return "shard \(shard), entry \(index): the running hash of \(replica) is \(hash), the model's \(model): an "
            + "outcome or a batch differs"
    }

    /// The whole state of a replica that has applied everything committed.
    mutating func whole(
        _ replica: ReplicaID, _ shard: ShardID, _ index: LogIndex, _ state: UnsafeRawBufferPointer, _ replay: LiveReplay
    ) -> String? {
        tally.checks += 1
        return replay.fault(inState: state, of: shard).map {
            "shard \(shard), entry \(index), state of \(replica): \($0)"
        }
    }
}
