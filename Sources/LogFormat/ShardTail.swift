import ClearingModel
import Raft
import Wire

/// Where a shard's log starts: after this entry, with this membership in force.
struct LogStart {
    var index = LogIndex.zero
    var term = Term.zero
    var membership = Membership.empty
}

extension LogStart {
    /// The log starts anew here; of what it held, what was committed may still be read.
    func replaces(_ tail: inout ShardTail, _ index: inout ShardIndex, from uncommitted: LogIndex) {
        tail.move(to: self, keepingSuffix: false)
        index.cut(from: uncommitted)
    }
}

/// The end of a shard's log as its appends left it, whether written or not.
struct ShardTail {
    var start = LogStart()
    /// Terms of the entries above the start.
    var runs: [TermRun] = []
    var last = LogIndex.zero
    /// Memberships above the start, ascending.
    var configurations: [(index: LogIndex, membership: Membership)] = []
    var hard = HardState.initial
    var doubt: Doubt = []
    /// The term in which the doubt arose, for the reader of the log.
    var doubtTerm = Term.zero

    var lastTerm: Term { runs.last?.term ?? start.term }

    /// Term of the entry at `index`; `nil` outside of the log.
    func term(at index: LogIndex) -> Term? {
        if index == start.index { return start.term }
        guard index > start.index, index <= last else { return nil }
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].firstIndex <= index { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? runs[low - 1].term : start.term
    }

    mutating func append(_ index: LogIndex, _ term: Term) {
        if lastTerm != term || runs.isEmpty { runs.append(TermRun(firstIndex: index, term: term)) }
        last = index
    }

    mutating func truncate(from index: LogIndex) {
        guard index <= last else { return }
        while let run = runs.last, run.firstIndex >= index { runs.removeLast() }
        while let newest = configurations.last, newest.index >= index { configurations.removeLast() }
        last = max(index.previous, start.index)
    }

    /// Moves the start up. Keeps what lies above it where the log agrees with it at that entry (Raft §7), else drops all.
    mutating func move(to new: LogStart, keepingSuffix keep: Bool) {
        if keep {
            while runs.count > 1, runs[1].firstIndex <= new.index + 1 { runs.removeFirst() }
            if let first = runs.first, first.firstIndex <= new.index { runs[0].firstIndex = new.index.next }
            if last == new.index { runs = [] }
            configurations.removeAll { $0.index <= new.index }
        } else {
            runs = []
            configurations = []
            last = new.index
        }
        start = new
    }

    /// Lengthens the log by entries that cannot be seen, of which the last has this term.
    mutating func extend(to index: LogIndex, _ term: Term) {
        guard index > last else { return }
        if lastTerm != term || runs.isEmpty { runs.append(TermRun(firstIndex: index, term: term)) }
        last = index
    }

    /// Names the term of one entry of the log, leaving all others as they are.
    mutating func setTerm(_ index: LogIndex, _ term: Term) {
        guard index > start.index, index <= last, self.term(at: index) != term else { return }
        let before = index.previous == start.index ? nil : self.term(at: index.previous)
        let after = index == last ? nil : self.term(at: index.next)
        runs.removeAll { $0.firstIndex == index || $0.firstIndex == index.next }
        if before != term { runs.append(TermRun(firstIndex: index, term: term)) }
        if let after, after != term { runs.append(TermRun(firstIndex: index.next, term: after)) }
        runs.sort { $0.firstIndex < $1.firstIndex }
    }

    /// Puts a membership in its place.
    mutating func setConfiguration(_ index: LogIndex, _ membership: Membership) {
        configurations.removeAll { $0.index == index }
        let at = configurations.firstIndex { $0.index > index } ?? configurations.count
        configurations.insert((index, membership), at: at)
    }

    /// The membership in force after the entry at `index`, which is not below the start.
    func membership(at index: LogIndex) -> Membership {
        configurations.last { $0.index <= index }?.membership ?? start.membership
    }
}

/// What the written groups say of a shard: the next segment opens with it.
struct ShardWritten {
    var start = LogStart()
    var hard = HardState.initial
    var doubt: Doubt = []
    var doubtTerm = Term.zero
    var last = LogIndex.zero
    var lastTerm = Term.zero
}

/// A run of readable entries of a shard in one segment.
struct Extent: Hashable {
    var first: LogIndex
    var last: LogIndex
    var segment: UInt64
    /// First ordinal of the run; `max` where none of its entries holds records.
    var firstOrdinal: UInt64
    /// `firstOrdinal` is only a lower bound: the run is what was left behind a removed part.
    var isBound = false
}

/// Which segment holds which entries of a shard: extents in index order; what lies between two of them is a hole.
struct ShardIndex {
    private(set) var extents: [Extent] = []

    /// Adds an entry that follows the log's end.
    mutating func append(_ ref: EntryRef, segment: UInt64) {
        cut(from: ref.index)
        let ordinal = ref.recordCount > 0 ? ref.firstOrdinal : UInt64.max
        if let last = extents.last, last.segment == segment, last.last.next == ref.index {
            extents[extents.count - 1].last = ref.index
            if last.firstOrdinal == .max { extents[extents.count - 1].firstOrdinal = ordinal }
        } else {
            extents.append(Extent(first: ref.index, last: ref.index, segment: segment, firstOrdinal: ordinal))
        }
    }

    /// Forgets entries from `index` on.
    mutating func cut(from index: LogIndex) {
        while let last = extents.last, last.last >= index {
            if last.first >= index {
                extents.removeLast()
            } else {
                extents[extents.count - 1].last = index.previous
            }
        }
    }

    /// Forgets single entries, which cannot be read: they become a hole.
    mutating func remove(_ range: IndexRange) {
        guard range.from <= range.through else { return }
        var kept: [Extent] = []
        for extent in extents {
            if extent.last < range.from || extent.first > range.through {
                kept.append(extent)
                continue
            }
            if extent.first < range.from {
                var left = extent
                left.last = range.from.previous
                kept.append(left)
            }
            if extent.last > range.through {
                var right = extent
                right.first = range.through.next
                right.isBound = true
                kept.append(right)
            }
        }
        extents = kept
    }

    /// Puts one entry in its place, wherever that is. Those that come in order and stand in one segment make one extent.
    mutating func place(_ ref: EntryRef, segment: UInt64) {
        if find(ref.index) != nil { remove(IndexRange(from: ref.index, through: ref.index)) }
        let at = position(ref.index)
        let ordinal = ref.recordCount > 0 ? ref.firstOrdinal : UInt64.max
        if at > 0, extents[at - 1].segment == segment, extents[at - 1].last.next == ref.index {
            extents[at - 1].last = ref.index
            if extents[at - 1].firstOrdinal == .max { extents[at - 1].firstOrdinal = ordinal }
        } else {
            extents.insert(
                Extent(first: ref.index, last: ref.index, segment: segment, firstOrdinal: ordinal), at: at)
        }
    }

    mutating func removeAll() { extents = [] }

    /// Forgets everything in segments up to this one.
    mutating func expire(through segment: UInt64) { extents.removeAll { $0.segment <= segment } }

    /// Position of the first extent that ends at or above `index`. O(log extents).
    private func position(_ index: LogIndex) -> Int {
        var low = 0
        var high = extents.count
        while low < high {
            let middle = (low + high) / 2
            if extents[middle].last < index { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The extent that holds `index`. O(log extents).
    func find(_ index: LogIndex) -> Extent? {
        let at = position(index)
        guard at < extents.count, extents[at].first <= index else { return nil }
        return extents[at]
    }

    /// The first entry at or above `index` that an extent holds.
    func first(from index: LogIndex) -> LogIndex? {
        let at = position(index)
        return at < extents.count ? max(index, extents[at].first) : nil
    }

    /// Extents that may hold the record with this ordinal, likeliest first. What a split left behind knows only a lower
    /// bound of its first ordinal, so that one before it may be the right one.
    func candidates(_ ordinal: Ordinal) -> [Extent] {
        var found: [Extent] = []
        for extent in extents.reversed() where extent.firstOrdinal <= ordinal.rawValue {
            found.append(extent)
            if !extent.isBound { break }
        }
        return found
    }

    /// Entries after `start` up to `last` that no extent holds.
    func gaps(after start: LogIndex, through last: LogIndex) -> [IndexRange] {
        var gaps: [IndexRange] = []
        var next = start.next
        for extent in extents where extent.last > start {
            if extent.first > next { gaps.append(IndexRange(from: next, through: extent.first.previous)) }
            next = max(next, extent.last.next)
        }
        if next <= last { gaps.append(IndexRange(from: next, through: last)) }
        return gaps
    }
}
