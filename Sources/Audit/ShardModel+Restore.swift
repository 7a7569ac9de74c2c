import ClearingModel

// Where the oldest entries are gone, the replay starts from a checkpoint's state: docs/ENTRIES.md, "State". What lies before
// it is taken on trust, and the report says so.

extension ByteReader {
    mutating func wide(_ what: StaticString) throws(DecodeError) -> UInt128 {
        let low: UInt64 = try take(what)
        return UInt128(try take(what, UInt64.self)) << 64 | UInt128(low)
    }

    mutating func window() throws(DecodeError) -> WindowID {
        let scheme: UInt16 = try take("a window")
        try zero(UInt16.self, "a window's reserved field")
        return WindowID(scheme: SchemeID(scheme), number: try take("a window"))
    }

    /// A count and that many credit lines.
    mutating func rows() throws(DecodeError) -> [CreditRow] {
        let count = try count("credit lines", atMost: Limits.maximumParticipants)
        var rows: [CreditRow] = []
        for _ in 0..<count { rows.append(try row()) }
        return rows
    }

    mutating func row() throws(DecodeError) -> CreditRow {
        let participant: UInt32 = try take("a credit line")
        let scheme: UInt16 = try take("a credit line")
        try zero(UInt16.self, "a credit line's reserved field")
        let number: UInt32 = try take("a credit line")
        try zero(UInt32.self, "a credit line's reserved field")
        return CreditRow(
            participant: participant, window: WindowID(scheme: SchemeID(scheme), number: number),
            amount: try take("a credit line"), payments: try take("a credit line"))
    }

    /// Schema, shard, number of shards and cluster, with which every state begins.
    mutating func stateHead(shard: Int, shardCount: Int, cluster: ClusterID) throws(DecodeError) {
        let schema: UInt16 = try take("a state")
        let found: UInt16 = try take("a state")
        let shards: UInt32 = try take("a state")
        let high: UInt64 = try take("a state")
        let low: UInt64 = try take("a state")
        guard schema == 1, Int(found) == shard, Int(shards) == shardCount, high == cluster.high, low == cluster.low
        else {
            throw DecodeError("it is not a state of this shard")
        }
    }
}

extension ShardModel {
    /// Takes a state over; only on a model that has applied nothing.
    func restore(_ state: UnsafeRawBufferPointer, cluster: ClusterID) throws(DecodeError) {
        var reader = ByteReader(state)
        try reader.stateHead(shard: shard, shardCount: shardCount, cluster: cluster)
        index = try reader.take("a state's index")
        term = try reader.take("a state's term")
        ledgerTime = try reader.take("a state's ledger time")
        nextOrdinal = try reader.take("a state's ordinal")
        _ = try reader.take("a state's bytes", UInt64.self)
        runningHash = try reader.take("a state's running hash")
        try restoreDirectory(&reader)
        try restorePositions(&reader)
        try restoreDays(&reader)
        try restoreStreams(&reader)
        try reader.end("a state")
    }

    private func restoreDirectory(_ reader: inout ByteReader) throws(DecodeError) {
        let zone: Int32 = try reader.take("a calendar")
        calendar = ClearingCalendar(
            zoneOffsetMinutes: zone, nextDayOpens: try reader.take("a calendar"),
            previousDayCloses: try reader.take("a calendar"))
        guard (-840...840).contains(zone) else { throw DecodeError("a calendar out of bounds") }
        directoryVersion = try reader.take("a directory version")
        directoryCursor = try reader.take("a directory cursor")
        let participants = try reader.count("participants", atMost: Limits.maximumParticipants)
        for _ in 0..<participants {
            _ = try reader.take("a participant's version", UInt64.self)
            guard upsert(try reader.participant()) else { throw DecodeError("a participant stands twice") }
            accounts[accounts.count - 1].settled = Int128(truncatingIfNeeded: try reader.wide("a settled net"))
        }
        let mandates = try reader.count("mandates", atMost: Limits.maximumMandates)
        for _ in 0..<mandates {
            _ = try reader.take("a mandate's version", UInt64.self)
            upsert(try reader.mandate())
        }
        placeCells()
    }

    private func known(_ id: UInt32) throws(DecodeError) -> Int {
        let row = accountRows.find(UInt64(id))
        guard row >= 0 else { throw DecodeError("participant \(id) is not in it") }
        return row
    }

    private func restorePositions(_ reader: inout ByteReader) throws(DecodeError) {
        openWindows = []
        for _ in 0..<(try reader.count("open windows", atMost: 64)) { openWindows.append(try reader.window()) }
        heldWindows = []
        for _ in 0..<(try reader.count("windows", atMost: 64)) {
            let window = try reader.window()
            heldWindows.insert(window)
            for _ in 0..<(try reader.count("positions", atMost: Limits.maximumParticipants)) {
                let row = try known(try reader.take("a position", UInt32.self))
                let debits = try reader.wide("a position")
                let credits = try reader.wide("a position")
                guard (debits | credits) >> 104 == 0 else { throw DecodeError("a position out of bounds") }
                _ = try reader.take(16, "a position")
                accounts[row].net += Int128(credits) - Int128(debits)
                let book = book(BookKey(window: window, currency: accounts[row].currency))
                books[book].debits += debits
                books[book].credits += credits
            }
        }
        sponsors()
    }

    private func restoreDays(_ reader: inout ByteReader) throws(DecodeError) {
        newestDay = try reader.take("a day")
        let closed = Int(try reader.take("closed days", UInt16.self))
        let open = try reader.count("open days", atMost: 3)
        for at in 0..<closed + open {
            let day: UInt16 = try reader.take("a day")
            try reader.zero(UInt16.self, "a day's reserved field")
            let sums = Int(try reader.take("sums of a day", UInt32.self))
            _ = try reader.take(24, "a day")
            guard day > 0 else { throw DecodeError("day 0") }
            if at >= closed { openDays.append(Day(day: day, start: start(of: day))) }
            for _ in 0..<sums {
                let instructing: UInt32 = try reader.take("a daily sum")
                let scope: UInt32 = try reader.take("a daily sum")
                let value: UInt32 = try reader.take("a daily sum")
                let debtor = try known(try reader.take("a daily sum", UInt32.self))
                let used: UInt64 = try reader.take("a daily sum")
                let mandate = (scope == 0 ? oneMandates : classMandates).find(UInt64(instructing) | UInt64(value) << 32)
                guard mandate >= 0 else { throw DecodeError("a daily sum without mandate") }
                if at >= closed { capSums[CapKey(day: day, mandate: mandate, debtor: debtor)] = used }
            }
        }
    }

    private func restoreStreams(_ reader: inout ByteReader) throws(DecodeError) {
        creditWindow = try reader.window()
        for other in 1...shardCount where other != shard {
            outgoing[other].last = try StreamCursor(&reader)
            outgoing[other].confirmed = try StreamCursor(&reader)
            incoming[other].cursor = try StreamCursor(&reader)
            outgoing[other].isHalted = try reader.take("a halt", UInt8.self) != 0
            incoming[other].isHalted = try reader.take("a halt", UInt8.self) != 0
            try reader.zero(UInt16.self, "a stream's reserved field")
            if outgoing[other].isHalted || incoming[other].isHalted {
                problem("the state from which the replay starts has a halted stream with shard \(other)")
            }
            var batches: [StreamBook.Closed] = []
            for _ in 0..<(try reader.count("unconfirmed batches", atMost: 8)) {
                let length = try reader.count("a batch", atMost: 128 << 10)
                let batch = try BatchBytes(try reader.take(length, "a batch"), key: key)
                for row in batch.rows { _ = try known(row.participant) }
                outgoing[other].unconfirmed.append(batch.cursor)
                batches.append(closed(batch.cursor, batch.rows))
            }
            let (last, confirmed) = (outgoing[other].last, outgoing[other].confirmed)
            guard last.number >= confirmed.number, last.number - confirmed.number == UInt64(batches.count) else {
                throw DecodeError("unconfirmed batches are missing")
            }
            streams.restore(
                from: shard, to: other, confirmed: confirmed.number, closed: last.number, batches: batches)
            streams.restore(from: other, to: shard, applied: incoming[other].cursor.number)
            for _ in 0..<(try reader.count("waiting windows", atMost: 64)) {
                let rows = try reader.rows()
                for row in rows { _ = try known(row.participant) }
                outgoing[other].waiting.append(rows)
            }
            for row in try reader.rows() {
                let account = try known(row.participant)
                guard Int(accounts[account].home) == other else { throw DecodeError("an open credit of another home") }
                let cell = Int(accounts[account].cell)
                cells[other][cell].amount = row.amount
                cells[other][cell].payments = row.payments
                outgoing[other].openLines += 1
            }
        }
    }
}
