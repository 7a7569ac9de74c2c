import ClearingModel

/// The transaction index of one business day: extendible hashing (Fagin, Nievergelt, Pippenger, Strong, TODS 1979)
/// over pages of 256 slots.
///
///     fingerprint ── top 12 bits ──► one of 64 regions ── low bits ──► page ── bits 32…37 ──► line of 4 slots
///
/// An insertion splits at most a few pages and doubles at most one region's small directory, so there is no stall at
/// any size. The regions take unequal shares of the fingerprints, region i in proportion to 2^(i/64): equal shares
/// would fill all pages, and split them, at the same time, and the index would swing between half and nearly full.
/// With these shares it is always somewhere in the middle of such a swing: 26 to 27 bytes a record
/// (`IndexPartitionTests` measures it).
public final class IndexPartition {
    static let pageBytes = 4_096
    static let slotsPerPage = 256
    static let regionCount = 64
    /// One cache line: a look-up waits for memory once, and in a full line a second time.
    static let slotsPerLine = 4
    /// A page splits when neither a fingerprint's own line nor the ones behind it, this many in all, have a free slot.
    static let probeLimit = 16

    /// One region: a directory of pages. An entry is a page's address (a multiple of 4,096) plus its depth; 0 = no
    /// page yet.
    struct Region {
        var directory: UnsafeMutablePointer<UInt>
        /// Entries of the directory, a power of two, minus one.
        var mask: UInt64
    }

    /// What a loop needs; stays valid as long as the partition lives.
    struct Reader {
        let regions: UnsafeMutablePointer<Region>
        let regionOfPrefix: UnsafePointer<UInt8>

        @inline(__always)
        func region(_ fingerprint: UInt64) -> UnsafeMutablePointer<Region> {
            regions + Int(regionOfPrefix[Int(truncatingIfNeeded: fingerprint >> 52)])
        }

        /// The directory's entry for a fingerprint, which says where its page is.
        @inline(__always)
        func entry(_ fingerprint: UInt64) -> UnsafeMutablePointer<UInt> {
            let region = region(fingerprint)
            return region.pointee.directory + Int(truncatingIfNeeded: fingerprint & region.pointee.mask)
        }

        /// The page of a fingerprint; `nil` before its region has one.
        @inline(__always)
        func page(_ fingerprint: UInt64) -> UnsafeMutablePointer<IndexSlot>? {
            IndexPartition.page(entry(fingerprint).pointee)
        }

        /// The slot of a fingerprint, or the free slot where it belongs; `nil` where the page must split first.
        @inline(__always)
        func probe(_ fingerprint: UInt64) -> UnsafeMutablePointer<IndexSlot>? {
            guard let page = page(fingerprint) else { return nil }
            return IndexPartition.probe(page, fingerprint)
        }
    }

    private let regions: UnsafeMutablePointer<Region>
    private var chunks: [(base: UnsafeMutableRawPointer, pages: Int)] = []
    private var pagesUsedInLastChunk = 0
    private var directoryEntries = regionCount
    public private(set) var pageCount = 0
    public private(set) var count = 0
    /// Sum of all slots' digests.
    public private(set) var digest: UInt64 = 0
    /// Keeps the look-ahead's loads from being removed.
    private var touched: UInt64 = 0
    /// Set when the day closes; nothing is inserted after.
    public internal(set) var isSealed = false

    public init() {
        regions = .allocate(capacity: Self.regionCount)
        for i in 0..<Self.regionCount {
            let directory = UnsafeMutablePointer<UInt>.allocate(capacity: 1)
            directory.initialize(to: 0)
            (regions + i).initialize(to: Region(directory: directory, mask: 0))
        }
    }

    deinit {
        for i in 0..<Self.regionCount { regions[i].directory.deallocate() }
        regions.deallocate()
        for chunk in chunks { chunk.base.deallocate() }
    }

    var reader: Reader { Reader(regions: regions, regionOfPrefix: Self.regionOfPrefix.base) }

    /// Memory of pages and directories, in bytes.
    public var byteCount: Int {
        chunks.reduce(0) { $0 + $1.pages } * Self.pageBytes + directoryEntries * 8 + Self.regionCount * 16
    }

    /// The slot with this fingerprint; `nil` where there is none.
    public func find(_ fingerprint: UInt64) -> IndexSlot? {
        guard let slot = reader.probe(fingerprint), slot.pointee.word != 0 else { return nil }
        return slot.pointee
    }

    /// Inserts a slot whose fingerprint is not there; `false`, and no change, where it is.
    @discardableResult
    public func insert(_ slot: IndexSlot) -> Bool {
        let place = reader.probe(slot.fingerprint) ?? makeRoom(slot.fingerprint)
        guard place.pointee.word == 0 else { return false }
        place.pointee = slot
        inserted(1, digest: slot.digest)
        return true
    }

    /// First touch of the lines where encoded slots (16 bytes each, fingerprint first) belong.
    ///
    /// Nearly every touch misses all caches: in a loop of its own a dozen misses are in flight at a time.
    func lookAhead(_ slots: UnsafeRawBufferPointer) {
        let reader = reader
        var sum: UInt64 = 0
        for offset in stride(from: 0, to: slots.count, by: MemoryLayout<IndexSlot>.size) {
            let fingerprint = UInt64(littleEndian: slots.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            guard let page = reader.page(fingerprint) else { continue }
            sum ^= page[Self.line(fingerprint)].word
        }
        touched ^= sum
    }

    /// Hands out every slot, page by page, in no order that means anything.
    func forEachPage(_ body: (UnsafeBufferPointer<IndexSlot>) -> Void) {
        withUnsafeTemporaryAllocation(of: IndexSlot.self, capacity: Self.slotsPerPage) { used in
            for (number, chunk) in chunks.enumerated() {
                let pages = number == chunks.count - 1 ? pagesUsedInLastChunk : chunk.pages
                let slots = chunk.base.assumingMemoryBound(to: IndexSlot.self)
                for page in 0..<pages {
                    var count = 0
                    for slot in 0..<Self.slotsPerPage where slots[page * Self.slotsPerPage + slot].word != 0 {
                        used[count] = slots[page * Self.slotsPerPage + slot]
                        count += 1
                    }
                    body(UnsafeBufferPointer(rebasing: used[..<count]))
                }
            }
        }
    }

    /// Counts slots that a loop has written through `reader`.
    func inserted(_ newSlots: Int, digest sum: UInt64) {
        precondition(!isSealed, "a closed day's index is immutable")
        count += newSlots
        digest = digest &+ sum
    }

    /// The page that a directory entry leads to; `nil` where there is none yet.
    @inline(__always)
    static func page(_ entry: UInt) -> UnsafeMutablePointer<IndexSlot>? {
        UnsafeMutablePointer(bitPattern: entry & ~0xFFF)
    }

    /// First slot of the line where a fingerprint belongs.
    @inline(__always)
    static func line(_ fingerprint: UInt64) -> Int { Int(truncatingIfNeeded: (fingerprint >> 32) & 63) &* slotsPerLine }

    /// Where a look-up reads on behind a line: in the next one if this one is full.
    @inline(__always)
    static func after(_ line: UnsafePointer<IndexSlot>) -> UnsafePointer<IndexSlot> {
        let next = UInt(bitPattern: line) &+ 64
        let wrapped = next & 0xFFF == 0 ? next &- UInt(pageBytes) : next
        return line[3].word == 0 ? line : UnsafePointer(bitPattern: wrapped)!
    }

    /// Linear probing line by line; every line is filled from its front, so a free slot ends the search.
    @inline(__always)
    static func probe(
        _ page: UnsafeMutablePointer<IndexSlot>, _ fingerprint: UInt64
    ) -> UnsafeMutablePointer<IndexSlot>? {
        var at = line(fingerprint)
        var left = probeLimit &* slotsPerLine
        while left > 0 {
            let slot = page + at
            if slot.pointee.word == 0 || slot.pointee.fingerprint == fingerprint { return slot }
            at = (at &+ 1) & 255
            left &-= 1
        }
        return nil
    }

    /// Splits pages until `fingerprint`, which `probe` found no place for, has one.
    @inline(never)
    func makeRoom(_ fingerprint: UInt64) -> UnsafeMutablePointer<IndexSlot> {
        let reader = reader
        let region = reader.region(fingerprint)
        while true {
            if let slot = reader.probe(fingerprint) { return slot }
            split(region, fingerprint)
        }
    }

    private func split(_ region: UnsafeMutablePointer<Region>, _ fingerprint: UInt64) {
        let position = Int(truncatingIfNeeded: fingerprint & region.pointee.mask)
        let entry = region.pointee.directory[position]
        if entry == 0 {
            region.pointee.directory[position] = UInt(bitPattern: newPage())
            return
        }
        let depth = UInt64(entry & 0xFFF)
        precondition(depth < 31, "more fingerprints alike than a hash can produce")
        if 1 << depth > region.pointee.mask { double(region) }
        let page = UnsafeMutablePointer<IndexSlot>(bitPattern: entry & ~0xFFF)!
        let sibling = newPage()
        redistribute(page, sibling, bit: depth)
        // Every directory entry that led to the page now leads to it or to its sibling, both one bit deeper.
        let step = 1 << Int(depth)
        var at = Int(truncatingIfNeeded: fingerprint) & (step - 1)
        while at <= Int(region.pointee.mask) {
            let address = UInt(bitPattern: at & step == 0 ? page : sibling)
            region.pointee.directory[at] = address | UInt(depth + 1)
            at += step
        }
    }

    private func double(_ region: UnsafeMutablePointer<Region>) {
        let size = Int(region.pointee.mask) + 1
        let doubled = UnsafeMutablePointer<UInt>.allocate(capacity: size * 2)
        doubled.initialize(from: region.pointee.directory, count: size)
        (doubled + size).initialize(from: region.pointee.directory, count: size)
        region.pointee.directory.deallocate()
        region.pointee.directory = doubled
        region.pointee.mask = UInt64(size) * 2 - 1
        directoryEntries += size
    }

    /// Deals the slots of a full page to itself and its sibling.
    private func redistribute(
        _ page: UnsafeMutablePointer<IndexSlot>, _ sibling: UnsafeMutablePointer<IndexSlot>, bit: UInt64
    ) {
        let lineCount = Self.slotsPerPage / Self.slotsPerLine
        withUnsafeTemporaryAllocation(of: IndexSlot.self, capacity: Self.slotsPerPage) { copy in
            let old = copy.baseAddress!
            old.initialize(from: page, count: Self.slotsPerPage)
            UnsafeMutableRawPointer(page).initializeMemory(as: UInt8.self, repeating: 0, count: Self.pageBytes)
            withUnsafeTemporaryAllocation(of: Int.self, capacity: lineCount * 2) { filled in
                filled.initialize(repeating: 0)
                // Line by line as they were, from a line that no probe crossed into: by induction every slot finds a line
                // no further from its own than before, so within the limit.
                let start = Self.uncrossed(UnsafeBufferPointer(start: old, count: Self.slotsPerPage))
                for step in 0..<Self.slotsPerPage {
                    let slot = old[(start &+ step) & 255]
                    if slot.word == 0 { continue }
                    let goes = Int(truncatingIfNeeded: slot.fingerprint &>> bit & 1)
                    let fills = filled.baseAddress! + goes &* lineCount
                    var line = Self.line(slot.fingerprint) / Self.slotsPerLine
                    while fills[line] == Self.slotsPerLine { line = (line &+ 1) & (lineCount &- 1) }
                    (goes == 0 ? page : sibling)[line &* Self.slotsPerLine &+ fills[line]] = slot
                    fills[line] &+= 1
                }
            }
        }
    }

    /// First slot of a line that no slot was probed into from the line before: that one has a free slot or, in a full
    /// page, got the slot that was filled last.
    private static func uncrossed(_ slots: UnsafeBufferPointer<IndexSlot>) -> Int {
        for candidate in stride(from: 0, to: slotsPerPage, by: slotsPerLine) {
            let crossed = (0..<(probeLimit - 1) * slotsPerLine).contains { distance in
                let at = (candidate + distance) & 255
                let behind = (at - line(slots[at].fingerprint)) & 255
                return slots[at].word != 0 && behind / slotsPerLine > distance / slotsPerLine
            }
            if !crossed { return candidate }
        }
        preconditionFailure("some slot of a page was filled last")
    }

    /// A page of free slots. Pages are cut from chunks that double up to 1 MiB, so small days stay small.
    private func newPage() -> UnsafeMutablePointer<IndexSlot> {
        if chunks.isEmpty || pagesUsedInLastChunk == chunks[chunks.count - 1].pages {
            let pages = min(256, 4 << min(chunks.count, 6))
            chunks.append((.allocate(byteCount: pages * Self.pageBytes, alignment: Self.pageBytes), pages))
            pagesUsedInLastChunk = 0
        }
        let page = chunks[chunks.count - 1].base + pagesUsedInLastChunk * Self.pageBytes
        pagesUsedInLastChunk += 1
        pageCount += 1
        page.initializeMemory(as: UInt8.self, repeating: 0, count: Self.pageBytes)
        return page.assumingMemoryBound(to: IndexSlot.self)
    }

    /// Region of each value of a fingerprint's top 12 bits.
    private static let regionOfPrefix = PrefixTable()

    private struct PrefixTable: @unchecked Sendable {
        let base: UnsafePointer<UInt8>

        init() {
            let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 4_096)
            // 2^(1/64), exact enough that the last bound is the end of the table.
            let ratio = 1.010889286051700460
            var bound = 1.0
            var region = 0
            for prefix in 0..<4_096 {
                // Region i ends where 2^((i + 1)/64) − 1 of the table is used.
                while region < 63, Double(prefix) >= (bound * ratio - 1) * 4_096 {
                    bound *= ratio
                    region += 1
                }
                table[prefix] = UInt8(region)
            }
            base = UnsafePointer(table)
        }
    }
}
