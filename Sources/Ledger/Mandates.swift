import ClearingModel
import Wire

/// A mandate as the apply loop sees it.
struct MandateRow: BitwiseCopyable {
    var instructing: UInt32
    var value: UInt32
    var kinds: UInt64
    var maximumAmount: UInt64
    var dailyCap: UInt64
    var version: UInt64
    var scope: UInt8
    var revoked: UInt8

    init(_ one: Versioned<Mandate>) {
        let key = MandateKey(one.record)
        instructing = key.instructing
        value = key.value
        scope = key.scope
        kinds = one.record.kinds.rawValue
        maximumAmount = one.record.maximumAmount
        dailyCap = one.record.dailyCap
        revoked = one.record.revoked ? 1 : 0
        version = one.version.rawValue
    }

    var mandate: Mandate {
        Mandate(
            instructing: ParticipantID(instructing),
            debtors: scope == 0 ? .one(ParticipantID(value)) : .every(ParticipantKind(rawValue: UInt8(value))!),
            kinds: InstructionKinds(rawValue: kinds), maximumAmount: maximumAmount, dailyCap: dailyCap,
            revoked: revoked != 0)
    }

    /// (instructing, scope, value): the canonical order.
    var sortKey: (UInt32, UInt8, UInt32) { (instructing, scope, value) }
}

/// Who may instruct whose debits, as every shard knows it.
final class MandateTable {
    /// Key: instructing | debtor << 32.
    let specific = NumberTable()
    /// Key: instructing | kind of the debtor << 32.
    let classes = NumberTable()
    private(set) var rows: Storage<MandateRow>

    init() {
        let nothing = Mandate(instructing: .none, debtors: .one(.none), maximumAmount: 0)
        rows = Storage(repeating: MandateRow(Versioned(version: .zero, record: nothing)), count: 0)
    }

    var count: Int { rows.count }

    func upsert(_ one: Versioned<Mandate>) {
        let row = MandateRow(one)
        let table = row.scope == 0 ? specific : classes
        let key = Self.key(row.instructing, row.value)
        let known = table.find(key)
        if known >= 0 {
            rows[known] = row
        } else {
            table.insert(key, rows.count)
            rows.append(row)
        }
    }

    /// The row with this identity.
    func find(_ row: (instructing: UInt32, scope: UInt8, value: UInt32)) -> Int? {
        let found = (row.scope == 0 ? specific : classes).find(Self.key(row.instructing, row.value))
        return found < 0 ? nil : found
    }

    @inline(__always)
    static func key(_ instructing: UInt32, _ value: UInt32) -> UInt64 { UInt64(instructing) | UInt64(value) << 32 }

    func slotsByKey() -> [Int] { (0..<count).sorted { rows[$0].sortKey < rows[$1].sortKey } }
}

/// Sums under daily caps of one business day, by mandate and debtor. Counted only while the mandate has a cap.
final class CapUsage {
    struct Row: BitwiseCopyable {
        var mandate: UInt32
        var debtor: UInt32
        var used: UInt64
    }

    private let table = NumberTable()
    let rows = Storage<Row>(repeating: Row(mandate: 0, debtor: 0, used: 0), count: 0)

    private static func key(_ mandate: Int, _ debtor: Int) -> UInt64 { UInt64(mandate) << 32 | UInt64(debtor) }

    /// What is used by the mandate and debtor in these slots.
    func used(mandate: Int, debtor: Int) -> UInt64 {
        let row = table.find(Self.key(mandate, debtor))
        return row < 0 ? 0 : rows[row].used
    }

    func add(_ amount: UInt64, mandate: Int, debtor: Int) {
        let key = Self.key(mandate, debtor)
        let row = table.find(key)
        if row >= 0 {
            rows[row].used += amount
        } else {
            table.insert(key, rows.count)
            rows.append(Row(mandate: UInt32(mandate), debtor: UInt32(debtor), used: amount))
        }
    }
}
