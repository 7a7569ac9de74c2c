import ClearingModel

/// The open credit batches of a shard, one per destination, all in one window: what accepted payments owe creditors
/// elsewhere and no batch has taken yet.
///
/// Every creditor elsewhere has a cell. Cells are ordered by (home, participant) and each home starts at a multiple
/// of 64, so a bit map over the cells yields every destination's lines in order without sorting. Adding costs O(1),
/// closing O(creditors/64 + lines).
final class OpenCredits {
    struct Cell: BitwiseCopyable {
        var amount: UInt64
        var count: UInt64
    }

    private(set) var cells = Storage<Cell>(repeating: Cell(amount: 0, count: 0), count: 0)
    /// Bit i: cell i holds something.
    private(set) var bits = Storage<UInt64>(repeating: 0, count: 0)
    /// Account slot of each cell; −1 between homes.
    private var slotOfCell: [Int32] = []
    /// Cells that hold something, by destination.
    let lineCounts: Storage<UInt32>
    /// Words of `bits` that belong to each destination.
    private var words: [Range<Int>]
    /// The window of everything in the cells.
    var window: WindowID

    init(shardCount: Int, window: WindowID) {
        lineCounts = Storage(repeating: 0, count: shardCount + 1)
        words = Array(repeating: 0..<0, count: shardCount + 1)
        self.window = window
    }

    var isEmpty: Bool { (0..<lineCounts.count).allSatisfy { lineCounts[$0] == 0 } }

    /// Gives every account with a home elsewhere its cell; called when accounts were added.
    func assignCells(_ accounts: AccountTable, shard: ShardID) {
        let elsewhere = (0..<accounts.count).filter { accounts.rows[$0].home != shard.rawValue }.sorted {
            let (a, b) = (accounts.rows[$0], accounts.rows[$1])
            return (a.home, a.id) < (b.home, b.id)
        }
        var slots: [Int32] = []
        var ranges = Array(repeating: 0..<0, count: words.count)
        var next = 0
        while next < elsewhere.count {
            let home = accounts.rows[elsewhere[next]].home
            let start = slots.count / 64
            while next < elsewhere.count, accounts.rows[elsewhere[next]].home == home {
                slots.append(Int32(elsewhere[next]))
                next += 1
            }
            while slots.count % 64 != 0 { slots.append(-1) }
            ranges[Int(home)] = start..<slots.count / 64
        }
        let newCells = Storage<Cell>(repeating: Cell(amount: 0, count: 0), count: slots.count)
        let newBits = Storage<UInt64>(repeating: 0, count: slots.count / 64)
        for (cell, slot) in slots.enumerated() where slot >= 0 {
            let old = Int(accounts.rows[Int(slot)].cell)
            if old >= 0, cells[old].count > 0 {
                newCells[cell] = cells[old]
                newBits[cell / 64] |= 1 << UInt64(cell % 64)
            }
            accounts.rows.base[Int(slot)].cell = Int32(cell)
        }
        cells = newCells
        bits = newBits
        slotOfCell = slots
        words = ranges
    }

    /// Puts a line back into its cell, when a checkpoint is restored; `false` where the cell is taken.
    func put(_ line: CreditLine, account: Account) -> Bool {
        let cell = Int(account.cell)
        guard cells[cell].count == 0 else { return false }
        cells[cell] = Cell(amount: line.amount, count: line.count)
        bits[cell / 64] |= 1 << UInt64(cell % 64)
        lineCounts[Int(account.home)] += 1
        return true
    }

    /// The open lines of a destination, in the order of a batch.
    func lines(for destination: ShardID, _ accounts: AccountTable) -> [CreditLine] {
        collect(destination, accounts, atMost: .max, clearing: false)
    }

    /// Takes up to `limit` lines of a destination out of the cells, in the order of a batch.
    func take(for destination: ShardID, _ accounts: AccountTable, atMost limit: Int) -> [CreditLine] {
        collect(destination, accounts, atMost: limit, clearing: true)
    }

    private func collect(
        _ destination: ShardID, _ accounts: AccountTable, atMost limit: Int, clearing: Bool
    ) -> [CreditLine] {
        let destination = Int(destination.rawValue)
        var lines: [CreditLine] = []
        lines.reserveCapacity(min(Int(lineCounts[destination]), limit))
        for word in words[destination] {
            var rest = bits[word]
            while rest != 0 {
                if lines.count == limit { return lines }
                let bit = rest.trailingZeroBitCount
                rest &= rest - 1
                let cell = word * 64 + bit
                let id = accounts.rows[Int(slotOfCell[cell])].id
                lines.append(
                    CreditLine(
                        participant: ParticipantID(id), window: window, amount: cells[cell].amount,
                        count: cells[cell].count))
                if clearing {
                    cells[cell] = Cell(amount: 0, count: 0)
                    bits[word] = rest
                    lineCounts[destination] -= 1
                }
            }
        }
        return lines
    }
}
