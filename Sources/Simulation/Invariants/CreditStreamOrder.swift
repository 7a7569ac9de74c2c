import Audit
import ClearingModel
import Engine
import Ledger

/// Both sides of every stream of credit batches, against what the committed logs say.
struct CreditStreamOrder: Invariant {
    static let rule =
        "no credit is applied twice or out of order, none is forgotten before it was applied (DESIGN, crossing shards; "
        + "FAULTS, no credit applied twice)"
    private(set) var tally = Tally()
    private let shards: Int
    /// By stream, by batch number − 1: the hash with which a replica first stood there; 0 = none did.
    private var hashes: [[UInt64]]

    init(shards: Int) {
        self.shards = shards
        hashes = Array(repeating: [], count: shards * shards)
    }

    /// A replica of the destination ended a turn; `before` is its cursor after the turn before, in this life.
    mutating func incoming(
        _ replica: ReplicaID, from source: ShardID, to destination: ShardID, before: BatchNumber, now: CreditCursor,
        model: (closed: UInt64, applied: UInt64, confirmed: UInt64)
    ) -> String? {
        tally.checks += 1
        var stream: String { "stream \(source) to \(destination), \(replica)" }
        if now.number < before { return "\(stream): the cursor went from \(before) back to \(now.number)" }
        if now.number.rawValue > min(model.closed, model.applied) {
            return "\(stream): applied batch \(now.number); the committed logs close \(model.closed) and apply "
                + "\(model.applied)"
        }
        guard now.number > .zero else { return nil }
        let slot = Int(source.rawValue) * shards + Int(destination.rawValue)
        let at = Int(now.number.rawValue) - 1
        while hashes[slot].count <= at { hashes[slot].append(0) }
        if hashes[slot][at] == 0 { hashes[slot][at] = now.hash }
        if hashes[slot][at] == now.hash { return nil }
        return "\(stream): batch \(now.number) hashes to \(now.hash), a replica before it applied \(hashes[slot][at])"
    }

    /// A replica of the source ended a turn; `before` is where it stood after the turn before, in this life.
    mutating func outgoing(
        _ replica: ReplicaID, from source: ShardID, to destination: ShardID, before: StreamInspection,
        now: StreamInspection, model: (closed: UInt64, applied: UInt64, confirmed: UInt64)
    ) -> String? {
        let (closed, confirmed) = (now.closed, now.confirmed)
        tally.checks += 1
        var stream: String { "stream \(source) to \(destination), \(replica)" }
        if closed < before.closed || confirmed < before.confirmed {
            return
                "\(stream): closed \(before.closed), confirmed \(before.confirmed) went back to \(closed), \(confirmed)"
        }
        if closed.rawValue > model.closed || confirmed > closed {
            return "\(stream): closed \(closed), confirmed \(confirmed); the committed log closes \(model.closed)"
        }
        if confirmed.rawValue > min(model.applied, model.confirmed) {
            return "\(stream): forgot batches up to \(confirmed); the destination applied \(model.applied), and "
                + "\(model.confirmed) are confirmed in the log"
        }
        if closed.rawValue - confirmed.rawValue > UInt64(Limits.maximumUnconfirmedBatches) {
            return "\(stream): \(closed.rawValue - confirmed.rawValue) batches are unconfirmed"
        }
        return nil
    }
}
