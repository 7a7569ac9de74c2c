import ClearingModel

/// The model of one clearing shard: docs/ENTRIES.md, "Applying an entry of a clearing shard", written from that page.
///
/// One record after the other, in log order, in one thread; nothing is shared with the ledger that nodes run. It keeps nothing
/// that is only there for speed of restarting: no fingerprints, no digests, no partitions.
final class ShardModel {
    struct Account: BitwiseCopyable {
        var id: UInt32
        var sponsor: UInt32
        /// Row of a sponsor that is at home here, or −1.
        var sponsorRow: Int32 = -1
        /// Its place among the creditors of its home, where that is another shard; else −1.
        var cell: Int32 = -1
        var home: UInt16
        var currency: UInt16 = 0
        var kind: UInt8 = 0
        var maySend = false
        var mayReceive = false
        var decidesHere = false
        var sponsorElsewhere = false
        /// Its limit or funding was lower once than before.
        var wasLowered = false
        var limit: UInt64 = 0
        var funding: UInt64 = 0
        var settled: Int128 = 0
        /// Σ posted credits − Σ posted debits.
        var net: Int128 = 0
        /// Σ (settled + net) of those that it sponsors here.
        var sponsored: Int128 = 0

        @inline(__always)
        var available: Int128 { Int128(limit) + Int128(funding) + settled + net + sponsored }
    }

    struct MandateRow: BitwiseCopyable {
        var kinds: UInt64
        var maximum: UInt64
        var cap: UInt64
        var isRevoked: Bool
    }

    /// What one creditor at home elsewhere is owed since the last batch.
    struct Cell: BitwiseCopyable {
        var participant: UInt32
        var currency: UInt16
        var amount: UInt64 = 0
        var payments: UInt64 = 0
    }

    struct Outgoing {
        var last = StreamCursor()
        var confirmed = StreamCursor()
        var unconfirmed: [StreamCursor] = []
        /// Rows of windows that ended before a batch took them, oldest window first.
        var waiting: [[CreditRow]] = []
        var isHalted = false
        var openLines = 0
    }

    struct Incoming {
        var cursor = StreamCursor()
        var isHalted = false
    }

    struct Day: BitwiseCopyable {
        var day: UInt16
        var start: UInt64
    }

    struct CapKey: Hashable {
        var day: UInt16
        var mandate: Int
        var debtor: Int
    }

    struct Book {
        var key: BookKey
        var debits: UInt128 = 0
        var credits: UInt128 = 0
    }

    let shard: Int
    let shardCount: Int
    let slots: SlotMap
    let key: SipKey
    let findings: Findings
    let streams: StreamBook
    let directory: DirectoryModel
    let outcomes: OutcomeStore

    // Place
    var index: UInt64 = 0
    var term: UInt64 = 0
    var ledgerTime: UInt64 = 0
    var nextOrdinal: UInt64 = 0
    var runningHash: UInt64 = 0

    // Directory
    var calendar: ClearingCalendar
    var directoryCursor: UInt64 = 0
    var directoryVersion: UInt64 = 0
    var accountRows = RowMap()
    let accounts = Column<Account>()
    var oneMandates = RowMap()
    var classMandates = RowMap()
    let mandates = Column<MandateRow>()

    // Days and windows
    var openDays: [Day] = []
    var newestDay: UInt16 = 0
    var capSums: [CapKey: UInt64] = [:]
    var openWindows = [WindowID(scheme: .domestic, number: 1)]
    var heldWindows: Set<WindowID> = [WindowID(scheme: .domestic, number: 1)]

    // Credits
    var creditWindow = WindowID(scheme: .domestic, number: 1)
    var cells: [Column<Cell>]
    var outgoing: [Outgoing]
    var incoming: [Incoming]

    // What was found
    var books: [Book] = []
    var counts = [UInt64](repeating: 0, count: 256)
    var records: UInt64 = 0
    var repeated: UInt64 = 0
    var touched: UInt64 = 0
    /// Ids decided before the replay begins; empty where it begins with the first entry.
    var restored: RestoredIndex
    /// Set where ledgers keep only a part of fingerprints.
    var collisions: MaskedFingerprints?

    init(
        shard: Int, topology: ClusterTopology, directory: DirectoryModel, streams: StreamBook, outcomes: OutcomeStore,
        findings: Findings
    ) {
        self.shard = shard
        self.directory = directory
        self.streams = streams
        self.outcomes = outcomes
        self.findings = findings
        shardCount = topology.shardCount
        slots = topology.slots
        calendar = topology.calendar
        key = SipKey(batchesOf: topology.cluster)
        restored = RestoredIndex(cluster: topology.cluster)
        cells = (0...shardCount).map { _ in Column<Cell>() }
        outgoing = Array(repeating: Outgoing(), count: shardCount + 1)
        incoming = Array(repeating: Incoming(), count: shardCount + 1)
    }

    func problem(_ text: @autoclosure () -> String) {
        findings.problem("shard \(shard), entry \(index): \(text())")
    }

    /// Applies one data entry: sections, records, flush mark.
    func apply(_ payload: UnsafeRawBufferPointer, index: UInt64, term: UInt64) throws(DecodeError) {
        let head = try EntryHead(payload)
        self.index = index
        self.term = term
        if head.ledgerTime <= ledgerTime {
            problem("ledger time \(head.ledgerTime) does not continue \(ledgerTime)")
        }
        if head.firstOrdinal != nextOrdinal {
            problem("its first ordinal is \(head.firstOrdinal), the records before it end at \(nextOrdinal)")
        }
        ledgerTime = head.ledgerTime
        try head.forEachSection { type, body throws(DecodeError) in try applySection(type, body) }
        if !openWindows.contains(head.window) {
            problem("its records book in window \(head.window), which is not open")
        }
        if head.window != creditWindow { roll(to: head.window) }
        applyRecords(head, payload)
        nextOrdinal = head.firstOrdinal + UInt64(head.records)
        if head.isFlush { closeBatches() }
        mix(index)
        mix(term)
        mix(ledgerTime)
        mix(directoryCursor)
    }

    @inline(__always)
    func mix(_ word: UInt64) { runningHash = Self.mixed(runningHash, word) }

    /// One step of the running hash.
    @inline(__always)
    static func mixed(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        return product ^ product >> 32
    }

    /// Row of the books for a window and a currency.
    func book(_ key: BookKey) -> Int {
        if let found = books.firstIndex(where: { $0.key == key }) { return found }
        books.append(Book(key: key))
        return books.count - 1
    }
}
