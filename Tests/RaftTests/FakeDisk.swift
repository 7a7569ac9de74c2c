import ClearingModel
import Raft

/// The part of a node's log that belongs to one replica: what was asked of the disk, and what is durable.
struct FakeDisk {
    enum Write {
        case entries([RaftEntry])
        case truncate(from: LogIndex)
        case hardState(HardState)
    }

    private(set) var hardState = HardState.initial
    private(set) var snapshotIndex = LogIndex.zero
    private(set) var snapshotTerm = Term.zero
    private(set) var membership: Membership
    /// Durable entries above the snapshot, without a gap.
    private(set) var entries: [RaftEntry] = []
    /// Entries that cannot be read, among the durable ones: what stands there only a peer can tell.
    private(set) var hole: ClosedRange<LogIndex>?
    private(set) var pending: [(sequence: PersistSequence, write: Write)] = []

    init(membership: Membership) { self.membership = membership }

    var lastIndex: LogIndex { entries.last?.index ?? snapshotIndex }

    func entry(at index: LogIndex) -> RaftEntry? {
        guard let first = entries.first, index >= first.index, index <= lastIndex else { return nil }
        return entries[index - first.index]
    }

    func term(at index: LogIndex) -> Term? { index == snapshotIndex ? snapshotTerm : entry(at: index)?.term }

    /// Durable, or covered by the durable snapshot.
    func holds(_ index: LogIndex, _ term: Term) -> Bool { index < snapshotIndex || self.term(at: index) == term }

    mutating func ask(_ write: Write, _ sequence: PersistSequence) {
        precondition(pending.last.map { $0.sequence < sequence } ?? true, "writes out of order")
        pending.append((sequence, write))
    }

    /// Makes the oldest `count` writes durable; the sequence up to which everything now is.
    mutating func sync(_ count: Int = .max) -> PersistSequence? {
        let done = pending.prefix(count)
        for (_, write) in done { perform(write) }
        pending.removeFirst(done.count)
        return done.last?.sequence
    }

    private mutating func perform(_ write: Write) {
        switch write {
        case .hardState(let state): hardState = state
        case .truncate(let index):
            entries.removeAll { $0.index >= index }
            cutHole()
        case .entries(let new):
            for entry in new where entry.index > snapshotIndex {
                precondition(entry.index == lastIndex.next, "a gap in the log, or an overwrite without truncation")
                precondition(entry.term <= hardState.term, "an entry is durable before its term")
                entries.append(entry)
            }
        }
    }

    /// The process ends. Of the writes under way the disk kept `surviving`, though nobody was told.
    mutating func crash(surviving: Int) {
        _ = sync(surviving)
        pending.removeAll()
    }

    /// A checkpoint of the own state replaces the log up to `index`.
    mutating func compact(through index: LogIndex, _ membership: Membership) {
        guard index > snapshotIndex, let term = term(at: index) else { return }
        entries.removeAll { $0.index <= index }
        (snapshotIndex, snapshotTerm, self.membership) = (index, term, membership)
        cutHole()
    }

    /// A leader's snapshot arrived and is durable; what the log holds above it stays if it goes on from there.
    mutating func install(_ index: LogIndex, _ term: Term, _ membership: Membership) {
        guard index > snapshotIndex else { return }
        let continues = self.term(at: index) == term
        entries.removeAll { !continues || $0.index <= index }
        (snapshotIndex, snapshotTerm, self.membership) = (index, term, membership)
        cutHole()
    }

    // MARK: - Damage

    mutating func damage(_ range: ClosedRange<LogIndex>) { hole = range }

    /// Of the hole is left what the log still has.
    private mutating func cutHole() {
        guard let range = hole else { return }
        let (from, through) = (max(range.lowerBound, snapshotIndex.next), min(range.upperBound, lastIndex))
        hole = from <= through ? from...through : nil
    }

    /// The first entry of the hole, as a peer has it.
    mutating func repair(_ entry: RaftEntry) {
        guard let range = hole, range.lowerBound == entry.index, let first = entries.first else { return }
        entries[entry.index - first.index] = entry
        hole = entry.index < range.upperBound ? entry.index.next...range.upperBound : nil
    }

    /// Entries whose terms recovery guesses: those of a hole, but the last one of the log.
    private var guessed: [Range<LogIndex>] {
        guard let hole else { return [] }
        let end = min(hole.upperBound.next, lastIndex)
        return hole.lowerBound < end ? [hole.lowerBound..<end] : []
    }

    /// As recovery tells it: in a hole all but the last entry have the term from before it.
    private func recoveredTerm(_ entry: RaftEntry) -> Term {
        guard let hole, hole.contains(entry.index), entry.index < hole.upperBound else { return entry.term }
        return term(at: hole.lowerBound.previous) ?? entry.term
    }

    /// The whole log, as far as it is known, with what is still on its way to the disk. Holes are those of what is there.
    var known: KnownLog {
        var all = self
        _ = all.sync()
        let state = all.recovered()
        return KnownLog(
            termRuns: state.termRuns, configurationEntries: state.configurationEntries, lastIndex: state.lastIndex,
            guessed: hole == nil ? [] : all.guessed)
    }

    func recovered(fence: Fence = [], holeIndex: LogIndex? = nil) -> RecoveredState {
        var runs: [TermRun] = []
        var changes: [(LogIndex, Membership)] = []
        for entry in entries {
            let term = recoveredTerm(entry)
            if runs.last?.term != term { runs.append(TermRun(firstIndex: entry.index, term: term)) }
            if hole?.contains(entry.index) ?? false { continue }
            if entry.kind == .configuration, let membership = try? Membership(decoding: entry.payload) {
                changes.append((entry.index, membership))
            }
        }
        return RecoveredState(
            hardState: hardState, membership: membership, snapshotIndex: snapshotIndex, snapshotTerm: snapshotTerm,
            termRuns: runs, lastIndex: lastIndex, configurationEntries: changes,
            fence: hole == nil ? fence : fence.union(.noCampaign), holeIndex: hole?.lowerBound ?? holeIndex,
            guessed: guessed)
    }
}
