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
        case .truncate(let index): entries.removeAll { $0.index >= index }
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
    }

    /// A leader's snapshot arrived and is durable; what the log holds above it stays if it goes on from there.
    mutating func install(_ index: LogIndex, _ term: Term, _ membership: Membership) {
        guard index > snapshotIndex else { return }
        let continues = self.term(at: index) == term
        entries.removeAll { !continues || $0.index <= index }
        (snapshotIndex, snapshotTerm, self.membership) = (index, term, membership)
    }

    /// The whole log, as one without holes tells it.
    var known: KnownLog {
        let state = recovered()
        return KnownLog(
            termRuns: state.termRuns, configurationEntries: state.configurationEntries, lastIndex: state.lastIndex)
    }

    func recovered(fence: Fence = [], holeIndex: LogIndex? = nil) -> RecoveredState {
        var runs: [TermRun] = []
        var changes: [(LogIndex, Membership)] = []
        for entry in entries {
            if runs.last?.term != entry.term { runs.append(TermRun(firstIndex: entry.index, term: entry.term)) }
            if entry.kind == .configuration, let membership = try? Membership(decoding: entry.payload) {
                changes.append((entry.index, membership))
            }
        }
        return RecoveredState(
            hardState: hardState, membership: membership, snapshotIndex: snapshotIndex, snapshotTerm: snapshotTerm,
            termRuns: runs, lastIndex: lastIndex, configurationEntries: changes, fence: fence, holeIndex: holeIndex)
    }
}
