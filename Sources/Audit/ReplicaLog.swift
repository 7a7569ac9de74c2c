import ClearingModel

/// Where one entry stands in a node's files: 20 bytes, as there may be tens of millions of them.
struct EntryRef {
    /// 0: the entry cannot be read (a hole), and nothing is known of it.
    var segment: UInt32 = 0
    var offset: UInt32 = 0
    /// Low 24 bits: length. Then the kind (noop, data, membership), and bit 31: its payload is damaged here.
    private var lengthAndKind: UInt32 = 0
    var crc: UInt32 = 0
    /// Terms above 2³² are refused when the record is read.
    var term: UInt32 = 0

    static let hole = EntryRef()
    private init() {}

    init(_ record: LogRecord, segment: UInt64) {
        self.segment = UInt32(truncatingIfNeeded: segment)
        offset = UInt32(record.offset)
        lengthAndKind = UInt32(record.length) | UInt32(record.detail & 3) << 24 | (record.isGood ? 0 : 1 << 31)
        crc = record.crc
        term = UInt32(record.term)
    }

    var isHole: Bool { segment == 0 }
    var isDamaged: Bool { lengthAndKind >> 31 != 0 }
    var isReadable: Bool { !isHole && !isDamaged }
    var length: Int { Int(lengthAndKind & 0xFF_FFFF) }
    var kind: UInt8 { UInt8(lengthAndKind >> 24 & 3) }

    /// Whether two replicas hold the same entry.
    func matches(_ other: EntryRef) -> Bool {
        term == other.term && crc == other.crc && length == other.length && kind == other.kind
    }
}

/// The log of one shard as one node's records leave it: LOG.md, "Replaying".
struct ReplicaLog {
    /// More entries than this in one gap are no gap but a broken record.
    static let maximumGap: UInt64 = 1 << 26

    /// Where the log stood when its oldest segment that is left began.
    private(set) var base: UInt64 = 0
    private var baseTerm: UInt64 = 0
    /// Entries above this index are in `refs`, perhaps as holes. Repairs lower it: they may bring entries from before the base.
    private(set) var floor: UInt64 = 0
    private(set) var refs: [EntryRef] = []
    /// The last entry before the log's start.
    private(set) var startIndex: UInt64 = 0
    private(set) var startTerm: UInt64 = 0
    private var isStarted = false
    /// Term of the last entry, as its record or what came behind it names it.
    private var endTerm: UInt64 = 0
    /// The highest commit hint of its hard states: what it says is committed, for ever.
    private(set) var hint: UInt64 = 0
    /// Memberships by the index from which they hold, ascending.
    private(set) var memberships: [(index: UInt64, voters: Voters)] = []

    var last: UInt64 { floor + UInt64(refs.count) }

    /// The entry at an index; `nil` outside the log.
    @inline(__always)
    func ref(_ index: UInt64) -> EntryRef? {
        guard index > floor, index <= last else { return nil }
        return refs[Int(index - floor - 1)]
    }

    /// Term of an entry, or of the start; `nil` where it is unknown.
    func term(_ index: UInt64) -> UInt64? {
        if let ref = ref(index), !ref.isHole { return UInt64(ref.term) }
        return index == base ? baseTerm : index == startIndex ? startTerm : nil
    }

    /// The term of the last entry whose term is known.
    var lastTerm: UInt64 {
        var index = last
        while index > floor {
            if let term = term(index) { return term }
            index -= 1
        }
        return baseTerm
    }

    /// The membership in force at an index.
    func voters(at index: UInt64) -> Voters? { memberships.last { $0.index <= index }?.voters }

    // MARK: - Replaying records

    /// Takes an entry, a truncation or a hard state in log order; `false` where the record contradicts the format.
    mutating func apply(_ record: LogRecord, segment: UInt64, membership: Voters?) -> Bool {
        switch record.kind {
        case .hardState:
            hint = max(hint, record.index)
        case .truncation:
            guard record.index > 0 else { return false }
            return end(at: record.index - 1, record.previousTerm)
        case .entry:
            guard plausible(record), record.index > startIndex, end(at: record.index - 1, record.previousTerm) else {
                return false
            }
            refs.append(EntryRef(record, segment: segment))
            endTerm = record.term
            if let membership { memberships.append((record.index, membership)) }
        case .repair:
            guard plausible(record), record.index > 0, record.index <= last else { return false }
            if record.isGood, reach(down: record.index) {
                refs[Int(record.index - floor - 1)] = EntryRef(record, segment: segment)
            }
            if record.index == last { endTerm = record.term }
        case .logStart:
            guard let membership, record.index <= 1 << 62, record.extra <= 1 << 62 else { return false }
            return start(record, membership)
        }
        return true
    }

    private func plausible(_ record: LogRecord) -> Bool {
        record.length < 1 << 24 && record.term <= UInt64(UInt32.max) && record.detail <= 2 && record.index <= 1 << 62
    }

    /// Makes room for an entry from before the base; `false` where it lies so far below that it is left out.
    private mutating func reach(down index: UInt64) -> Bool {
        guard index <= floor else { return true }
        guard floor - index < Self.maximumGap else { return false }
        refs.insert(contentsOf: repeatElement(.hole, count: Int(floor - index + 1)), at: 0)
        floor = index - 1
        return true
    }

    /// - Parameter previousTerm: of the entry before `index`.
    private mutating func truncate(from index: UInt64, after previousTerm: UInt64) {
        guard index <= last else { return }
        refs.removeLast(Int(min(last - index + 1, UInt64(refs.count))))
        memberships.removeAll { $0.index >= index && $0.index > startIndex }
        // What it voids may stand in segments that are gone.
        if index <= base { (base, baseTerm) = (index - 1, previousTerm) }
        floor = min(floor, base)
        endTerm = term(index - 1) ?? previousTerm
    }

    /// A record says that the log ends at `index`, with an entry of this term. If it ended in another term here, a truncation and what
    /// replaced it were lost: whatever is not known to be committed may be the wrong one (LOG.md, "Replaying").
    private mutating func end(at index: UInt64, _ term: UInt64) -> Bool {
        if index < last { truncate(from: index + 1, after: term) }
        if isStarted, endTerm != term { distrust(through: last) }
        guard fill(through: index) else { return false }
        endTerm = term
        return true
    }

    /// Adds holes so that the log ends at `index`.
    private mutating func fill(through index: UInt64) -> Bool {
        guard index > last else { return true }
        guard index - last <= Self.maximumGap else { return false }
        refs.append(contentsOf: repeatElement(.hole, count: Int(index - last)))
        return true
    }

    /// Makes holes of the entries up to `index` that are not known to be committed.
    private mutating func distrust(through index: UInt64) {
        var index = index
        while index > max(hint, base) {
            refs[Int(index - floor - 1)] = .hole
            index -= 1
        }
    }

    private mutating func start(_ record: LogRecord, _ voters: Voters) -> Bool {
        let (index, term, newLast) = (record.index, record.term, record.extra)
        defer { isStarted = true }
        // Where entries stand before it, the start that they followed is damaged, and they keep their places.
        if !isStarted, refs.isEmpty {
            // What the log held then stood in segments before the first one that is left.
            (base, baseTerm) = newLast > index ? (newLast, record.previousTerm) : (index, term)
            floor = base
            (startIndex, startTerm) = (index, term)
            endTerm = newLast > index ? record.previousTerm : term
            memberships = [(index, voters)]
            return true
        }
        let stays = newLast > index || index < base || (index <= last && self.term(index) == term)
        if stays {
            // The start moves to an entry that cannot be read: what stands before it may be the wrong one.
            if index > startIndex, isStarted, ref(index)?.isReadable == false { distrust(through: index) }
            if newLast < base {
                truncate(from: base + 1, after: baseTerm)
            } else if !end(at: newLast, record.previousTerm) {
                return false
            }
        } else {
            truncate(from: max(index, base) + 1, after: term)
            endTerm = term
            memberships.removeAll { $0.index > index }
            // Entries that the installed snapshot covers stay readable only as far as they were known to be committed.
            var above = last
            while above > max(hint, base) {
                refs[Int(above - floor - 1)] = .hole
                above -= 1
            }
            if index > last, !fill(through: index) { (base, baseTerm, floor, refs) = (index, term, index, []) }
        }
        (startIndex, startTerm) = (index, term)
        if memberships.last?.index ?? 0 <= index, memberships.last?.voters != voters {
            memberships.removeAll { $0.index == index }
            memberships.append((index, voters))
        }
        return true
    }
}
