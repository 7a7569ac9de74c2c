import ClearingModel
import Wire

/// Why a checkpoint cannot be used; the one before it, or a snapshot from a peer, has to be.
public enum CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed(WireError)
    /// Of another cluster, another shard, or another number of shards.
    case foreign
    /// Index parts are missing, or do not belong to this state.
    case indexIncomplete(day: BusinessDay, wanted: Int, found: Int)

    public var description: String {
        switch self {
        case .malformed(let error): "checkpoint: \(error)"
        case .foreign: "the checkpoint belongs to another cluster or shard"
        case .indexIncomplete(let day, let wanted, let found):
            "index of business day \(day.compactText): \(wanted) slots wanted, \(found) found or different;"
                + " use an older checkpoint or a snapshot"
        }
    }
}

extension CheckpointError {
    /// Reads the fields with which every state begins: schema, shard, number of shards, cluster.
    static func checkHead(
        _ reader: inout WireReader, shard: ShardID, shardCount: Int, cluster: ClusterID
    ) throws(CheckpointError) {
        var isForeign = false
        do throws(WireError) {
            let schema = try reader.u16()
            guard schema == ShardLedger.stateSchema else {
                throw .invalid(field: "state schema", value: UInt64(schema))
            }
            let found = (try reader.u16(), try reader.u32(), try reader.u64(), try reader.u64())
            if found != (shard.rawValue, UInt32(shardCount), cluster.high, cluster.low) { isForeign = true }
        } catch {
            throw .malformed(error)
        }
        if isForeign { throw .foreign }
    }
}

extension ShardLedger {
    /// The ledger that encoded `state`, with the index parts of this and all earlier checkpoints that are still
    /// needed, oldest first.
    ///
    /// The result behaves, and hashes, like the original. Checks everything it reads, the index against counts and
    /// digests.
    public convenience init(
        restoring state: Slab, deltas: [Slab], shard: ShardID, cluster: ClusterID, slots: SlotMap, shardCount: Int,
        options: LedgerOptions = LedgerOptions()
    ) throws(CheckpointError) {
        self.init(shard: shard, cluster: cluster, slots: slots, shardCount: shardCount, options: options)
        let wanted = try restoreState(state)
        for delta in deltas {
            var index = IndexRestore()
            try index.add(delta.bytes, to: self)
            withExtendedLifetime(delta) {}
            try index.end()
        }
        try finishRestore(wanted)
    }

    /// Reads the state into this ledger, which is new; gives what the index of each day has to be, closed days first.
    func restoreState(_ state: Slab) throws(CheckpointError) -> [(count: Int, digest: UInt64)] {
        var reader = WireReader(state.bytes)
        defer { withExtendedLifetime(state) {} }
        try CheckpointError.checkHead(&reader, shard: shard, shardCount: shardCount, cluster: cluster)
        var indexWanted: [(count: Int, digest: UInt64)] = []
        do throws(WireError) {
            appliedIndex = try reader.id()
            appliedTerm = try reader.id()
            lastLedgerTime = try reader.id()
            nextOrdinal = try reader.id()
            guard nextOrdinal.rawValue <= Ordinal.count else {
                throw .invalid(field: "ordinal", value: nextOrdinal.rawValue)
            }
            appliedBytes = try reader.u64()
            checkpointedBytes = appliedBytes
            runningHash = try reader.u64()
            try restoreDirectory(&reader)
            try restorePositions(&reader)
            indexWanted = try restoreDays(&reader)
            try restoreStreams(&reader)
            try reader.expectEnd()
        } catch {
            throw .malformed(error)
        }
        return indexWanted
    }

    /// Compares the index with what the state says of it; the ledger is whole after.
    func finishRestore(_ indexWanted: [(count: Int, digest: UInt64)]) throws(CheckpointError) {
        for (day, wanted) in zip(closedDays + days, indexWanted) {
            guard day.partition.count == wanted.count, day.partition.digest == wanted.digest else {
                throw .indexIncomplete(day: day.day, wanted: wanted.count, found: day.partition.count)
            }
        }
        for day in closedDays { day.partition.isSealed = true }
        accounts.resolve(windows)
    }

    private func restoreDirectory(_ reader: inout WireReader) throws(WireError) {
        calendar = try reader.calendar()
        directoryVersion = try reader.id()
        directoryCursor = try reader.id()
        for _ in 0..<(try reader.count("participants", atMost: Limits.maximumParticipants)) {
            let version: DirectoryVersion = try reader.id()
            let participant = try reader.participant()
            let settled = Int128(bitPattern: try reader.wide())
            guard settled.magnitude >> 104 == 0 else { throw .invalid(field: "settled net", value: 0) }
            guard accounts.upsert(Versioned(version: version, record: participant), shard: shard, slots: slots) else {
                throw .invalid(field: "participant", value: UInt64(participant.id.rawValue))
            }
            accounts.rows[accounts.count - 1].settled = settled
        }
        for _ in 0..<(try reader.count("mandates", atMost: Limits.maximumMandates)) {
            let version: DirectoryVersion = try reader.id()
            mandates.upsert(Versioned(version: version, record: try reader.mandate()))
        }
        accountsAdded()
    }

    private func restorePositions(_ reader: inout WireReader) throws(WireError) {
        openWindows = []
        for _ in 0..<(try reader.count("open windows", atMost: Self.maximumWindows)) {
            openWindows.append(try reader.window())
        }
        guard openWindows.contains(where: { $0.scheme == .domestic }) else {
            throw .invalid(field: "open windows", value: UInt64(openWindows.count))
        }
        windows = []
        for _ in 0..<(try reader.count("windows", atMost: Self.maximumWindows)) {
            let rows = positions(in: try reader.window()).rows
            for _ in 0..<(try reader.count("positions", atMost: accounts.count)) {
                let slot = try known(try reader.id())
                rows[slot] = Position(
                    debits: try reader.wide(), credits: try reader.wide(), debitCount: try reader.u64(),
                    creditCount: try reader.u64())
                // Beyond any sum of 2⁴⁰ records, and small enough that nets and available amounts stay within 128 bits.
                guard (rows[slot].debits | rows[slot].credits) >> 104 == 0 else {
                    throw .invalid(field: "position", value: UInt64(accounts.rows[slot].id))
                }
            }
        }
    }

    private func known(_ id: ParticipantID) throws(WireError) -> Int {
        guard let slot = accounts.slot(of: id) else {
            throw .invalid(field: "participant of a position", value: UInt64(id.rawValue))
        }
        return slot
    }

    private func restoreDays(_ reader: inout WireReader) throws(WireError) -> [(count: Int, digest: UInt64)] {
        newestDay = try reader.id()
        let closed = Int(try reader.u16())
        let open = try reader.count("open days", atMost: Limits.maximumOpenDays)
        var wanted: [(count: Int, digest: UInt64)] = []
        for position in 0..<closed + open {
            let number: BusinessDay = try reader.id()
            let reserved = try reader.u16()
            guard reserved == 0 else { throw .invalid(field: "day reserved", value: UInt64(reserved)) }
            let before = position < closed ? closedDays.last?.day : days.last?.day
            guard number > before ?? BusinessDay(0), number <= newestDay else {
                throw .invalid(field: "business day", value: UInt64(number.rawValue))
            }
            let caps = Int(try reader.u32())
            let day = Day(number, openedAt: try reader.id())
            let count = try reader.u64()
            guard count <= 1 << UInt64(Ordinal.bits) else { throw .invalid(field: "index count", value: count) }
            wanted.append((Int(count), try reader.u64()))
            for _ in 0..<caps {
                let instructing = try reader.u32()
                let scope = UInt8(truncatingIfNeeded: try reader.u32())
                guard let mandate = mandates.find((instructing, scope, try reader.u32())) else {
                    throw .invalid(field: "mandate of a daily sum", value: UInt64(instructing))
                }
                let debtor = try known(try reader.id())
                let used = try reader.u64()
                guard used <= Limits.maximumParticipantLimit, day.caps.used(mandate: mandate, debtor: debtor) == 0
                else {
                    throw .invalid(field: "daily sum", value: used)
                }
                day.caps.add(used, mandate: mandate, debtor: debtor)
            }
            if position < closed { closedDays.append(day) } else { days.append(day) }
        }
        return wanted
    }

    private func restoreStreams(_ reader: inout WireReader) throws(WireError) {
        openCredits.window = try reader.window()
        for other in 1...shardCount where other != Int(shard.rawValue) {
            outgoing[other].last = try reader.cursor()
            outgoing[other].confirmed = try reader.cursor()
            incoming[other].cursor = try reader.cursor()
            #if SUANPAN_MUTATIONS
                if Mutation.active == .dropCreditCursor { incoming[other].cursor = .start }
            #endif
            outgoing[other].halt = try reader.halt()
            incoming[other].halt = try reader.halt()
            _ = try reader.u16()
            for _ in 0..<(try reader.count("unconfirmed batches", atMost: Limits.maximumUnconfirmedBatches)) {
                let length = try reader.count("batch length", atMost: CreditBatch.maximumBytes)
                outgoing[other].unconfirmed.append(try CreditBatch(decoding: try reader.raw(length), key: hashKey))
            }
            try checkStream(to: other)
            for _ in 0..<(try reader.count("waiting windows", atMost: Self.maximumWindows)) {
                outgoing[other].waiting.append(try reader.lines())
            }
            for line in try reader.lines() {
                let slot = try known(line.participant)
                guard accounts.rows[slot].home == UInt16(other), line.count > 0,
                    openCredits.put(line, account: accounts.rows[slot])
                else { throw .invalid(field: "open credit", value: UInt64(line.participant.rawValue)) }
            }
        }
    }

    /// The unconfirmed batches are all that lie between the last confirmed and the last closed.
    private func checkStream(to other: Int) throws(WireError) {
        let stream = outgoing[other]
        var number = stream.confirmed.number
        for batch in stream.unconfirmed {
            number = number.next
            guard batch.number == number, batch.source == shard, Int(batch.destination.rawValue) == other else {
                throw .invalid(field: "unconfirmed batch", value: batch.number.rawValue)
            }
        }
        guard number == stream.last.number else {
            throw .invalid(field: "last batch", value: stream.last.number.rawValue)
        }
    }
}

extension WireReader {
    mutating func wide() throws(WireError) -> UInt128 {
        let low = try u64()
        return UInt128(try u64()) << 64 | UInt128(low)
    }

    mutating func window() throws(WireError) -> WindowID {
        let scheme: SchemeID = try id()
        _ = try u16()
        return WindowID(scheme: scheme, number: try u32())
    }

    mutating func halt() throws(WireError) -> StreamHalt {
        let code = try u8()
        guard let halt = StreamHalt(rawValue: code) else { throw .invalid(field: "stream halt", value: UInt64(code)) }
        return halt
    }

    mutating func lines() throws(WireError) -> [CreditLine] {
        let count = try count("credit lines", atMost: Limits.maximumParticipants)
        let bytes = try raw(count * CreditLine.size)
        return (0..<count).map { bytes.loadUnaligned(fromByteOffset: $0 * CreditLine.size, as: CreditLine.self) }
    }
}
