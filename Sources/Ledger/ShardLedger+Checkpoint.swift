import ClearingModel
import Wire

extension ShardLedger {
    /// Version of the state's encoding.
    static var stateSchema: UInt16 { 1 }

    /// The state after `appliedIndex`, and what the index gained since the last call. Restoring needs the newest state and the
    /// index parts of every checkpoint from `indexNeededFrom` on, oldest first.
    /// - Parameter standsAlone: the parts hold the whole index, so that no earlier checkpoint is needed.
    public func encodeCheckpoint(standsAlone: Bool = false) -> CheckpointContent {
        checkpointedBytes = appliedBytes
        let gained = (closedDays + days).flatMap { $0.delta.drain() }
        return standsAlone ? encodeWhole() : CheckpointContent(state: encodeState(), index: gained)
    }

    /// State and whole index, for a snapshot: leaves what the next checkpoint holds as it is.
    public func encodeWhole() -> CheckpointContent {
        var parts: [Slab] = []
        for day in closedDays + days {
            let all = IndexDelta(day.day)
            day.partition.forEachPage { all.append($0) }
            parts += all.drain()
        }
        return CheckpointContent(state: encodeState(), index: parts)
    }

    /// 64 bits over the canonical encoding of the whole state, the index by its counts and digests. O(state).
    public var stateHash: UInt64 { hashKey.hash(encodeState()) }

    /// The canonical encoding; docs/ENTRIES.md, "State", has it byte by byte.
    public func encodeState() -> Slab {
        var writer = WireWriter(reserving: 4_096 + accounts.count * 128)
        writer.u16(Self.stateSchema)
        writer.id(shard)
        writer.u32(UInt32(shardCount))
        writer.u64(cluster.high)
        writer.u64(cluster.low)
        writer.id(appliedIndex)
        writer.id(appliedTerm)
        writer.id(lastLedgerTime)
        writer.id(nextOrdinal)
        writer.u64(appliedBytes)
        writer.u64(runningHash)
        encodeDirectory(&writer)
        encodePositions(&writer)
        encodeDays(&writer)
        encodeStreams(&writer)
        return Slab(writer.bytes)
    }

    private func encodeDirectory(_ writer: inout WireWriter) {
        writer.encode(calendar)
        writer.id(directoryVersion)
        writer.id(directoryCursor)
        writer.u32(UInt32(accounts.count))
        for slot in accounts.slotsByID() {
            writer.u64(accounts.rows[slot].version)
            writer.participant(accounts.rows[slot].participant)
            writer.wide(UInt128(bitPattern: accounts.rows[slot].settled))
        }
        writer.u32(UInt32(mandates.count))
        for slot in mandates.slotsByKey() {
            writer.u64(mandates.rows[slot].version)
            writer.mandate(mandates.rows[slot].mandate)
        }
    }

    private func encodePositions(_ writer: inout WireWriter) {
        writer.u32(UInt32(openWindows.count))
        for window in openWindows { writer.window(window) }
        writer.u32(UInt32(windows.count))
        let order = accounts.slotsByID()
        for window in windows {
            writer.window(window.id)
            let used = order.filter { !window.rows[$0].isZero }
            writer.u32(UInt32(used.count))
            for slot in used {
                let row = window.rows[slot]
                writer.u32(accounts.rows[slot].id)
                writer.wide(row.debits)
                writer.wide(row.credits)
                writer.u64(row.debitCount)
                writer.u64(row.creditCount)
            }
        }
    }

    private func encodeDays(_ writer: inout WireWriter) {
        writer.id(newestDay)
        writer.u16(UInt16(closedDays.count))
        writer.u32(UInt32(days.count))
        for day in closedDays + days {
            writer.id(day.day)
            writer.u16(0)
            writer.u32(UInt32(day.caps.rows.count))
            writer.id(day.openedAt)
            writer.u64(UInt64(day.partition.count))
            writer.u64(day.partition.digest)
            for row in sortedCaps(day.caps) {
                let mandate = mandates.rows[Int(row.mandate)]
                writer.u32(mandate.instructing)
                writer.u32(UInt32(mandate.scope))
                writer.u32(mandate.value)
                writer.u32(accounts.rows[Int(row.debtor)].id)
                writer.u64(row.used)
            }
        }
    }

    /// By mandate and debtor: slots differ between a replica that was restored and one that was not.
    private func sortedCaps(_ caps: CapUsage) -> [CapUsage.Row] {
        (0..<caps.rows.count).map { caps.rows[$0] }.sorted { a, b in
            let (x, y) = (mandates.rows[Int(a.mandate)].sortKey, mandates.rows[Int(b.mandate)].sortKey)
            return x != y ? x < y : accounts.rows[Int(a.debtor)].id < accounts.rows[Int(b.debtor)].id
        }
    }

    private func encodeStreams(_ writer: inout WireWriter) {
        writer.window(openCredits.window)
        for other in 1...shardCount where other != Int(shard.rawValue) {
            let (sent, received) = (outgoing[other], incoming[other])
            writer.encode(sent.last)
            writer.encode(sent.confirmed)
            writer.encode(received.cursor)
            writer.u8(sent.halt.rawValue)
            writer.u8(received.halt.rawValue)
            writer.u16(0)
            writer.u32(UInt32(sent.unconfirmed.count))
            for batch in sent.unconfirmed {
                writer.u32(UInt32(batch.bytes.count))
                writer.raw(batch.bytes.bytes)
            }
            writer.u32(UInt32(sent.waiting.count))
            for lines in sent.waiting { writer.lines(lines) }
            writer.lines(openCredits.lines(for: ShardID(UInt16(other)), accounts))
        }
    }
}

extension WireWriter {
    /// 128 bits, low word first.
    mutating func wide(_ value: UInt128) {
        u64(UInt64(truncatingIfNeeded: value))
        u64(UInt64(truncatingIfNeeded: value >> 64))
    }

    mutating func window(_ window: WindowID) {
        id(window.scheme)
        u16(0)
        u32(window.number)
    }

    mutating func lines(_ lines: [CreditLine]) {
        u32(UInt32(lines.count))
        lines.withUnsafeBytes { raw($0) }
    }
}
