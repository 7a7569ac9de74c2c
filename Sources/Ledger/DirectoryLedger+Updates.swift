import ClearingModel
import Wire

extension DirectoryLedger {
    /// The page of changes that a shard with this cursor needs next; `nil` where it has everything.
    ///
    /// A shard at cursor 0 always gets a page, which tells it the calendar even where the directory is empty.
    ///
    /// - Parameter maxBytes: of the page; at least one record is in it.
    public func update(after cursor: DirectoryVersion, maxBytes: Int) -> DirectoryUpdate? {
        guard cursor < version || cursor == .zero else { return nil }
        var page = DirectoryUpdate(
            after: cursor, through: cursor, isComplete: false, calendar: calendar, participants: [], mandates: [])
        var bytes = DirectoryUpdate.headerSize
        for change in history[firstChange(after: cursor)...] where isCurrent(change) {
            let size = change.isMandate ? WireWriter.versionedMandateSize : WireWriter.versionedParticipantSize
            if bytes + size > maxBytes, page.through > cursor { return page }
            bytes += size
            page.through = change.version
            if change.isMandate {
                page.mandates.append(mandates[change.position])
            } else {
                page.participants.append(participants[change.position])
            }
        }
        page.through = version
        page.isComplete = true
        return page
    }

    /// Position of the first change beyond a version.
    private func firstChange(after version: DirectoryVersion) -> Int {
        var low = 0
        var high = history.count
        while low < high {
            let middle = (low + high) / 2
            if history[middle].version <= version { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// 64 bits over the whole state.
    public var stateHash: UInt64 { hashKey.hash(encodeState()) }

    /// The state, which is all that there is.
    public func encodeCheckpoint() -> CheckpointContent {
        checkpointedBytes = appliedBytes
        return CheckpointContent(state: encodeState())
    }

    /// Records in order of version, so that the state does not depend on the order in which they first came.
    public func encodeState() -> Slab {
        var writer = WireWriter(reserving: 128 + history.count * 48)
        writer.u16(ShardLedger.stateSchema)
        writer.id(ShardID.directory)
        writer.u32(0)
        writer.u64(cluster.high)
        writer.u64(cluster.low)
        writer.id(appliedIndex)
        writer.id(appliedTerm)
        writer.id(lastLedgerTime)
        writer.id(version)
        writer.u64(commandCount)
        writer.u64(appliedBytes)
        writer.encode(calendar)
        let current = history.filter(isCurrent)
        writer.u32(UInt32(current.count))
        for change in current {
            writer.id(change.version)
            writer.directoryChange(
                change.isMandate
                    ? .mandate(mandates[change.position].record) : .participant(participants[change.position].record))
        }
        return Slab(writer.bytes)
    }

    /// The directory that encoded `state`.
    public convenience init(
        restoring state: Slab, cluster: ClusterID, options: LedgerOptions = LedgerOptions()
    ) throws(CheckpointError) {
        var reader = WireReader(state.bytes)
        defer { withExtendedLifetime(state) {} }
        try CheckpointError.checkHead(&reader, shard: .directory, shardCount: 0, cluster: cluster)
        do throws(WireError) {
            let index: LogIndex = try reader.id()
            let term: Term = try reader.id()
            let time: WallTime = try reader.id()
            let version: DirectoryVersion = try reader.id()
            let commands = try reader.u64()
            let bytes = try reader.u64()
            self.init(cluster: cluster, calendar: try reader.calendar(), options: options)
            appliedIndex = index
            appliedTerm = term
            lastLedgerTime = time
            self.version = version
            commandCount = commands
            appliedBytes = bytes
            checkpointedBytes = bytes
            try restoreRecords(&reader)
            try reader.expectEnd()
        } catch {
            throw .malformed(error)
        }
    }

    private func restoreRecords(_ reader: inout WireReader) throws(WireError) {
        let count = try reader.count(
            "directory records", atMost: Limits.maximumParticipants + Limits.maximumMandates)
        var last = DirectoryVersion.zero
        for _ in 0..<count {
            let version: DirectoryVersion = try reader.id()
            guard version > last, version <= self.version else {
                throw .invalid(field: "record version", value: version.rawValue)
            }
            last = version
            switch try reader.directoryChange() {
            case .participant(let participant): upsert(Versioned(version: version, record: participant))
            case .mandate(let mandate): upsert(Versioned(version: version, record: mandate))
            }
        }
    }
}
