import ClearingModel
import Wire

extension ShardLedger {
    /// Applies one committed data entry: sections in their order, then records in theirs, then the flush mark.
    ///
    /// - Parameter decisions: replaced by one decision per record, in order. Where the answer is `needsComparison`,
    ///   `index` is the ordinal of the earlier record, `outcome` its outcome, and nothing changed.
    /// - Precondition: `validate` found nothing, `index` is beyond `appliedIndex`, and the header continues ledger
    ///   time, ordinals and window, as `EntrySequence` makes it. An entry that breaks this means that the log is not
    ///   what was agreed: the process stops rather than diverge.
    public func apply(
        _ payload: UnsafeRawBufferPointer, index: LogIndex, term: Term, decisions: inout [Decision]
    ) {
        let view: EntryView
        switch EntryView.read(payload, group: .clearing) {
        case .failure(let error): preconditionFailure("entry \(index) of shard \(shard) is malformed: \(error)")
        case .success(let read): view = read
        }
        let header = view.header
        precondition(index > appliedIndex && term >= appliedTerm, "entries are applied in log order")
        precondition(header.ledgerTime > lastLedgerTime, "ledger time goes forward")
        precondition(header.firstOrdinal == nextOrdinal, "ordinals have no gap")
        appliedIndex = index
        appliedTerm = term
        lastLedgerTime = header.ledgerTime
        nextOrdinal = nextOrdinal + header.recordCount
        appliedBytes += UInt64(payload.count)

        if header.sectionCount > 0 {
            for section in view.sections(key: hashKey) { apply(section) }
        }
        precondition(openWindows.contains(header.window), "the header names the open window")
        if header.window != openCredits.window { rollOpenCredits(to: header.window) }
        applyRecords(view, decisions: &decisions)
        if header.isFlush { closeBatches() }

        mix(index.rawValue)
        mix(term.rawValue)
        mix(header.ledgerTime.rawValue)
        mix(directoryCursor.rawValue)
    }

    /// Applies the payload that a slab holds, which stays alive meanwhile.
    public func apply(_ payload: Slab, index: LogIndex, term: Term, decisions: inout [Decision]) {
        withExtendedLifetime(payload) { apply(payload.bytes, index: index, term: term, decisions: &decisions) }
    }

    private func apply(_ section: EntrySection) {
        switch section {
        case .creditBatch(let batch): apply(batch)
        case .creditConfirmation(let confirmation): apply(confirmation)
        case .directoryUpdate(let update): apply(update)
        case .marker(.openDay(let day)): openDay(day)
        case .marker(.closeDay(let day)): closeDay(day)
        case .marker(.openWindow(let window)): openWindow(window)
        case .directoryChange: preconditionFailure("a directory command in a clearing shard's log")
        }
    }

    /// One step of the running hash.
    func mix(_ word: UInt64) { runningHash = Self.mixed(runningHash, word) }

    @inline(__always)
    static func mixed(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        return product ^ product >> 32
    }
}

// MARK: - Directory, days and windows

extension ShardLedger {
    private func apply(_ update: DirectoryUpdate) {
        guard update.after == directoryCursor else {
            counters.ignoredUpdates += 1
            return
        }
        calendar = update.calendar
        var added = false
        for participant in update.participants {
            if accounts.upsert(participant, shard: shard, slots: slots) { added = true }
        }
        for mandate in update.mandates { mandates.upsert(mandate) }
        if added { accountsAdded() }
        if !update.participants.isEmpty { accounts.resolve(windows) }
        directoryCursor = update.through
        if update.isComplete { directoryVersion = update.through }
    }

    func accountsAdded() {
        openCredits.assignCells(accounts, shard: shard)
        for window in windows { window.rows.resize(to: accounts.count, filling: Position()) }
    }

    private func openDay(_ day: BusinessDay) {
        guard day > newestDay, days.count < Limits.maximumOpenDays else {
            counters.ignoredMarkers += 1
            return
        }
        days.append(Day(day, openedAt: appliedIndex))
        newestDay = day
    }

    private func closeDay(_ day: BusinessDay) {
        guard let position = days.firstIndex(where: { $0.day == day }) else {
            counters.ignoredMarkers += 1
            return
        }
        Site.dayClosed.reached()
        let closed = days.remove(at: position)
        closed.partition.isSealed = true
        closed.caps = CapUsage()
        closedDays.append(closed)
        closedDays.sort { $0.day < $1.day }
        if closedDays.count > options.retainedClosedDays { closedDays.removeFirst() }
    }

    private func openWindow(_ window: WindowID) {
        if let open = openWindows.firstIndex(where: { $0.scheme == window.scheme }) {
            guard window.number == openWindows[open].number + 1, windows.count < Self.maximumWindows else {
                counters.ignoredMarkers += 1
                return
            }
            openWindows[open] = window
        } else {
            guard window.number == 1, windows.count < Self.maximumWindows else {
                counters.ignoredMarkers += 1
                return
            }
            openWindows.append(window)
            openWindows.sort()
        }
        _ = positions(in: window)
    }

    /// Windows with positions that a shard holds; the bound also of how far another shard may be ahead.
    static var maximumWindows: Int { 64 }

    /// The positions of a window, made where it has none yet.
    func positions(in window: WindowID) -> WindowPositions {
        if let found = windows.first(where: { $0.id == window }) { return found }
        let made = WindowPositions(id: window, accountCount: accounts.count)
        windows.append(made)
        windows.sort { $0.id < $1.id }
        return made
    }
}
