import ClearingModel
import Wire

/// Takes an index section in pieces of any size. Its parts are heads and slots of 16 bytes each.
struct IndexRestore {
    private static let unit = 16
    private var carry: [UInt8] = []
    /// Slots of the part that are still to come, and the day that they belong to; `nil` for one that is not kept.
    private var left = 0
    private var day: Day?

    mutating func add(_ bytes: UnsafeRawBufferPointer, to ledger: ShardLedger) throws(CheckpointError) {
        var bytes = bytes
        do throws(WireError) {
            if !carry.isEmpty {
                let missing = min(Self.unit - carry.count, bytes.count)
                carry.append(contentsOf: bytes[..<missing])
                bytes = UnsafeRawBufferPointer(rebasing: bytes[missing...])
                guard carry.count == Self.unit else { return }
                let unit = Slab(carry)
                carry = []
                try take(unit.bytes, ledger)
                withExtendedLifetime(unit) {}
            }
            let whole = bytes.count / Self.unit * Self.unit
            try take(UnsafeRawBufferPointer(rebasing: bytes[..<whole]), ledger)
            carry.append(contentsOf: bytes[whole...])
        } catch {
            throw .malformed(error)
        }
    }

    /// The section ends here.
    func end() throws(CheckpointError) {
        guard left == 0, carry.isEmpty else {
            throw .malformed(.invalid(field: "end of an index section", value: UInt64(left)))
        }
    }

    private mutating func take(_ units: UnsafeRawBufferPointer, _ ledger: ShardLedger) throws(WireError) {
        var reader = WireReader(units)
        while reader.left > 0 {
            guard left > 0 else {
                let head = try IndexDelta.readHead(&reader)
                left = head.count
                day = ledger.restoredDay(head.day)
                continue
            }
            let count = min(left, reader.left / Self.unit, RecordScratch.blockSize)
            left -= count
            try insert(try reader.raw(count * Self.unit))
        }
    }

    /// Inserts a block of slots.
    private func insert(_ block: UnsafeRawBufferPointer) throws(WireError) {
        day?.partition.lookAhead(block)
        var reader = WireReader(block)
        while reader.left > 0 {
            let slot = try IndexDelta.readSlot(&reader)
            guard let day, !day.partition.insert(slot) else { continue }
            // The same part twice is harmless; two records under one fingerprint are not.
            guard day.partition.find(slot.fingerprint) == slot else {
                throw .invalid(field: "index slot", value: slot.word)
            }
        }
    }
}

extension ShardLedger {
    func restoredDay(_ number: BusinessDay) -> Day? {
        closedDays.first { $0.day == number } ?? days.first { $0.day == number }
    }
}

/// A shard's ledger being restored while its snapshot comes in: the state at once, the index in pieces of any size, so that no
/// turn of the loop does more than one piece's work.
public struct ShardRestore {
    private let ledger: ShardLedger
    private let wanted: [(count: Int, digest: UInt64)]
    private var index = IndexRestore()

    /// Reads the whole state. O(state).
    public init(
        state: Slab, shard: ShardID, cluster: ClusterID, slots: SlotMap, shardCount: Int,
        options: LedgerOptions = LedgerOptions()
    ) throws(CheckpointError) {
        ledger = ShardLedger(shard: shard, cluster: cluster, slots: slots, shardCount: shardCount, options: options)
        wanted = try ledger.restoreState(state)
    }

    /// Adds the next bytes of the index. O(bytes).
    public mutating func add(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        try index.add(bytes, to: ledger)
    }

    /// The ledger, if its index is what the state says; use nothing of this after.
    public func finish() throws(CheckpointError) -> ShardLedger {
        try index.end()
        try ledger.finishRestore(wanted)
        return ledger
    }
}
