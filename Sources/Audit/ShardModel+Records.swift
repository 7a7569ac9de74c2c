import ClearingModel

extension ShardModel {
    /// Decides the records of an entry, each on the state that the one before left.
    func applyRecords(_ head: EntryHead, _ payload: UnsafeRawBufferPointer) {
        let first = outcomes.beginEntry(index, firstOrdinal: head.firstOrdinal, records: head.records)
        guard head.records > 0 else { return }
        let base = payload.baseAddress! + EntryHead.size
        let ids = outcomes.ids
        ids.reserve(head.records)
        let rule = RecordRule(model: self, window: head.window)
        var hash = runningHash
        for slot in 0..<head.records {
            // Cells are far apart in memory: fetch those of the records to come.
            if slot & 15 == 0 { touch(base, slot..<min(slot + 32, head.records), ids) }
            let record = base + slot &* EntryHead.recordSize
            let id = IDWords(parties: word(record, 0), dayAndSequence: word(record, 1))
            let ordinal = first &+ UInt64(slot)
            let day = openDays.firstIndex { $0.day == UInt16(truncatingIfNeeded: id.dayAndSequence) }
            var cell = -1
            let idHash = id.hash
            if day != nil {
                if let earlier = collisions?.find(id) {
                    repeated += 1
                    outcomes.append(0)
                    hash = Self.mixed(hash, earlier | 255 << 40)
                    continue
                }
                let found = outcomes.find(id, hash: idHash)
                if let earlier = found.ordinal {
                    repeated += 1
                    outcomes.append(0)
                    hash = Self.mixed(hash, earlier | 255 << 40)
                    continue
                }
                if let earlier = restored.find(id) {
                    repeated += 1
                    outcomes.append(0)
                    hash = Self.mixed(hash, earlier.ordinal | 255 << 40)
                    continue
                }
                cell = found.cell
            }
            let outcome = rule.decide(record, id: id, day: day)
            counts[Int(outcome.rawValue)] += 1
            outcomes.append(outcome.rawValue)
            if cell >= 0 {
                outcomes.fill(cell, hash: idHash, ordinal: ordinal)
                collisions?.insert(id, ordinal: ordinal)
            }
            hash = Self.mixed(hash, ordinal | UInt64(outcome.rawValue) << 40 | bodyCheck(record) << 48)
        }
        runningHash = hash
        records += UInt64(head.records)
    }

    private func touch(_ base: UnsafeRawPointer, _ range: Range<Int>, _ ids: IDTable) {
        for slot in range {
            let record = base + slot &* EntryHead.recordSize
            touched ^= ids.touch(IDWords(parties: word(record, 0), dayAndSequence: word(record, 1)).hash)
        }
    }

    /// The 16 bits over a record's body that stand in the index.
    @inline(__always)
    private func bodyCheck(_ record: UnsafeRawPointer) -> UInt64 {
        var sum: UInt64 = 0
        for i in 2..<16 { sum = sum &+ word(record, i) &* UInt64(2 &* i &+ 1) }
        return (sum &* 0x9E37_79B9_7F4A_7C15) >> 48
    }
}

@inline(__always)
private func word(_ record: UnsafeRawPointer, _ at: Int) -> UInt64 {
    UInt64(littleEndian: record.loadUnaligned(fromByteOffset: at &* 8, as: UInt64.self))
}

/// The rules by which one record is decided, in ENTRIES.md's order.
struct RecordRule {
    private static let payments = InstructionKinds.payments.rawValue

    let model: ShardModel
    let window: WindowID

    private func account(_ id: UInt64) -> Int { model.accountRows.find(id) }

    /// - Parameter day: row of the id's day among the open ones; `nil` = not open.
    @inline(__always)
    func decide(_ record: UnsafeRawPointer, id: IDWords, day: Int?) -> Outcome {
        let debtorID = id.parties & 0xFFFF_FFFF
        let instructingID = id.parties >> 32
        let debtor = account(debtorID)
        // Rule 2: faults, and ids of other shards.
        let tail = word(record, 5)
        let kind = UInt8(truncatingIfNeeded: tail >> 48)
        let flags = tail >> 56
        let timing = word(record, 6)
        let isQuery = kind == InstructionKind.queryOrVoid.rawValue
        guard isQuery || (kind < 64 && Self.payments >> UInt64(kind) & 1 == 1) else { return .unsupported }
        guard flags == 0, timing >> 48 == 0, word(record, 2) | word(record, 3) == 0, debtorID != 0, instructingID != 0
        else { return .unsupported }
        if isQuery {
            let rest = word(record, 4) | (tail & 0x0000_FFFF_FFFF_FFFF) | (6..<16).reduce(0) { $0 | word(record, $1) }
            guard rest == 0 else { return .unsupported }
        }
        guard debtor >= 0 ? model.accounts.base[debtor].decidesHere : routesHere(id) else { return .unsupported }
        // 3, 4, 5
        guard let day else { return .dayNotOpen }
        if isQuery { return .voided }
        let acceptBy = timing & 0xFFFF_FFFF
        if acceptBy != 0, model.ledgerTime > model.openDays[day].start &+ acceptBy &* 1_000 { return .acceptByPassed }
        // 6
        let amount = word(record, 4)
        if amount == 0 { return .amountZero }
        if amount > 1_000_000_000_000 { return .amountOverLimit }
        return decideParties(
            debtor, account(tail & 0xFFFF_FFFF), account(instructingID), instructingID, debtorID, amount, kind,
            currency: UInt16(truncatingIfNeeded: tail >> 32), day)
    }

    private func routesHere(_ id: IDWords) -> Bool {
        let id = TransactionID(
            debtor: ParticipantID(UInt32(truncatingIfNeeded: id.parties)),
            instructing: ParticipantID(UInt32(truncatingIfNeeded: id.parties >> 32)), dayAndSequence: id.dayAndSequence)
        return Int(model.slots.route(id).rawValue) == model.shard
    }

    /// Rules 7 to 12: who may pay whom, on whose word.
    @inline(__always)
    private func decideParties(
        _ debtor: Int, _ creditor: Int, _ instructing: Int, _ instructingID: UInt64, _ debtorID: UInt64,
        _ amount: UInt64,
        _ kind: UInt8, currency: UInt16, _ day: Int
    ) -> Outcome {
        let accounts = model.accounts.base
        if debtor < 0 { return .debtorUnknown }
        if creditor < 0 { return .creditorUnknown }
        if instructing < 0 { return .instructingUnknown }
        if !accounts[debtor].maySend { return .debtorSuspended }
        if !accounts[creditor].mayReceive { return .creditorSuspended }
        if !accounts[instructing].maySend { return .instructingSuspended }
        if debtor == creditor { return .sameParticipant }
        if accounts[debtor].currency != currency || accounts[creditor].currency != currency {
            return .currencyNotAccepted
        }
        if accounts[debtor].sponsorElsewhere { return .unsupported }
        var cap: ShardModel.CapKey?
        if instructing != debtor {
            var row = model.oneMandates.find(instructingID | debtorID << 32)
            if row < 0 || model.mandates.base[row].isRevoked {
                row = model.classMandates.find(instructingID | UInt64(accounts[debtor].kind) << 32)
            }
            guard row >= 0, !model.mandates.base[row].isRevoked, model.mandates.base[row].kinds >> UInt64(kind) & 1 == 1
            else { return .noMandate }
            let mandate = model.mandates.base[row]
            if amount > mandate.maximum { return .mandateLimitExceeded }
            if mandate.cap > 0 {
                let key = ShardModel.CapKey(day: model.openDays[day].day, mandate: row, debtor: debtor)
                if UInt128(model.capSums[key] ?? 0) + UInt128(amount) > UInt128(mandate.cap) {
                    return .mandateLimitExceeded
                }
                cap = key
            }
        }
        return move(amount, debtor, creditor, currency, cap)
    }

    /// Rules 13 to 15: the money, and what an accepted payment changes.
    @inline(__always)
    private func move(
        _ amount: UInt64, _ debtor: Int, _ creditor: Int, _ currency: UInt16, _ cap: ShardModel.CapKey?
    ) -> Outcome {
        let accounts = model.accounts.base
        let money = Int128(amount)
        let sponsor = Int(accounts[debtor].sponsorRow)
        if accounts[debtor].available < money { return .insufficientFunds }
        if sponsor >= 0 {
            if !accounts[sponsor].maySend { return .debtorSuspended }
            if accounts[sponsor].available < money { return .insufficientFunds }
        }
        let home = Int(accounts[creditor].home)
        let book = model.book(BookKey(window: window, currency: currency))
        if home == model.shard {
            model.credit(creditor, amount, book)
        } else {
            let cell = model.cells[home].base + Int(accounts[creditor].cell)
            let (sum, overflow) = cell.pointee.amount.addingReportingOverflow(amount)
            if overflow { return .positionOverflow }
            if cell.pointee.payments == 0 { model.outgoing[home].openLines += 1 }
            cell.pointee.amount = sum
            cell.pointee.payments += 1
        }
        model.books[book].debits += UInt128(amount)
        accounts[debtor].net -= money
        if sponsor >= 0 { accounts[sponsor].sponsored -= money }
        if let cap { model.capSums[cap, default: 0] += amount }
        return .accepted
    }
}
