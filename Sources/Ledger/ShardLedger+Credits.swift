import ClearingModel
import Wire

// A worked example. Shard 1 accepts 3 payments of 5.00 from A to B, whose home is shard 2. B's cell holds (15.00, 3).
// An entry with a flush mark closes batch 1 = [(B, window, 15.00, 3)]. The leader of shard 1 sends it; the leader of
// shard 2 finds its cursor at 0 and logs the batch as a section of its next entry. Every replica of shard 2 applies
// it: B is credited, the cursor is (1, index, term, hash). The leader of shard 2 confirms with that cursor; the
// leader of shard 1 logs the confirmation, and when it is applied every replica of shard 1 forgets batch 1. Lost,
// repeated or late messages change nothing: the batch is applied only at cursor 0, the confirmation only trims.

extension ShardLedger {
    /// Whether a flush mark would close a batch: the leader sets one, `Limits.flushInterval` after the last, where
    /// this holds.
    public var hasClosableCredits: Bool {
        (1...shardCount).contains { outgoing[$0].hasRoom && hasOpenLines(to: $0) }
    }

    /// Whether credits wait in open batches, closable now or not.
    public var hasOpenCredits: Bool { (1...shardCount).contains { hasOpenLines(to: $0) } }

    private func hasOpenLines(to destination: Int) -> Bool {
        openCredits.lineCounts[destination] > 0 || !outgoing[destination].waiting.isEmpty
    }

    /// Closed batches that the destination has not confirmed, oldest first; what a leader sends, and sends again.
    public func unconfirmedBatches(to destination: ShardID) -> [CreditBatch] {
        outgoing[Int(destination.rawValue)].unconfirmed
    }

    /// Where both streams with another shard stand.
    public func inspectStream(with other: ShardID) -> StreamInspection {
        let place = Int(other.rawValue)
        return StreamInspection(
            applied: incoming[place].cursor, closed: outgoing[place].last.number,
            confirmed: outgoing[place].confirmed.number)
    }

    /// How many closed batches a destination has not confirmed.
    public func unconfirmedCount(to destination: ShardID) -> Int {
        outgoing[Int(destination.rawValue)].unconfirmed.count
    }

    /// Where this shard stands in the stream of a source.
    public func incomingCursor(from source: ShardID) -> CreditCursor { incoming[Int(source.rawValue)].cursor }

    /// Last batch closed for a destination.
    public func lastClosed(to destination: ShardID) -> CreditCursor { outgoing[Int(destination.rawValue)].last }

    /// Last batch that a destination confirmed.
    public func confirmed(by destination: ShardID) -> CreditCursor { outgoing[Int(destination.rawValue)].confirmed }

    /// The confirmation that a leader owes a source for what is applied; `nil` before the first batch.
    public func confirmation(for source: ShardID) -> CreditConfirmation? {
        let cursor = incomingCursor(from: source)
        guard cursor.number > .zero else { return nil }
        return CreditConfirmation(source: source, destination: shard, cursor: cursor)
    }

    public var haltedStreams: [HaltedStream] {
        (1...shardCount).flatMap { other -> [HaltedStream] in
            let other = ShardID(UInt16(other))
            return [
                HaltedStream(source: other, destination: shard, reason: incoming[Int(other.rawValue)].halt),
                HaltedStream(source: shard, destination: other, reason: outgoing[Int(other.rawValue)].halt),
            ].filter { $0.reason != .running }
        }
    }

    /// What to do with a batch from a peer, before it is logged.
    ///
    /// - Parameter after: the cursor behind the batches that the leader has already proposed and not yet applied; the
    ///   applied cursor where it has proposed none.
    public func admission(of batch: CreditBatch, after proposed: CreditCursor? = nil) -> BatchAdmission {
        guard batch.destination == shard, Int(batch.source.rawValue) <= shardCount else { return .wrongDestination }
        let stream = incoming[Int(batch.source.rawValue)]
        guard stream.halt == .running else { return .halted(stream.halt) }
        let cursor = proposed ?? stream.cursor
        switch IncomingStream.continues(batch, from: cursor) {
        case nil: return .notYet(next: cursor.number.next)
        case false?: return .mismatch
        case true?: break
        }
        if batch.number <= cursor.number { return .alreadyApplied }
        guard batch.directoryVersion <= directoryVersion else { return .waitsForDirectory(batch.directoryVersion) }
        return .apply
    }

    /// Whether `batch` may be logged now.
    public func canApply(_ batch: CreditBatch) -> Bool { admission(of: batch) == .apply }
}

// MARK: - Applying

extension ShardLedger {
    func apply(_ batch: CreditBatch) {
        let source = Int(batch.source.rawValue)
        switch admission(of: batch) {
        case .apply: break
        case .mismatch:
            incoming[source].halt = .mismatch
            return
        case .alreadyApplied, .notYet, .waitsForDirectory, .halted, .wrongDestination:
            counters.ignoredBatches += 1
            return
        }
        let lines = batch.lines
        if let fault = fault(in: lines) {
            incoming[source].halt = fault
            return
        }
        for line in lines {
            let slot = accounts.slot(of: line.participant)!
            let rows = positions(in: line.window).rows
            rows[slot].credits += UInt128(line.amount)
            rows[slot].creditCount += line.count
            post(Int128(line.amount), to: slot)
        }
        incoming[source].cursor = batch.cursor
        mix(batch.hash)
    }

    /// Adds to what a participant may pay, and to what its sponsor may.
    func post(_ amount: Int128, to slot: Int) {
        accounts.rows[slot].available += amount
        let sponsor = Int(accounts.rows[slot].sponsorSlot)
        if sponsor >= 0 { accounts.rows[sponsor].available += amount }
    }

    /// What forbids a batch as a whole. None of it can happen while sources keep the rules; if it does the stream
    /// halts, and the shard goes on with everything else.
    private func fault(in lines: [CreditLine]) -> StreamHalt? {
        var unknownWindows: [WindowID] = []
        for line in lines {
            guard let slot = accounts.slot(of: line.participant), accounts.rows[slot].rights & Account.isHome != 0
            else {
                return .unknownCreditor
            }
            if !windows.contains(where: { $0.id == line.window }), !unknownWindows.contains(line.window) {
                guard windows.count + unknownWindows.count < Self.maximumWindows else { return .unknownWindow }
                unknownWindows.append(line.window)
            }
        }
        return nil
    }

    func apply(_ confirmation: CreditConfirmation) {
        let destination = Int(confirmation.destination.rawValue)
        let cursor = confirmation.cursor
        guard confirmation.source == shard, destination <= shardCount, confirmation.destination != shard,
            outgoing[destination].halt == .running
        else {
            counters.ignoredConfirmations += 1
            return
        }
        if cursor.number > outgoing[destination].last.number {
            outgoing[destination].halt = .cursorAhead
            return
        }
        if cursor.number <= outgoing[destination].confirmed.number {
            if cursor.number == outgoing[destination].confirmed.number, cursor != outgoing[destination].confirmed {
                outgoing[destination].halt = .confirmationMismatch
            }
            counters.ignoredConfirmations += 1
            return
        }
        let position = Int(cursor.number.rawValue - outgoing[destination].confirmed.number.rawValue) - 1
        guard outgoing[destination].unconfirmed[position].cursor == cursor else {
            outgoing[destination].halt = .confirmationMismatch
            return
        }
        outgoing[destination].unconfirmed.removeFirst(position + 1)
        outgoing[destination].confirmed = cursor
        mix(cursor.hash)
    }

    #if SUANPAN_MUTATIONS
        package func trim(_ confirmation: CreditConfirmation) { apply(confirmation) }
    #endif

    /// The flush mark: closes what is open for every destination that has room for another batch, in order of
    /// destinations.
    func closeBatches() {
        for destination in 1...shardCount {
            while outgoing[destination].hasRoom, hasOpenLines(to: destination) {
                close(nextLines(for: destination), destination)
            }
            if !outgoing[destination].hasRoom, hasOpenLines(to: destination) { Site.creditWindowFull.reached() }
        }
    }

    private func nextLines(for destination: Int) -> [CreditLine] {
        guard !outgoing[destination].waiting.isEmpty else {
            return openCredits.take(
                for: ShardID(UInt16(destination)), accounts, atMost: CreditBatch.maximumLines)
        }
        let lines = Array(outgoing[destination].waiting[0].prefix(CreditBatch.maximumLines))
        outgoing[destination].waiting[0].removeFirst(lines.count)
        if outgoing[destination].waiting[0].isEmpty { outgoing[destination].waiting.removeFirst() }
        return lines
    }

    private func close(_ lines: [CreditLine], _ destination: Int) {
        let last = outgoing[destination].last
        let batch = CreditBatch(
            source: shard, destination: ShardID(UInt16(destination)), number: last.number.next,
            sourceIndex: appliedIndex,
            sourceTerm: appliedTerm, directoryVersion: directoryCursor, previousHash: last.hash, lines: lines,
            key: hashKey)
        outgoing[destination].last = batch.cursor
        outgoing[destination].unconfirmed.append(batch)
        mix(batch.hash)
    }

    /// A batch never spans windows: what is open in the window before waits for its own batches.
    func rollOpenCredits(to window: WindowID) {
        for destination in 1...shardCount where openCredits.lineCounts[destination] > 0 {
            outgoing[destination].waiting.append(
                openCredits.take(for: ShardID(UInt16(destination)), accounts, atMost: .max))
        }
        openCredits.window = window
    }
}
