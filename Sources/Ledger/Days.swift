import ClearingModel
import Wire

/// One business day of a shard: its part of the transaction index, what was added to it since the last checkpoint,
/// and the sums under daily caps.
final class Day {
    let day: BusinessDay
    /// The entry that opened it: checkpoints before it hold nothing of its index.
    let openedAt: LogIndex
    let partition = IndexPartition()
    var caps = CapUsage()
    let delta: IndexDelta

    init(_ day: BusinessDay, openedAt: LogIndex) {
        self.day = day
        self.openedAt = openedAt
        delta = IndexDelta(day)
    }
}

/// Slots added to one day's index since the last checkpoint, in slabs of at most 1 MiB that a checkpoint takes as
/// they are.
final class IndexDelta {
    static let headerSize = 16
    static let maximumSlots = 65_535

    private let day: BusinessDay
    private var full: [Slab] = []
    private var open = WireWriter()
    private var openCount = 0

    init(_ day: BusinessDay) { self.day = day }

    func append(_ slots: UnsafeBufferPointer<IndexSlot>) {
        var rest = slots
        while rest.count > 0 {
            if openCount == 0 { begin() }
            let part = UnsafeBufferPointer(rebasing: rest.prefix(Self.maximumSlots - openCount))
            open.raw(UnsafeRawBufferPointer(part))
            openCount += part.count
            if openCount == Self.maximumSlots { close() }
            rest = UnsafeBufferPointer(rebasing: rest[part.count...])
        }
    }

    /// Everything since the last call.
    func drain() -> [Slab] {
        close()
        defer { full = [] }
        return full
    }

    private func begin() {
        open.u16(1)
        open.id(day)
        open.u32(0)
        open.u64(0)
    }

    private func close() {
        guard openCount > 0 else { return }
        open.patch(u32: UInt32(openCount), at: 4)
        full.append(Slab(open.bytes))
        open.bytes.removeAll(keepingCapacity: true)
        openCount = 0
    }

    /// Reads what stands in front of a part of an index section: its day, and how many slots follow.
    static func readHead(_ reader: inout WireReader) throws(WireError) -> (day: BusinessDay, count: Int) {
        let schema = try reader.u16()
        guard schema == 1 else { throw .invalid(field: "index delta schema", value: UInt64(schema)) }
        let day: BusinessDay = try reader.id()
        let count = try reader.count("index slots", atMost: maximumSlots)
        let reserved = try reader.u64()
        guard reserved == 0 else { throw .invalid(field: "index delta reserved", value: reserved) }
        return (day, count)
    }

    static func readSlot(_ reader: inout WireReader) throws(WireError) -> IndexSlot {
        let slot = IndexSlot(fingerprint: try reader.u64(), word: try reader.u64())
        guard slot.outcome != nil else { throw .invalid(field: "index slot", value: slot.word) }
        return slot
    }
}

/// A day as the apply loop sees it.
struct DayRow: BitwiseCopyable {
    var day: UInt16
    /// Ledger time of the day's first instant, in microseconds.
    var start: UInt64
    var reader: IndexPartition.Reader
    /// Slots written in this block of records, not yet handed to partition and delta.
    var fresh: UnsafeMutablePointer<IndexSlot>
    var freshCount: Int
    var freshDigest: UInt64
}
