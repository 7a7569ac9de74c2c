import ClearingModel
import Wire

/// Buffers of the apply loop, allocated once.
final class RecordScratch {
    /// Records that are looked up ahead together, so that the memory accesses of their index look-ups overlap.
    static let blockSize = 64

    let fingerprints = Storage<UInt64>(repeating: 0, count: blockSize)
    /// Where each fingerprint's partition says on which page it belongs.
    let entries: Storage<UnsafePointer<UInt>>
    let noEntry = Storage<UInt>(repeating: 0, count: 1)
    let noLine = Storage<IndexSlot>(repeating: IndexSlot(fingerprint: 0, word: 0), count: IndexPartition.slotsPerLine)
    /// First slot of the line where each fingerprint belongs.
    let lines: Storage<UnsafePointer<IndexSlot>>
    /// Row of the record's day; −1 = not open.
    let dayRows = Storage<Int8>(repeating: -1, count: blockSize)
    let fresh = Storage<IndexSlot>(
        repeating: IndexSlot(fingerprint: 0, word: 0), count: blockSize * Limits.maximumOpenDays)
    let days: Storage<DayRow>
    /// Keeps the look-ahead's loads from being removed.
    var touched: UInt64 = 0

    init() {
        entries = Storage(repeating: UnsafePointer(noEntry.base), count: Self.blockSize)
        lines = Storage(repeating: UnsafePointer(noLine.base), count: Self.blockSize)
        let nothing = DayRow(
            day: 0, start: 0, reader: IndexPartition().reader, fresh: fresh.base, freshCount: 0, freshDigest: 0)
        days = Storage(repeating: nothing, count: Limits.maximumOpenDays)
    }
}

/// What a record is decided from, as addresses and values taken once per entry.
///
/// Every address is used only with slots and cells that the tables of the same ledger handed out, and no table grows
/// while records are applied (sums under daily caps excepted, which are reached through their class).
private struct RecordContext {
    let accounts: UnsafeMutablePointer<Account>
    let ids: NumberTable.Reader
    let mandates: UnsafeMutablePointer<MandateRow>
    let specificMandates: NumberTable.Reader
    let classMandates: NumberTable.Reader
    let positions: UnsafeMutablePointer<Position>
    let cells: UnsafeMutablePointer<OpenCredits.Cell>
    let cellBits: UnsafeMutablePointer<UInt64>
    let lineCounts: UnsafeMutablePointer<UInt32>
    let ledgerTime: UInt64
    let payments = InstructionKinds.payments.rawValue

    /// The rules in order, from the fault of the record on; the first that fails names the outcome. docs/ENTRIES.md,
    /// "Records".
    ///
    /// - Parameters:
    ///   - record: 128 bytes.
    ///   - day: row of the id's business day; `nil` = not open.
    @inline(__always)
    func decide(
        _ record: UnsafeRawPointer, day: UnsafeMutablePointer<DayRow>?, caps: () -> CapUsage, routesHere: () -> Bool
    ) -> Outcome {
        @inline(__always)
        func word(_ i: Int) -> UInt64 {
            UInt64(littleEndian: record.loadUnaligned(fromByteOffset: i &* 8, as: UInt64.self))
        }
        let parties = word(0)
        let tail = word(5)
        let timing = word(6)
        let kind = UInt8(truncatingIfNeeded: tail >> 48)
        let debtorID = parties & 0xFFFF_FFFF
        let instructingID = parties >> 32
        let isPlainPayment =
            (tail >> 56 | word(2) | word(3) | timing >> 48) == 0 && kind < 64 && payments &>> UInt64(kind) & 1 == 1
            && debtorID != 0 && instructingID != 0
        if !isPlainPayment, record.loadUnaligned(as: Instruction.self).fault != nil { return .unsupported }
        let debtorSlot = ids.find(debtorID)
        if debtorSlot < 0 ? !routesHere() : accounts[debtorSlot].rights & Account.decides == 0 { return .unsupported }
        guard let day else { return .dayNotOpen }
        if kind == InstructionKind.queryOrVoid.rawValue { return .voided }

        let acceptBy = timing & 0xFFFF_FFFF
        if acceptBy != 0, ledgerTime > day.pointee.start &+ acceptBy &* 1_000 { return .acceptByPassed }
        let amount = word(4)
        if amount == 0 { return .amountZero }
        if amount > Limits.maximumAmount { return .amountOverLimit }

        let creditorSlot = ids.find(tail & 0xFFFF_FFFF)
        let instructingSlot = instructingID == debtorID ? debtorSlot : ids.find(instructingID)
        if debtorSlot < 0 { return .debtorUnknown }
        if creditorSlot < 0 { return .creditorUnknown }
        if instructingSlot < 0 { return .instructingUnknown }
        let debtor = accounts + debtorSlot
        let creditor = accounts + creditorSlot
        if debtor.pointee.rights & Account.maySend == 0 { return .debtorSuspended }
        if creditor.pointee.rights & Account.mayReceive == 0 { return .creditorSuspended }
        if accounts[instructingSlot].rights & Account.maySend == 0 { return .instructingSuspended }
        if debtorSlot == creditorSlot { return .sameParticipant }
        let currency = UInt16(truncatingIfNeeded: tail >> 32)
        if debtor.pointee.currency != currency || creditor.pointee.currency != currency { return .currencyNotAccepted }
        if debtor.pointee.rights & Account.sponsorElsewhere != 0 { return .unsupported }

        var cappedMandate = -1
        if instructingSlot != debtorSlot {
            var mandate = specificMandates.find(instructingID | debtorID << 32)
            if mandate < 0 || mandates[mandate].revoked != 0 {
                mandate = classMandates.find(instructingID | UInt64(debtor.pointee.kind) << 32)
            }
            if mandate < 0 || mandates[mandate].revoked != 0 || mandates[mandate].kinds &>> UInt64(kind) & 1 == 0 {
                return .noMandate
            }
            if amount > mandates[mandate].maximumAmount { return .mandateLimitExceeded }
            let cap = mandates[mandate].dailyCap
            if cap != 0 {
                let used = caps().used(mandate: mandate, debtor: debtorSlot)
                if used > cap || amount > cap - used { return .mandateLimitExceeded }
                cappedMandate = mandate
            }
        }

        let money = Int128(amount)
        let sponsorSlot = Int(debtor.pointee.sponsorSlot)
        if debtor.pointee.available < money { return .insufficientFunds }
        if sponsorSlot >= 0 {
            if accounts[sponsorSlot].rights & Account.maySend == 0 { return .debtorSuspended }
            if accounts[sponsorSlot].available < money { return .insufficientFunds }
        }

        // Accepted, unless the credit's cell would overflow.
        let cell = Int(creditor.pointee.cell)
        if cell >= 0 {
            let (sum, overflow) = cells[cell].amount.addingReportingOverflow(amount)
            if overflow { return .positionOverflow }
            if cells[cell].count == 0 {
                lineCounts[Int(creditor.pointee.home)] &+= 1
                cellBits[cell >> 6] |= 1 &<< UInt64(truncatingIfNeeded: cell)
            }
            cells[cell].amount = sum
            cells[cell].count &+= 1
        } else {
            positions[creditorSlot].credits += UInt128(amount)
            positions[creditorSlot].creditCount &+= 1
            creditor.pointee.available += money
            let sponsor = Int(creditor.pointee.sponsorSlot)
            if sponsor >= 0 { accounts[sponsor].available += money }
        }
        positions[debtorSlot].debits += UInt128(amount)
        positions[debtorSlot].debitCount &+= 1
        debtor.pointee.available -= money
        if sponsorSlot >= 0 { accounts[sponsorSlot].available -= money }
        if cappedMandate >= 0 { caps().add(amount, mandate: cappedMandate, debtor: debtorSlot) }
        return .accepted
    }
}

extension ShardLedger {
    /// Decides the records of an entry, one after the other.
    func applyRecords(_ view: EntryView, decisions: inout [Decision]) {
        let count = view.header.recordCount
        let template = Decision(
            outcome: .accepted, answer: .decided, slot: 0, window: view.header.window, index: appliedIndex,
            shard: shard,
            ledgerTime: view.header.ledgerTime)
        if decisions.count > count { decisions.removeLast(decisions.count - count) }
        while decisions.count < count { decisions.append(template) }
        guard count > 0 else { return }

        let dayCount = days.count
        for (row, day) in days.enumerated() {
            scratch.days[row] = DayRow(
                day: day.day.rawValue,
                start: day.day.start(offsetMinutes: Int(calendar.zoneOffsetMinutes)).rawValue,
                reader: day.partition.reader, fresh: scratch.fresh.base + row * RecordScratch.blockSize, freshCount: 0,
                freshDigest: 0)
        }
        let context = RecordContext(
            accounts: accounts.rows.base, ids: accounts.table.reader, mandates: mandates.rows.base,
            specificMandates: mandates.specific.reader, classMandates: mandates.classes.reader,
            positions: positions(in: view.header.window).rows.base, cells: openCredits.cells.base,
            cellBits: openCredits.bits.base, lineCounts: openCredits.lineCounts.base,
            ledgerTime: view.header.ledgerTime.rawValue)
        let records = view.payload.baseAddress! + EntryHeader.size
        decisions.withUnsafeMutableBufferPointer { decisions in
            var start = 0
            while start < count {
                let end = min(start + RecordScratch.blockSize, count)
                applyBlock(
                    records, start..<end, firstOrdinal: view.header.firstOrdinal.rawValue, dayCount: dayCount, context,
                    template, decisions.baseAddress!)
                start = end
            }
        }
    }

    private func applyBlock(
        _ records: UnsafeRawPointer, _ range: Range<Int>, firstOrdinal: UInt64, dayCount: Int, _ context: RecordContext,
        _ template: Decision, _ decisions: UnsafeMutablePointer<Decision>
    ) {
        let fingerprints = scratch.fingerprints.base
        let dayRows = scratch.dayRows.base
        let days = scratch.days.base
        lookAhead(records, range, dayCount: dayCount)

        var hash = runningHash
        var slot = range.lowerBound
        while slot < range.upperBound {
            let record = records + slot &* Instruction.size
            let fingerprint = fingerprints[slot &- range.lowerBound]
            let row = Int(dayRows[slot &- range.lowerBound])
            let day = row < 0 ? nil : days + row
            let place = day.map {
                $0.pointee.reader.probe(fingerprint) ?? self.days[row].partition.makeRoom(fingerprint)
            }
            var decision = template
            decision.slot = UInt16(truncatingIfNeeded: slot)
            if let place, place.pointee.word != 0 {
                let found = place.pointee
                decision.outcomeCode = found.outcomeCode
                decision.answerCode = Answer.needsComparison.rawValue
                decision.index = found.ordinal.rawValue
                hash = Self.mixed(hash, found.ordinal.rawValue | 255 << 40)
            } else {
                let outcome = context.decide(
                    record, day: day, caps: { self.days[row].caps }, routesHere: { self.routesHere(record) }
                ).rawValue
                decision.outcomeCode = outcome
                let word = IndexSlot.word(
                    ordinal: firstOrdinal &+ UInt64(slot), outcome: outcome, check: bodyCheck(record))
                hash = Self.mixed(hash, word)
                if let place, let day {
                    let new = IndexSlot(fingerprint: fingerprint, word: word)
                    place.pointee = new
                    day.pointee.fresh[day.pointee.freshCount] = new
                    day.pointee.freshCount &+= 1
                    day.pointee.freshDigest = day.pointee.freshDigest &+ new.digest
                }
            }
            decisions[slot] = decision
            slot &+= 1
        }
        runningHash = hash

        for row in 0..<dayCount where days[row].freshCount > 0 {
            self.days[row].partition.inserted(days[row].freshCount, digest: days[row].freshDigest)
            self.days[row].delta.append(UnsafeBufferPointer(start: days[row].fresh, count: days[row].freshCount))
            days[row].freshCount = 0
            days[row].freshDigest = 0
        }
    }

    /// Fingerprints of a block, and a first touch of the index lines where they belong.
    ///
    /// Nearly every touch misses all caches, that of the partition's directory often too. Loops of their own, of a few
    /// instructions a record, keep a dozen misses in flight; in one loop with the hash there would be two or three.
    private func lookAhead(_ records: UnsafeRawPointer, _ range: Range<Int>, dayCount: Int) {
        let fingerprints = scratch.fingerprints.base
        let entries = scratch.entries.base
        let lines = scratch.lines.base
        let dayRows = scratch.dayRows.base
        let days = scratch.days.base
        let fingerprint = fingerprint
        let noLine = UnsafePointer(scratch.noLine.base)
        let noEntry = UnsafePointer(scratch.noEntry.base)
        let count = range.count
        var i = 0
        while i < count {
            let record = records + (range.lowerBound &+ i) &* Instruction.size
            let parties = UInt64(littleEndian: record.loadUnaligned(as: UInt64.self))
            let dayAndSequence = UInt64(littleEndian: record.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            let value = fingerprint(parties, dayAndSequence)
            let wanted = UInt16(truncatingIfNeeded: dayAndSequence)
            var row = dayCount &- 1
            while row >= 0, days[row].day != wanted { row &-= 1 }
            entries[i] = row < 0 ? noEntry : UnsafePointer(days[row].reader.entry(value))
            fingerprints[i] = value
            dayRows[i] = Int8(truncatingIfNeeded: row)
            i &+= 1
        }
        i = 0
        while i < count {
            let page = IndexPartition.page(entries[i].pointee)
            lines[i] = page.map { UnsafePointer($0 + IndexPartition.line(fingerprints[i])) } ?? noLine
            i &+= 1
        }
        var touched: UInt64 = 0
        i = 0
        while i < count {
            touched ^= lines[i].pointee.word
            i &+= 1
        }
        i = 0
        while i < count {
            touched ^= IndexPartition.after(lines[i]).pointee.word
            i &+= 1
        }
        scratch.touched ^= touched
    }

    /// Whether this shard decides a record whose debtor it does not know. Rare.
    @inline(never)
    private func routesHere(_ record: UnsafeRawPointer) -> Bool {
        slots.route(record.loadUnaligned(as: Instruction.self).id) == shard
    }
}
