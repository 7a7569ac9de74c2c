/// Growable dense storage of trivial elements whose address loops take once.
///
/// An array's buffer would do, but the apply loop works on a dozen of them at a time: nesting a dozen closures costs
/// more in reading than this type. `base` changes only in `append` and `resize`.
final class Storage<Element: BitwiseCopyable> {
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var count: Int
    private var capacity: Int

    init(repeating value: Element, count: Int) {
        capacity = max(count, 8)
        base = .allocate(capacity: capacity)
        base.initialize(repeating: value, count: count)
        self.count = count
    }

    deinit { base.deallocate() }

    subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "storage index")
            return base[index]
        }
        set {
            precondition(index >= 0 && index < count, "storage index")
            base[index] = newValue
        }
    }

    func append(_ value: Element) {
        if count == capacity { grow(to: capacity * 2) }
        (base + count).initialize(to: value)
        count += 1
    }

    /// Grows to `newCount` elements, new ones holding `value`; never shrinks.
    func resize(to newCount: Int, filling value: Element) {
        guard newCount > count else { return }
        if newCount > capacity { grow(to: max(newCount, capacity * 2)) }
        (base + count).initialize(repeating: value, count: newCount - count)
        count = newCount
    }

    private func grow(to newCapacity: Int) {
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: newCapacity)
        grown.moveInitialize(from: base, count: count)
        base.deallocate()
        base = grown
        capacity = newCapacity
    }
}

/// Open addressing from a 64-bit key to a dense number: linear probing, at most half full, nothing is ever removed.
final class NumberTable {
    struct Cell: BitwiseCopyable {
        var key: UInt64
        /// The number plus one; 0 = the cell is free.
        var value: UInt32
    }

    /// What a loop needs for look-ups: take it once; it is stale after an insertion.
    struct Reader {
        let cells: UnsafeMutablePointer<Cell>
        let mask: Int
        let shift: UInt64

        /// The number of a key, −1 where it is unknown. The table is never full, so the probe ends.
        @inline(__always)
        func find(_ key: UInt64) -> Int {
            var at = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) &>> shift)
            while true {
                let cell = cells[at]
                if cell.key == key && cell.value != 0 { return Int(cell.value) &- 1 }
                if cell.value == 0 { return -1 }
                at = (at &+ 1) & mask
            }
        }
    }

    private var cells: UnsafeMutablePointer<Cell>
    private var bits = 4
    private(set) var count = 0

    init() {
        cells = .allocate(capacity: 16)
        cells.initialize(repeating: Cell(key: 0, value: 0), count: 16)
    }

    deinit { cells.deallocate() }

    var reader: Reader { Reader(cells: cells, mask: 1 << bits - 1, shift: UInt64(64 - bits)) }

    func find(_ key: UInt64) -> Int { reader.find(key) }

    /// Adds a key that is not there.
    func insert(_ key: UInt64, _ number: Int) {
        precondition(number >= 0 && number < Int(UInt32.max), "a dense number has 32 bits")
        if (count + 1) * 2 > 1 << bits { grow() }
        place(Cell(key: key, value: UInt32(number) + 1))
        count += 1
    }

    private func place(_ cell: Cell) {
        let mask = (1 << bits) - 1
        var at = Int(truncatingIfNeeded: (cell.key &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - bits))
        while cells[at].value != 0 {
            precondition(cells[at].key != cell.key, "a key is inserted once")
            at = (at + 1) & mask
        }
        cells[at] = cell
    }

    private func grow() {
        let old = cells
        let oldCount = 1 << bits
        bits += 1
        cells = .allocate(capacity: oldCount * 2)
        cells.initialize(repeating: Cell(key: 0, value: 0), count: oldCount * 2)
        for at in 0..<oldCount where old[at].value != 0 { place(old[at]) }
        old.deallocate()
    }
}
