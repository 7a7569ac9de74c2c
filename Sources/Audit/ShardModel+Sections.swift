import ClearingModel

extension ShardModel {
    func applySection(_ type: UInt16, _ body: UnsafeRawBufferPointer) throws(DecodeError) {
        switch type {
        case 1: apply(try BatchBytes(body, key: key))
        case 2: try applyConfirmation(body)
        case 3: apply(try DirectoryPage(body))
        case 4, 5:
            var reader = ByteReader(body)
            let day: UInt16 = try reader.take("a day")
            try reader.zero(UInt16.self, "a day's reserved field")
            try reader.zero(UInt32.self, "a day's reserved field")
            try reader.end("a day")
            if type == 4 { openDay(day) } else { closeDay(day) }
        case 6:
            var reader = ByteReader(body)
            let scheme: UInt16 = try reader.take("a window")
            try reader.zero(UInt16.self, "a window's reserved field")
            let number: UInt32 = try reader.take("a window")
            try reader.end("a window")
            guard scheme > 0, number > 0 else { throw DecodeError("window \(scheme)/\(number)") }
            openWindow(WindowID(scheme: SchemeID(scheme), number: number))
        default: throw DecodeError("a section of type \(type) in a clearing shard's log")
        }
    }

    // MARK: - Days and windows

    private func openDay(_ day: UInt16) {
        guard day > newestDay, openDays.count < 3 else { return }
        newestDay = day
        openDays.append(Day(day: day, start: start(of: day)))
    }

    func start(of day: UInt16) -> UInt64 {
        BusinessDay(day).start(offsetMinutes: Int(calendar.zoneOffsetMinutes)).rawValue
    }

    private func closeDay(_ day: UInt16) {
        guard openDays.contains(where: { $0.day == day }) else { return }
        openDays.removeAll { $0.day == day }
        capSums = capSums.filter { $0.key.day != day }
    }

    private func openWindow(_ window: WindowID) {
        let before = openWindows.firstIndex { $0.scheme == window.scheme }
        guard window.number == (before.map { openWindows[$0].number } ?? 0) + 1, heldWindows.count < 64 else { return }
        if let before { openWindows[before] = window } else { openWindows.append(window) }
        heldWindows.insert(window)
    }

    // MARK: - Directory

    private func apply(_ page: DirectoryPage) {
        guard page.after == directoryCursor else { return }
        if let fault = directory.fault(in: page) {
            problem("the directory page (\(page.after), \(page.through)] is not what the directory decided: \(fault)")
        }
        if calendar != page.calendar {
            calendar = page.calendar
            for at in openDays.indices { openDays[at].start = start(of: openDays[at].day) }
        }
        var added = false
        for (_, item) in page.items {
            switch item {
            case .participant(let one): if upsert(one) { added = true }
            case .mandate(let one): upsert(one)
            }
        }
        if added { placeCells() }
        sponsors()
        directoryCursor = page.through
        if page.isComplete { directoryVersion = page.through }
    }

    func upsert(_ one: Participant) -> Bool {
        let found = accountRows.find(UInt64(one.id.rawValue))
        var account =
            found >= 0
            ? accounts[found]
            : Account(id: one.id.rawValue, sponsor: 0, home: slots.home(of: one.id).rawValue)
        account.sponsor = one.sponsor.rawValue
        account.currency = one.currency
        account.kind = one.kind.rawValue
        let isRegulator = one.kind == .regulator
        account.maySend = !isRegulator && one.status == .active
        account.mayReceive = !isRegulator && [.active, .sendSuspended, .closing].contains(one.status)
        account.decidesHere = Int(slots.route(one.id, sequence: 0).rawValue) == shard
        if UInt128(one.limit) + UInt128(one.funding) < UInt128(account.limit) + UInt128(account.funding) {
            account.wasLowered = true
        }
        account.limit = one.limit
        account.funding = one.funding
        if found >= 0 {
            accounts[found] = account
            return false
        }
        accountRows.insert(UInt64(one.id.rawValue), accounts.count)
        accounts.append(account)
        return true
    }

    func upsert(_ one: Mandate) {
        let row = MandateRow(
            kinds: one.kinds.rawValue, maximum: one.maximumAmount, cap: one.dailyCap, isRevoked: one.revoked)
        switch one.debtors {
        case .one(let debtor): Self.put(row, UInt64(debtor.rawValue), one.instructing, &oneMandates, mandates)
        case .every(let kind): Self.put(row, UInt64(kind.rawValue), one.instructing, &classMandates, mandates)
        }
    }

    private static func put(
        _ row: MandateRow, _ value: UInt64, _ instructing: ParticipantID, _ map: inout RowMap,
        _ rows: Column<MandateRow>
    ) {
        let key = UInt64(instructing.rawValue) | value << 32
        let found = map.find(key)
        if found >= 0 { return rows[found] = row }
        map.insert(key, rows.count)
        rows.append(row)
    }

    /// Gives every creditor at home elsewhere its place, in the order in which a batch lists them.
    func placeCells() {
        var rows: [[Int]] = Array(repeating: [], count: shardCount + 1)
        for row in 0..<accounts.count where Int(accounts[row].home) != shard {
            rows[Int(accounts[row].home)].append(row)
        }
        for (home, rows) in rows.enumerated() where rows.count != cells[home].count {
            let placed = Column<Cell>()
            for row in rows.sorted(by: { accounts[$0].id < accounts[$1].id }) {
                let before = Int(accounts[row].cell)
                let fresh = Cell(participant: accounts[row].id, currency: accounts[row].currency)
                accounts[row].cell = Int32(placed.count)
                placed.append(before >= 0 ? cells[home][before] : fresh)
            }
            cells[home] = placed
        }
    }

    func sponsors() {
        for row in 0..<accounts.count { accounts[row].sponsored = 0 }
        for row in 0..<accounts.count {
            accounts[row].sponsorRow = -1
            accounts[row].sponsorElsewhere = false
            guard accounts[row].sponsor != 0 else { continue }
            let sponsor = accountRows.find(UInt64(accounts[row].sponsor))
            if sponsor >= 0, Int(accounts[sponsor].home) == shard {
                accounts[row].sponsorRow = Int32(sponsor)
                accounts[sponsor].sponsored += accounts[row].settled + accounts[row].net
            } else {
                accounts[row].sponsorElsewhere = true
            }
        }
    }
}
