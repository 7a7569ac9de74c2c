/// Growable storage of plain values whose address a loop may take; `base` changes only where it grows.
final class Column<Element: BitwiseCopyable> {
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var count = 0
    private var capacity = 16

    init() { base = .allocate(capacity: capacity) }
    deinit { base.deallocate() }

    subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "a row beyond the column")
            return base[index]
        }
        set {
            precondition(index >= 0 && index < count, "a row beyond the column")
            base[index] = newValue
        }
    }

    func append(_ value: Element) {
        if count == capacity { reserve(capacity * 2) }
        (base + count).initialize(to: value)
        count += 1
    }

    func append(repeating value: Element, count more: Int) {
        reserve(count + more)
        (base + count).initialize(repeating: value, count: more)
        count += more
    }

    func reserve(_ wanted: Int) {
        guard wanted > capacity else { return }
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: max(wanted, capacity * 2))
        grown.moveInitialize(from: base, count: count)
        base.deallocate()
        base = grown
        capacity = max(wanted, capacity * 2)
    }
}

/// From a 64-bit key to a row number: open addressing, never more than half full.
struct RowMap {
    private var keys: [UInt64] = Array(repeating: 0, count: 16)
    private var rows: [Int32] = Array(repeating: -1, count: 16)
    private var shift: UInt64 = 60
    private(set) var count = 0

    /// −1 where the key is unknown.
    @inline(__always)
    func find(_ key: UInt64) -> Int {
        let mask = keys.count &- 1
        var at = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> shift)
        while rows[at] >= 0 {
            if keys[at] == key { return Int(rows[at]) }
            at = (at &+ 1) & mask
        }
        return -1
    }

    /// Adds a key that is not there.
    mutating func insert(_ key: UInt64, _ row: Int) {
        if count * 2 >= keys.count {
            let (oldKeys, oldRows) = (keys, rows)
            keys = Array(repeating: 0, count: oldKeys.count * 2)
            rows = Array(repeating: -1, count: oldKeys.count * 2)
            shift -= 1
            for at in oldKeys.indices where oldRows[at] >= 0 { place(oldKeys[at], oldRows[at]) }
        }
        place(key, Int32(row))
        count += 1
    }

    private mutating func place(_ key: UInt64, _ row: Int32) {
        var at = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> shift)
        while rows[at] >= 0 { at = (at + 1) & (keys.count - 1) }
        keys[at] = key
        rows[at] = row
    }
}

/// The 16 bytes of a transaction id as two words.
struct IDWords: Equatable, BitwiseCopyable {
    var parties: UInt64
    var dayAndSequence: UInt64

    @inline(__always)
    var hash: UInt64 {
        var h = (parties ^ (dayAndSequence &* 0xC2B2_AE3D_27D4_EB4F)) &* 0x9E37_79B9_7F4A_7C15
        h ^= h >> 29
        h = (h &+ dayAndSequence) &* 0xBF58_476D_1CE4_E5B9
        return h ^ h >> 32
    }
}

/// Which record decided an id: 8 bytes a record, as tens of millions must fit in memory.
///
/// A cell has 32 bits of the id's hash and the record's ordinal; the id itself is compared with the record in the log, which is
/// needed only for ids that are asked again and for one in a few hundred that collide.
final class IDTable {
    private var cells: UnsafeMutablePointer<UInt64>
    private var bits: UInt64 = 10
    private(set) var count = 0

    init() {
        cells = .allocate(capacity: 1 << 10)
        cells.initialize(repeating: 0, count: 1 << 10)
    }

    deinit { cells.deallocate() }

    /// The ordinal under which the id was decided, and the free cell where it belongs if it was not.
    @inline(__always)
    func find(_ id: IDWords, hash: UInt64, verify: (UInt64) -> Bool) -> (ordinal: UInt64?, cell: Int) {
        let high = hash >> 32
        let mask = 1 << Int(bits) &- 1
        var at = Int(high >> (32 &- bits))
        while cells[at] != 0 {
            if cells[at] >> 32 == high, verify((cells[at] & 0xFFFF_FFFF) &- 1) {
                return ((cells[at] & 0xFFFF_FFFF) &- 1, at)
            }
            at = (at &+ 1) & mask
        }
        return (nil, at)
    }

    /// Fetches the cell of an id that will be looked up soon.
    @inline(__always)
    func touch(_ hash: UInt64) -> UInt64 { cells[Int((hash >> 32) >> (32 &- bits))] }

    /// Makes room for `more` ids; call before the look-ups whose cells are then filled.
    func reserve(_ more: Int) {
        while (count + more) * 3 > 2 << bits { grow() }
    }

    /// Fills the free cell that `find` gave.
    @inline(__always)
    func fill(_ cell: Int, hash: UInt64, ordinal: UInt64) {
        precondition(ordinal < 0xFFFF_FFFF, "the audit holds 2³² − 1 records of a shard at most")
        cells[cell] = (hash >> 32) << 32 | (ordinal &+ 1)
        count &+= 1
    }

    private func grow() {
        precondition(bits < 32, "the audit holds 2³² − 1 records of a shard at most")
        let old = UnsafeMutableBufferPointer(start: cells, count: 1 << Int(bits))
        bits += 1
        cells = .allocate(capacity: 1 << Int(bits))
        cells.initialize(repeating: 0, count: 1 << Int(bits))
        let mask = 1 << Int(bits) - 1
        for cell in old where cell != 0 {
            var at = Int((cell >> 32) >> (32 - bits))
            while cells[at] != 0 { at = (at + 1) & mask }
            cells[at] = cell
        }
        old.deallocate()
    }
}
