import ClearingModel
import DequeModule
import Wire

/// What a replica knows of its log: the term of every entry, and the newest entries themselves.
///
///     startIndex        cacheFirst          lastIndex
///         |  on disk only    |   in memory     |
///     ----+==================+=================+
///         terms known as runs all the way
struct RaftLog: Sendable {
    /// Last entry before the log: the snapshot's.
    private(set) var startIndex: LogIndex
    private(set) var startTerm: Term
    private(set) var lastIndex: LogIndex
    /// Ascending; the first begins at `startIndex + 1` unless the log is empty.
    private var runs: Deque<TermRun>
    /// Contiguous and up to `lastIndex`, or empty.
    private var cache = Deque<RaftEntry>()
    private(set) var cacheBytes = 0

    init(startIndex: LogIndex, startTerm: Term, runs: [TermRun], lastIndex: LogIndex) {
        precondition(lastIndex >= startIndex, "a log ends before its snapshot")
        self.startIndex = startIndex
        self.startTerm = startTerm
        self.lastIndex = lastIndex
        self.runs = Deque()
        guard lastIndex > startIndex else { return }
        for run in runs where run.firstIndex <= lastIndex {
            if let last = self.runs.last {
                precondition(run.firstIndex > last.firstIndex, "term runs out of order")
                if run.firstIndex <= startIndex.next { self.runs.removeAll() }
            }
            self.runs.append(TermRun(firstIndex: max(run.firstIndex, startIndex.next), term: run.term))
        }
        precondition(self.runs.first?.firstIndex == startIndex.next, "no term is known for the log's first entry")
    }

    var lastTerm: Term { runs.last?.term ?? startTerm }

    var cacheFirst: LogIndex { cache.first?.index ?? lastIndex.next }

    /// The term of an entry; `nil` before the log's start and after its end.
    func term(at index: LogIndex) -> Term? {
        if index == startIndex { return startTerm }
        guard index > startIndex, index <= lastIndex else { return nil }
        return runs[run(of: index)].term
    }

    /// Position of the run that holds `index`, which is in the log.
    private func run(of index: LogIndex) -> Int {
        if let last = runs.last, last.firstIndex <= index { return runs.count - 1 }
        var (low, high) = (0, runs.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if runs[middle].firstIndex <= index { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// The highest index up to `index` whose term is at most `term`: where two logs may agree at best (Raft §5.3).
    /// Before the log's start nothing is known, and `index` itself is the answer.
    func lastIndex(upTo index: LogIndex, termAtMost term: Term) -> LogIndex {
        var index = min(index, lastIndex)
        if index == startIndex { return startTerm <= term ? index : index.previous }
        guard index > startIndex else { return index }
        var position = run(of: index)
        while runs[position].term > term {
            index = runs[position].firstIndex.previous
            if position == 0 { return index }
            position -= 1
        }
        return index
    }

    /// The entry, if it is in memory.
    func entry(at index: LogIndex) -> RaftEntry? {
        guard let first = cache.first?.index, index >= first, index <= lastIndex else { return nil }
        return cache[index - first]
    }

    mutating func append(_ entry: RaftEntry) {
        precondition(entry.index == lastIndex.next, "entries are appended without a gap")
        precondition(entry.term >= lastTerm, "terms in a log never fall")
        if runs.last?.term != entry.term { runs.append(TermRun(firstIndex: entry.index, term: entry.term)) }
        cache.append(entry)
        cacheBytes += entry.payload.count
        lastIndex = entry.index
    }

    /// Takes the terms of the entries up to `index` from `known`; those behind it stay.
    mutating func correct(_ known: [TermRun], through index: LogIndex) {
        let index = min(index, lastIndex)
        guard index > startIndex, let first = known.first else { return }
        var corrected = runs.filter { $0.firstIndex < first.firstIndex }
        for run in known where run.firstIndex <= index {
            if run.firstIndex <= startIndex.next { corrected.removeAll() }
            corrected.append(TermRun(firstIndex: max(run.firstIndex, startIndex.next), term: run.term))
        }
        if index < lastIndex, let term = term(at: index.next) {
            if corrected.last?.term != term { corrected.append(TermRun(firstIndex: index.next, term: term)) }
            corrected += runs.filter { $0.firstIndex > index.next }
        }
        precondition(corrected.first?.firstIndex == startIndex.next, "no term is known for the log's first entry")
        runs = corrected
        for entry in [cache.first, cache.last] {
            precondition(entry.map { term(at: $0.index) == $0.term } ?? true, "an entry in memory has another term")
        }
    }

    /// Voids the entries from `index` on.
    mutating func truncate(from index: LogIndex) {
        precondition(index > startIndex && index <= lastIndex, "truncation outside the log")
        while let last = cache.last, last.index >= index { dropLastCached() }
        while let last = runs.last, last.firstIndex >= index { runs.removeLast() }
        lastIndex = index.previous
    }

    /// Forgets the log up to `index`, which is in it.
    mutating func compact(through index: LogIndex) {
        guard index > startIndex else { return }
        guard let term = term(at: index) else { preconditionFailure("compaction past the end of the log") }
        while let first = cache.first, first.index <= index { dropFirstCached() }
        while runs.count > 1, runs[1].firstIndex <= index.next { runs.removeFirst() }
        if index == lastIndex { runs.removeAll() } else { runs[0].firstIndex = index.next }
        startIndex = index
        startTerm = term
    }

    /// Starts anew after a snapshot.
    mutating func reset(to index: LogIndex, term: Term) {
        self = RaftLog(startIndex: index, startTerm: term, runs: [], lastIndex: index)
    }

    /// Drops entries from memory, oldest first, up to `limit`, while they are matched everywhere or the cache is too big.
    mutating func trimCache(upTo limit: LogIndex, freely matched: LogIndex, keepingBytes: Int) {
        while let first = cache.first, first.index <= limit, first.index <= matched || cacheBytes > keepingBytes {
            dropFirstCached()
        }
    }

    private mutating func dropFirstCached() { cacheBytes -= cache.removeFirst().payload.count }
    private mutating func dropLastCached() { cacheBytes -= cache.removeLast().payload.count }
}
