import ClearingModel

/// One file of a simulated disk: what a process reads now, and what the platter would still hold if the power failed.
final class SimulatedFile {
    static let pageSize = 4_096
    static let sectorSize = 512

    private(set) var bytes: [UInt8] = []
    /// Contents as of the last sync of the pages written since, by page; `nil` for a page that did not exist then.
    private var before: [Int: [UInt8]] = [:]
    private var dirtyPages: [Int] = []
    private var syncedCount = 0
    /// Written ranges that a sync made durable, oldest first, as far as damage may choose among them.
    private(set) var settled: [Range<Int>] = []
    private var unsettled: [Range<Int>] = []

    var isDirty: Bool { !dirtyPages.isEmpty || bytes.count != syncedCount }

    init() {}

    /// A copy that shares nothing, as of this moment.
    init(copying other: SimulatedFile) {
        bytes = other.bytes
        before = other.before
        dirtyPages = other.dirtyPages
        syncedCount = other.syncedCount
        settled = other.settled
        unsettled = other.unsettled
    }

    func write(_ data: UnsafeRawBufferPointer, at offset: Int) {
        let end = offset + data.count
        guard data.count > 0 else { return }
        remember(offset..<end)
        if bytes.count < end { bytes.append(contentsOf: repeatElement(0, count: end - bytes.count)) }
        bytes.withUnsafeMutableBytes { target in
            UnsafeMutableRawBufferPointer(rebasing: target[offset..<end]).copyMemory(from: data)
        }
    }

    /// Writes zeros. Where there are zeros already nothing changes, whatever becomes of the write.
    func fill(_ range: Range<Int>) {
        let isZero = bytes.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[range]).allSatisfy { $0 == 0 } }
        guard !isZero else { return }
        [UInt8](repeating: 0, count: range.count).withUnsafeBytes { write($0, at: range.lowerBound) }
    }

    /// Notes that one operation wrote this range: what damage later picks from.
    func wrote(_ range: Range<Int>) { unsettled.append(range) }

    /// Zeros up to `count`; as durable as the file's length.
    func extend(to count: Int) {
        guard bytes.count < count else { return }
        bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
    }

    func sync() {
        before.removeAll(keepingCapacity: true)
        dirtyPages.removeAll(keepingCapacity: true)
        syncedCount = bytes.count
        settled += unsettled
        unsettled.removeAll(keepingCapacity: true)
    }

    /// The power fails: every page that was not synced keeps what it had, has what was written, or a mixture by sector.
    func losePower(_ random: inout SeededRandom) {
        for page in dirtyPages.sorted() {
            guard let old = before[page] else { continue }
            switch random.below(3) {
            case 0: break
            case 1: restore(page, old, sectors: .max)
            default: restore(page, old, sectors: random.next())
            }
        }
        if bytes.count > syncedCount, random.below(2) == 0 {
            bytes.removeLast(Int(random.below(UInt64(bytes.count - syncedCount + 1))))
        }
        sync()
        // What survived of a write that was never synced is nobody's promise: damage does not choose from it.
        settled = settled.filter { $0.upperBound <= bytes.count }
    }

    /// Changes durable bytes behind everybody's back.
    func damage(_ body: (inout [UInt8]) -> Void) { body(&bytes) }

    private func remember(_ range: Range<Int>) {
        for page in range.lowerBound / Self.pageSize...(range.upperBound - 1) / Self.pageSize
        where before[page] == nil {
            let start = min(page * Self.pageSize, bytes.count)
            before[page] = Array(bytes[start..<min(start + Self.pageSize, bytes.count)])
            dirtyPages.append(page)
        }
    }

    private func restore(_ page: Int, _ old: [UInt8], sectors: UInt64) {
        let start = page * Self.pageSize
        for sector in 0..<Self.pageSize / Self.sectorSize where sectors >> UInt64(sector) & 1 == 1 {
            for offset in sector * Self.sectorSize..<(sector + 1) * Self.sectorSize where start + offset < bytes.count {
                bytes[start + offset] = offset < old.count ? old[offset] : 0
            }
        }
    }
}
