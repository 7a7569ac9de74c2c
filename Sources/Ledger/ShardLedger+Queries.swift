import ClearingModel
import Wire

/// What the index says about an id: the record with this ordinal has its fingerprint.
public struct IndexHit: Hashable, Sendable {
    public var ordinal: Ordinal
    public var outcome: Outcome
    public var bodyCheck: UInt16
}

/// Totals of one currency on one shard, in minor units.
public struct CurrencyBalance: Hashable, Sendable {
    public var currency: UInt16
    public var postedDebits: UInt128 = 0
    public var postedCredits: UInt128 = 0
    /// Credits in open batches, and in closed ones that the destination has not confirmed.
    public var creditsInFlight: UInt128 = 0

    public init(currency: UInt16) { self.currency = currency }
}

extension ShardLedger {
    /// The record with an id's fingerprint, for queries; `nil` where there is none. Another id may own the
    /// fingerprint: read the record and compare. `isExpired` says whether `nil` means anything.
    public func lookup(_ id: TransactionID) -> IndexHit? {
        guard let day = days.first(where: { $0.day == id.day }) ?? closedDays.first(where: { $0.day == id.day }),
            let slot = day.partition.find(fingerprint(id)), let outcome = slot.outcome
        else { return nil }
        return IndexHit(ordinal: slot.ordinal, outcome: outcome, bodyCheck: slot.bodyCheck)
    }

    /// Whether the records of a day are no longer kept, or were never taken: nothing can be said about its ids.
    public func isExpired(_ day: BusinessDay) -> Bool {
        day <= newestDay && !days.contains { $0.day == day } && !closedDays.contains { $0.day == day }
    }

    /// How a record that the index knows is answered, once the record that was logged first has been read.
    ///
    /// A `queryOrVoid` on either side compares the id only: who asks gets the original's answer, and who comes after
    /// a void gets the void.
    public static func compare(new: Instruction, stored: Instruction) -> Answer {
        if new.id != stored.id { return .chooseAnotherSequence }
        if new.kind == .queryOrVoid || stored.kind == .queryOrVoid { return .duplicate }
        return new == stored ? .duplicate : .idConflict
    }

    /// Days that are open, ascending.
    public var openDays: [BusinessDay] { days.map(\.day) }
    /// Closed days whose index is still here, ascending.
    public var retainedDays: [BusinessDay] { closedDays.map(\.day) }

    /// Index deltas of checkpoints at or below this index hold nothing that is still needed.
    public var indexNeededFrom: LogIndex { (closedDays + days).map(\.openedAt).min() ?? appliedIndex }

    /// Markers that a leader puts into its next entry, in order, so that the open days become those of the calendar
    /// at `wall`.
    ///
    /// Days are closed before others are opened, and no day is opened twice.
    public func dueMarkers(at wall: WallTime) -> [Marker] {
        let wanted = calendar.openDays(at: wall)
        let kept = openDays.filter { wanted.contains($0) }
        // A wall clock behind the ledger's own days closes nothing: the days in front of it stay open.
        var markers = openDays.filter { $0 < wanted.lowerBound }.map { Marker.closeDay($0) }
        var room = Limits.maximumOpenDays - (openDays.count - markers.count)
        var day = wanted.lowerBound
        while day <= wanted.upperBound {
            if day > newestDay, !kept.contains(day), room > 0 {
                markers.append(.openDay(day))
                room -= 1
            }
            day = day.next
        }
        return markers
    }

    /// The window that an `openWindow` marker may open next in a scheme; `nil` while too many windows are unsettled.
    public func nextWindow(of scheme: SchemeID) -> WindowID? {
        guard windows.count < Self.maximumWindows else { return nil }
        return WindowID(scheme: scheme, number: (openWindows.first { $0.scheme == scheme }?.number ?? 0) + 1)
    }

    /// Whether apply takes this marker in the state as it is; an `openWindow` that it would ignore must not be logged, for
    /// the header of the next entry would name a window that is not open.
    public func admits(_ marker: Marker) -> Bool {
        switch marker {
        case .openWindow(let window): nextWindow(of: window.scheme) == window
        case .openDay(let day): day > newestDay && days.count < Limits.maximumOpenDays
        case .closeDay(let day): days.contains { $0.day == day }
        }
    }

    /// Participants, ascending by id.
    public var participants: [Participant] { accounts.slotsByID().map { accounts.rows[$0].participant } }

    /// Mandates, ascending by instructing participant and debtors.
    public var mandateList: [Mandate] { mandates.slotsByKey().map { mandates.rows[$0].mandate } }

    public func participant(_ id: ParticipantID) -> Participant? {
        accounts.slot(of: id).map { accounts.rows[$0].participant }
    }

    /// Where a participant stands, as a reply on the wire; one without status where the shard does not know it.
    public func position(of id: ParticipantID) -> PositionReply {
        guard let slot = accounts.slot(of: id) else {
            return PositionReply(
                participant: id, shard: shard, status: nil, currency: 0, applied: appliedIndex,
                directoryVersion: directoryVersion, funding: 0, limit: 0, available: 0, rows: [])
        }
        let account = accounts.rows[slot]
        let rows = windows.compactMap { window -> PositionRow? in
            let row = window.rows[slot]
            guard !row.isZero || openWindows.contains(window.id) else { return nil }
            return PositionRow(
                window: window.id, currency: account.currency, postedDebits: Int128(row.debits),
                postedCredits: Int128(row.credits))
        }
        return PositionReply(
            participant: id, shard: shard, status: account.participant.status, currency: account.currency,
            applied: appliedIndex, directoryVersion: directoryVersion, settled: account.settled,
            funding: account.funding, limit: account.limit, available: account.available, rows: rows)
    }

    /// Calls `body` with every participant whose debits this shard decides, in the order in which it met them, and what
    /// the participant may still pay.
    public func forEachAvailable(_ body: (ParticipantID, Int128) -> Void) {
        for slot in 0..<accounts.count where accounts.rows[slot].rights & Account.decides != 0 {
            body(ParticipantID(accounts.rows[slot].id), accounts.rows[slot].available)
        }
    }

    /// Totals per currency, ascending. Over all shards, `Σ postedDebits = Σ postedCredits + Σ creditsInFlight`, less
    /// the batches that a destination has applied and its source has not yet seen confirmed
    /// (`creditsInFlight(to:after:)`).
    public func balances() -> [CurrencyBalance] {
        var totals: [CurrencyBalance] = []
        func add(_ currency: UInt16, _ change: (inout CurrencyBalance) -> Void) {
            let position = totals.firstIndex { $0.currency >= currency } ?? totals.count
            if position == totals.count || totals[position].currency != currency {
                totals.insert(CurrencyBalance(currency: currency), at: position)
            }
            change(&totals[position])
        }
        for slot in 0..<accounts.count {
            for window in windows where !window.rows[slot].isZero {
                add(accounts.rows[slot].currency) {
                    $0.postedDebits += window.rows[slot].debits
                    $0.postedCredits += window.rows[slot].credits
                }
            }
        }
        for destination in 1...shardCount {
            for line in linesInFlight(to: ShardID(UInt16(destination)), after: .zero) {
                let currency = accounts.rows[accounts.slot(of: line.participant)!].currency
                add(currency) { $0.creditsInFlight += UInt128(line.amount) }
            }
        }
        return totals
    }

    /// Credits for a destination that are in open batches or in closed ones beyond `number`.
    public func creditsInFlight(to destination: ShardID, after number: BatchNumber) -> UInt128 {
        linesInFlight(to: destination, after: number).reduce(0) { $0 + UInt128($1.amount) }
    }

    private func linesInFlight(to destination: ShardID, after number: BatchNumber) -> [CreditLine] {
        let stream = outgoing[Int(destination.rawValue)]
        return stream.unconfirmed.filter { $0.number > number }.flatMap(\.lines) + stream.waiting.flatMap { $0 }
            + openCredits.lines(for: destination, accounts)
    }
}
