import ClearingModel

/// One file of a simulated disk: what a process reads now, and what the platter would still hold if the power failed.
final class SimulatedFile {
    static let pageSize = 4_096
    static let sectorSize = 512

    /// Zeroed where no byte of the file is, so that a file grows without a copy.
    private var storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    @exclusivity(unchecked) private(set) var count = 0
    /// Pages from here on were never written: they are zeros.
    @exclusivity(unchecked) private var blankFrom = 0
    /// Pages written since the last sync, and where in `images` their contents as of that sync stand.
    @exclusivity(unchecked) private var dirty: [(page: Int, image: Range<Int>)] = []
    @exclusivity(unchecked) private var images: [UInt8] = []
    /// By page: the number of syncs after which it was written first, so that nobody has to search for it.
    @exclusivity(unchecked) private var dirtySince: [Int] = []
    @exclusivity(unchecked) private var syncs = 1
    @exclusivity(unchecked) private var syncedCount = 0
    /// Pages that a failed sync left behind, with what the platter has of them: processes read the newer contents for as long as the
    /// page cache keeps them, and nobody writes those again (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
    private var phantoms: [(page: Int, platter: [UInt8])] = []
    /// Written ranges that a sync made durable, oldest first, as far as damage may choose among them.
    @exclusivity(unchecked) private(set) var settled: [Range<Int>] = []
    @exclusivity(unchecked) private var unsettled: [Range<Int>] = []

    init() {}

    deinit { storage.deallocate() }

    /// What a process reads; valid until the file is next changed.
    var contents: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[..<count]) }

    func write(_ data: UnsafeRawBufferPointer, at offset: Int) {
        let end = offset + data.count
        guard data.count > 0 else { return }
        remember(offset..<end)
        if count < end { grow(to: end) }
        UnsafeMutableRawBufferPointer(rebasing: storage[offset..<end]).copyMemory(from: data)
    }

    /// Writes zeros. On pages that were never written nothing changes, whatever becomes of the write.
    func fill(_ range: Range<Int>) {
        guard range.lowerBound < blankFrom * Self.pageSize else { return }
        [UInt8](repeating: 0, count: range.count).withUnsafeBytes { write($0, at: range.lowerBound) }
    }

    /// Notes that one operation wrote this range: what damage later picks from.
    func wrote(_ range: Range<Int>) { unsettled.append(range) }

    /// Zeros up to `count`; as durable as the file's length.
    func extend(to count: Int) {
        if self.count < count { grow(to: count) }
    }

    private func grow(to count: Int) {
        if count > storage.count {
            let larger = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(count, 2 * storage.count), alignment: 16)
            larger.copyMemory(from: contents)
            UnsafeMutableRawBufferPointer(rebasing: larger[self.count...]).initializeMemory(
                as: UInt8.self, repeating: 0)
            storage.deallocate()
            storage = larger
        }
        self.count = count
    }

    private func cut(to count: Int) {
        UnsafeMutableRawBufferPointer(rebasing: storage[count..<self.count]).initializeMemory(
            as: UInt8.self, repeating: 0)
        self.count = count
    }

    func sync() {
        dirty.removeAll(keepingCapacity: true)
        images.removeAll(keepingCapacity: true)
        syncs += 1
        syncedCount = count
        settled += unsettled
        unsettled.removeAll(keepingCapacity: true)
    }

    /// A sync fails: what it was to write counts as written for the system, and some of it is not.
    func failSync() {
        for (page, image) in dirty { phantoms.append((page, Array(images[image]))) }
        dirty.removeAll(keepingCapacity: true)
        images.removeAll(keepingCapacity: true)
        unsettled.removeAll(keepingCapacity: true)
        syncs += 1
    }

    /// The page cache is gone: what stands on the platter is read. Returns whether that is something else.
    func dropCache(_ random: inout SeededRandom) -> Bool {
        guard !phantoms.isEmpty else { return false }
        let lost = phantoms.filter { _ in random.oneIn(2) }
        phantoms = []
        for (page, platter) in lost { restore(page, platter[...], sectors: .max) }
        return !lost.isEmpty
    }

    /// The power fails: every page that was not synced keeps what it had, has what was written, or a mixture by sector.
    func losePower(_ random: inout SeededRandom) {
        _ = dropCache(&random)
        for (page, image) in dirty.sorted(by: { $0.page < $1.page }) {
            switch random.below(3) {
            case 0: break
            case 1: restore(page, images[image], sectors: .max)
            default: restore(page, images[image], sectors: random.next())
            }
        }
        if count > syncedCount, random.below(2) == 0 {
            cut(to: count - Int(random.below(UInt64(count - syncedCount + 1))))
        }
        sync()
        // What survived of a write that was never synced is nobody's promise: damage does not choose from it.
        settled = settled.filter { $0.upperBound <= count }
    }

    /// Changes durable bytes behind everybody's back.
    func damage(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
        body(UnsafeMutableRawBufferPointer(rebasing: storage[..<count]))
    }

    private func remember(_ range: Range<Int>) {
        let last = (range.upperBound - 1) / Self.pageSize
        while dirtySince.count <= last { dirtySince.append(0) }
        for page in range.lowerBound / Self.pageSize...last where dirtySince[page] != syncs {
            dirtySince[page] = syncs
            let start = min(page * Self.pageSize, count)
            let before = images.count
            // A page without an image had zeros.
            if let phantom = phantoms.firstIndex(where: { $0.page == page }) {
                images += phantoms.remove(at: phantom).platter
            } else if page < blankFrom {
                let end = min(start + Self.pageSize, count)
                images.append(contentsOf: UnsafeRawBufferPointer(rebasing: storage[start..<end]))
            }
            dirty.append((page, before..<images.count))
        }
        blankFrom = max(blankFrom, last + 1)
    }

    private func restore(_ page: Int, _ image: ArraySlice<UInt8>, sectors: UInt64) {
        let start = page * Self.pageSize
        for sector in 0..<Self.pageSize / Self.sectorSize where sectors >> UInt64(sector) & 1 == 1 {
            for offset in sector * Self.sectorSize..<(sector + 1) * Self.sectorSize where start + offset < count {
                storage[start + offset] = offset < image.count ? image[image.startIndex + offset] : 0
            }
        }
    }
}
