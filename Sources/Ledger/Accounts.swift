import ClearingModel
import Wire

/// One participant as the apply loop sees it. Trivial, so that the loop works on a plain array of them.
struct Account: BitwiseCopyable {
    /// Bits of `rights`.
    static let maySend: UInt8 = 1
    static let mayReceive: UInt8 = 2
    /// This shard holds the position credited.
    static let isHome: UInt8 = 4
    /// This shard decides the participant's debits.
    static let decides: UInt8 = 8
    /// It has a sponsor whose position is not held here: its debits are unsupported.
    static let sponsorElsewhere: UInt8 = 16

    var id: UInt32
    var sponsor: UInt32
    /// Slot of a sponsor held here; −1 = none.
    var sponsorSlot: Int32
    /// Cell of its open credits where another shard is its home; −1 = none.
    var cell: Int32
    var home: UInt16
    var currency: UInt16
    var kind: UInt8
    var status: UInt8
    var rights: UInt8
    var limit: UInt64
    var funding: UInt64
    /// Directory version of its last change.
    var version: UInt64
    /// Sum of the settled windows' nets.
    var settled: Int128
    /// What it may still pay: limit, funding, settled net, posted credits minus posted debits, and the same nets of the
    /// participants that it sponsors here. Kept along, so that a payment costs one comparison and one subtraction.
    var available: Int128

    static let nobody = Account(
        id: 0, sponsor: 0, sponsorSlot: -1, cell: -1, home: 0, currency: 0, kind: 0, status: 0, rights: 0, limit: 0,
        funding: 0, version: 0, settled: 0, available: 0)

    var participant: Participant {
        Participant(
            id: ParticipantID(id), kind: ParticipantKind(rawValue: kind)!, status: ParticipantStatus(rawValue: status)!,
            currency: currency, limit: limit, funding: funding, sponsor: ParticipantID(sponsor))
    }
}

/// What one participant posted in one window.
struct Position: BitwiseCopyable, Equatable {
    var debits: UInt128 = 0
    var credits: UInt128 = 0
    var debitCount: UInt64 = 0
    var creditCount: UInt64 = 0

    var isZero: Bool { self == Position() }
}

/// Positions of one window, by account slot.
final class WindowPositions {
    let id: WindowID
    let rows: Storage<Position>

    init(id: WindowID, accountCount: Int) {
        self.id = id
        rows = Storage(repeating: Position(), count: accountCount)
    }
}

/// All participants that a shard knows, densely numbered in the order in which it met them.
final class AccountTable {
    let table = NumberTable()
    let rows = Storage(repeating: Account.nobody, count: 0)

    var count: Int { rows.count }

    func slot(of id: ParticipantID) -> Int? {
        let slot = table.find(UInt64(id.rawValue))
        return slot < 0 ? nil : slot
    }

    /// Adds or replaces a participant; `true` where it is new. `resolve` must follow.
    func upsert(_ one: Versioned<Participant>, shard: ShardID, slots: SlotMap) -> Bool {
        let participant = one.record
        let known = slot(of: participant.id)
        let home = slots.home(of: participant.id)
        var account = known.map { rows[$0] } ?? .nobody
        account.id = participant.id.rawValue
        account.home = home.rawValue
        account.sponsor = participant.sponsor.rawValue
        account.currency = participant.currency
        account.kind = participant.kind.rawValue
        account.status = participant.status.rawValue
        account.limit = participant.limit
        account.funding = participant.funding
        account.version = one.version.rawValue
        account.rights = 0
        // A regulator reads and moves no money, whatever its status.
        if participant.kind != .regulator {
            if participant.status.maySend { account.rights |= Account.maySend }
            if participant.status.mayReceive { account.rights |= Account.mayReceive }
        }
        if home == shard { account.rights |= Account.isHome }
        // One lane today: all sequences of a participant route alike.
        if slots.route(participant.id, sequence: 0) == shard { account.rights |= Account.decides }
        if let known {
            rows[known] = account
            return false
        }
        table.insert(UInt64(account.id), rows.count)
        rows.append(account)
        return true
    }

    /// Looks up every sponsor and sums what everybody may pay. O(participants × windows), after each change of the
    /// directory.
    func resolve(_ windows: [WindowPositions]) {
        for slot in 0..<count {
            rows.base[slot].sponsorSlot = -1
            rows.base[slot].rights &= ~Account.sponsorElsewhere
            rows.base[slot].available =
                Int128(rows[slot].limit) + Int128(rows[slot].funding) + net(slot, windows)
        }
        for slot in 0..<count where rows[slot].sponsor != 0 {
            guard let sponsor = self.slot(of: ParticipantID(rows[slot].sponsor)),
                rows[sponsor].rights & Account.isHome != 0
            else {
                rows.base[slot].rights |= Account.sponsorElsewhere
                continue
            }
            rows.base[slot].sponsorSlot = Int32(sponsor)
            rows.base[sponsor].available += net(slot, windows)
        }
    }

    /// Settled net plus posted credits minus posted debits.
    private func net(_ slot: Int, _ windows: [WindowPositions]) -> Int128 {
        windows.reduce(rows[slot].settled) { $0 + Int128($1.rows[slot].credits) - Int128($1.rows[slot].debits) }
    }

    /// Slots in ascending order of ids: the canonical order.
    func slotsByID() -> [Int] { (0..<count).sorted { rows[$0].id < rows[$1].id } }
}
