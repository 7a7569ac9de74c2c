import ClearingModel

extension ShardModel {
    // MARK: - From other shards

    func apply(_ batch: BatchBytes) {
        let source = batch.source
        guard batch.destination == shard, source >= 1, source <= shardCount, !incoming[source].isHalted else { return }
        let cursor = incoming[source].cursor
        if batch.cursor.number == cursor.number {
            if batch.cursor.hash != cursor.hash {
                halt(from: source, "another batch \(cursor.number) was applied before")
            }
            return
        }
        if batch.cursor.number < cursor.number {
            if batch.cursor.sourceIndex > cursor.sourceIndex || batch.cursor.sourceTerm > cursor.sourceTerm {
                halt(from: source, "batch \(batch.cursor.number) was closed after batch \(cursor.number)")
            }
            return
        }
        guard batch.cursor.number == cursor.number + 1 else { return }
        guard batch.previousHash == cursor.hash, batch.cursor.sourceIndex >= cursor.sourceIndex,
            batch.cursor.sourceTerm >= cursor.sourceTerm
        else { return halt(from: source, "batch \(batch.cursor.number) does not continue batch \(cursor.number)") }
        guard batch.directoryVersion <= directoryVersion else { return }
        var windows = heldWindows
        for row in batch.rows {
            let account = accountRows.find(UInt64(row.participant))
            guard account >= 0, Int(accounts[account].home) == shard else {
                return halt(
                    from: source, "batch \(batch.cursor.number) credits \(row.participant), who is not at home here")
            }
            windows.insert(row.window)
            guard windows.count <= 64 else {
                return halt(from: source, "batch \(batch.cursor.number) books in window \(row.window), too far ahead")
            }
        }
        heldWindows = windows
        var total: UInt128 = 0
        for row in batch.rows {
            let account = accountRows.find(UInt64(row.participant))
            credit(account, row.amount, book(BookKey(window: row.window, currency: accounts[account].currency)))
            total += UInt128(row.amount)
        }
        incoming[source].cursor = batch.cursor
        mix(batch.cursor.hash)
        streams.apply(
            StreamBook.Applied(cursor: batch.cursor, lines: batch.rows.count, total: total, index: index), from: source,
            to: shard)
    }

    private func halt(from source: Int, _ why: String) {
        incoming[source].isHalted = true
        problem("the stream of credits from shard \(source) halts: \(why)")
    }

    /// Posts a credit to an account at home here.
    @inline(__always)
    func credit(_ row: Int, _ amount: UInt64, _ book: Int) {
        books[book].credits += UInt128(amount)
        accounts.base[row].net += Int128(amount)
        let sponsor = Int(accounts.base[row].sponsorRow)
        if sponsor >= 0 { accounts.base[sponsor].sponsored += Int128(amount) }
    }

    // MARK: - Confirmations

    func applyConfirmation(_ body: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = ByteReader(body)
        let source = Int(try reader.take("a confirmation", UInt16.self))
        let destination = Int(try reader.take("a confirmation", UInt16.self))
        try reader.zero(UInt32.self, "a confirmation's reserved field")
        let cursor = try StreamCursor(&reader)
        try reader.end("a confirmation")
        guard source == shard, destination >= 1, destination <= shardCount, destination != shard,
            !outgoing[destination].isHalted
        else { return }
        guard cursor.number <= outgoing[destination].last.number else {
            return halt(
                to: destination,
                "it confirms batch \(cursor.number), the last one closed is "
                    + "\(outgoing[destination].last.number)")
        }
        let confirmed = outgoing[destination].confirmed
        guard cursor.number > confirmed.number else {
            if cursor.number == confirmed.number, cursor != confirmed {
                halt(to: destination, "it confirms another batch \(cursor.number) than before")
            }
            return
        }
        let place = Int(cursor.number - confirmed.number) - 1
        guard outgoing[destination].unconfirmed[place] == cursor else {
            return halt(to: destination, "it confirms another batch \(cursor.number) than the payments here make")
        }
        outgoing[destination].unconfirmed.removeFirst(place + 1)
        outgoing[destination].confirmed = cursor
        streams.confirm(cursor.number, from: shard, to: destination)
        mix(cursor.hash)
    }

    private func halt(to destination: Int, _ why: String) {
        outgoing[destination].isHalted = true
        problem("the stream of credits to shard \(destination) halts: \(why)")
    }

    // MARK: - To other shards

    /// Another window begins: what is open in the one before waits for batches of its own.
    func roll(to window: WindowID) {
        for destination in 1...shardCount where outgoing[destination].openLines > 0 {
            outgoing[destination].waiting.append(takeOpen(destination, atMost: .max))
        }
        creditWindow = window
    }

    private func takeOpen(_ destination: Int, atMost limit: Int) -> [CreditRow] {
        var rows: [CreditRow] = []
        let cells = cells[destination]
        for at in 0..<cells.count where cells.base[at].payments > 0 {
            if rows.count == limit { break }
            rows.append(
                CreditRow(
                    participant: cells.base[at].participant, window: creditWindow, amount: cells.base[at].amount,
                    payments: cells.base[at].payments))
            cells.base[at].amount = 0
            cells.base[at].payments = 0
        }
        outgoing[destination].openLines -= rows.count
        return rows
    }

    func closeBatches() {
        for destination in 1...shardCount where destination != shard {
            while !outgoing[destination].isHalted, outgoing[destination].unconfirmed.count < 8 {
                var rows: [CreditRow]
                if outgoing[destination].waiting.isEmpty {
                    guard outgoing[destination].openLines > 0 else { break }
                    rows = takeOpen(destination, atMost: BatchBytes.maximumLines)
                } else {
                    rows = Array(outgoing[destination].waiting[0].prefix(BatchBytes.maximumLines))
                    outgoing[destination].waiting[0].removeFirst(rows.count)
                    if outgoing[destination].waiting[0].isEmpty { outgoing[destination].waiting.removeFirst() }
                }
                close(rows, destination)
            }
        }
    }

    private func close(_ rows: [CreditRow], _ destination: Int) {
        let last = outgoing[destination].last
        var cursor = StreamCursor(number: last.number + 1, sourceIndex: index, sourceTerm: term, hash: 0)
        let bytes = BatchBytes.encode(
            source: shard, destination: destination, cursor: cursor, directoryVersion: directoryCursor,
            previousHash: last.hash, rows: rows)
        cursor.hash = bytes.withUnsafeBytes { key.hash($0) }
        outgoing[destination].last = cursor
        outgoing[destination].unconfirmed.append(cursor)
        mix(cursor.hash)
        streams.close(closed(cursor, rows), from: shard, to: destination)
    }

    /// A batch for the books of the streams. Every creditor is known.
    func closed(_ cursor: StreamCursor, _ rows: [CreditRow]) -> StreamBook.Closed {
        let amounts = amounts(rows)
        return StreamBook.Closed(
            cursor: cursor, lines: rows.count, total: amounts.reduce(0) { $0 + $1.amount }, amounts: amounts)
    }

    /// Sums of rows by window and currency.
    private func amounts(_ rows: [CreditRow]) -> [(key: BookKey, amount: UInt128)] {
        var sums: [(key: BookKey, amount: UInt128)] = []
        for row in rows {
            let currency = accounts[accountRows.find(UInt64(row.participant))].currency
            let key = BookKey(window: row.window, currency: currency)
            if let at = sums.firstIndex(where: { $0.key == key }) {
                sums[at].amount += UInt128(row.amount)
            } else {
                sums.append((key, UInt128(row.amount)))
            }
        }
        return sums
    }

    /// What accepted payments owe and no batch has taken yet, by window and currency.
    var openCredits: [(key: BookKey, amount: UInt128)] {
        var sums: [(key: BookKey, amount: UInt128)] = []
        for destination in 1...shardCount where destination != shard {
            for rows in outgoing[destination].waiting { sums += amounts(rows) }
            for at in 0..<cells[destination].count where cells[destination][at].payments > 0 {
                let cell = cells[destination][at]
                sums.append((BookKey(window: creditWindow, currency: cell.currency), UInt128(cell.amount)))
            }
        }
        return sums
    }
}
