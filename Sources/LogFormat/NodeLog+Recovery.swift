import ClearingModel
import Raft
import Wire

/// Reading the directory, step by step.
///
/// ```
/// list → identity → headers of checkpoints
///      → each segment, oldest first: header → table, or, for the newest and where the table is damaged, a scan → replay
///      → memberships that tables only point to → next life: identity file, sync of what was read, opening group → recovered
/// ```
extension NodeLog {
    /// Starts recovery; ends with `.recovered` or `.recoveryFailed`.
    public mutating func recover(_ ops: inout [DiskOperation]) {
        precondition(!isRunning && recovery == nil, "recovered twice")
        recovery = Recovery(shardCount: shards.count)
        next(.listing, .list, .read, &ops)
    }

    mutating func next(
        _ step: Recovery.Step, _ kind: DiskOperation.Kind, _ lane: DiskOperation.Lane, _ ops: inout [DiskOperation]
    ) {
        recovery?.step = step
        emit(kind, lane, .recovery, &ops)
    }

    private mutating func refuse(_ error: RecoveryError, _ events: inout [LogEvent]) {
        hasFailed = true
        events.append(.recoveryFailed(error))
    }

    mutating func recoveryStep(
        _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        guard let step = recovery?.step, !hasFailed else { return }
        if case .failed(let error) = result {
            guard error.code == DiskError.unreadableCode, step.isRead else {
                refuse(.disk(error, doing: "opening the log (\(step))"), &events)
                return
            }
            // Sectors that the device cannot read are damage like any other.
            if step == .scanning {
                patch(nil, &ops)
                return
            }
        }
        let bytes: Slab = if case .bytes(let slab) = result { slab } else { .empty }
        switch step {
        case .listing:
            guard case .names(let files) = result else { return }
            listed(files, &ops)
        case .identity: identityRead(bytes, &ops, &events)
        case .checkpointHeader: checkpointHeaderRead(bytes, &ops)
        case .segmentHeader: segmentHeaderRead(bytes, &ops, &events)
        case .tableFooter: footerRead(bytes, &ops)
        case .tableBody: bodyRead(bytes, &ops)
        case .nextGroup: nextGroupRead(bytes, &ops)
        case .scanning: if recovery!.patchwork == nil { scanned(bytes, &ops) } else { patch(bytes, &ops) }
        case .salvaging: salvaged(bytes, &ops)
        case .memberships: membershipRead(bytes, &ops)
        case .identityNamed: identityNamed(&ops)
        case .segmentSynced: startLife(&ops)
        case .firstSegment, .opening: break
        }
    }

    private mutating func listed(_ files: [FileEntry], _ ops: inout [DiskOperation]) {
        recovery!.files = files
        for file in files {
            switch file.name {
            case .segment(let number):
                recovery!.segmentFiles.append((number, Int(file.size)))
            case .checkpoint(let shard, _):
                if slots[shard] != nil { recovery!.checkpointFiles.append(file) }
            case .spareSegment, .checkpointTemporary, .snapshotIncoming, .identityTemporary:
                emit(.remove(file.name), .read, .ignore, &ops)
            case .identity: break
            }
        }
        recovery!.segmentFiles.sort { $0.number < $1.number }
        recovery!.checkpointFiles.sort { a, b in
            guard case .checkpoint(let shardA, let a) = a.name, case .checkpoint(let shardB, let b) = b.name else {
                return false
            }
            return (shardA.rawValue, b) < (shardB.rawValue, a)
        }
        let hasIdentity = files.contains { $0.name == .identity }
        wasEmpty = recovery!.segmentFiles.isEmpty
        if hasIdentity {
            next(.identity, .read(.identity, offset: 0, count: IdentityFile.bytes), .read, &ops)
        } else {
            nextCheckpoint(&ops)
        }
    }

    private func refusal(
        _ foundCluster: ClusterID, _ found: ReplicaID, _ version: UInt32, _ file: FileName
    ) -> RecoveryError? {
        if version != Self.formatVersion { return .unsupportedVersion(version, file: file) }
        if foundCluster != cluster { return .foreignCluster(found: foundCluster, configured: cluster, file: file) }
        if found.node != me.node { return .otherNode(found: found.node, configured: me.node, file: file) }
        if found.incarnation != me.incarnation {
            return .otherIncarnation(found: found.incarnation, configured: me.incarnation, file: file)
        }
        return nil
    }

    private mutating func identityRead(_ bytes: Slab, _ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        if let identity = IdentityFile(bytes.bytes) {
            if let refusal = refusal(identity.cluster, identity.me, identity.version, .identity) {
                refuse(refusal, &events)
                return
            }
            if identity.life > 0, recovery!.segmentFiles.isEmpty {
                refuse(.segmentsMissing(me.incarnation), &events)
                return
            }
            recovery!.highestLife = identity.life
        }
        nextCheckpoint(&ops)
    }

    // MARK: - Checkpoints

    private mutating func nextCheckpoint(_ ops: inout [DiskOperation]) {
        if recovery!.cursor < recovery!.checkpointFiles.count {
            let file = recovery!.checkpointFiles[recovery!.cursor].name
            next(.checkpointHeader, .read(file, offset: 0, count: CheckpointHeader.bytes), .read, &ops)
        } else {
            recovery!.cursor = 0
            nextSegment(&ops)
        }
    }

    private mutating func checkpointHeaderRead(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let file = recovery!.checkpointFiles[recovery!.cursor]
        if case .checkpoint(let shard, let index) = file.name, let slot = slots[shard] {
            if let header = CheckpointHeader(bytes.bytes, cluster: cluster, shard: shard, index: index),
                header.sections.allSatisfy({ $0.offset + $0.length <= file.size })
            {
                checkpoints[slot].append(header.info)
            } else {
                recovery!.damages.append(.checkpointDamaged(shard, index))
            }
        }
        recovery!.cursor += 1
        nextCheckpoint(&ops)
    }

    // MARK: - Segments

    mutating func nextSegment(_ ops: inout [DiskOperation]) {
        guard recovery!.cursor < recovery!.segmentFiles.count else {
            readMemberships(&ops)
            return
        }
        recovery!.footer = nil
        recovery!.limit = nil
        next(
            .segmentHeader, .read(.segment(recovery!.segment.number), offset: 0, count: SegmentHeader.bytes), .read,
            &ops)
    }

    private mutating func segmentHeaderRead(
        _ bytes: Slab, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        let (number, fileSize) = recovery!.segment
        var size = fileSize
        if let header = SegmentHeader(bytes.bytes) {
            if let refusal = refusal(header.cluster, header.me, header.version, .segment(number)) {
                refuse(refusal, &events)
                return
            }
            // A header of another segment is a misdirected write: the groups say which one this is.
            if header.number == number { size = header.size }
        }
        recovery!.segmentFiles[recovery!.cursor].size = size
        if recovery!.cursor > 0, recovery!.segmentFiles[recovery!.cursor - 1].number + 1 != number {
            replay(.damage(offset: 0, shards: .all, hardShards: .all), segment: number)
        }
        segments.append(
            SegmentInfo(
                number: number, size: size, highest: shards.map { _ in .zero }, isSealed: !recovery!.isNewest))
        tables[number] = SegmentTable(shardCount: shards.count)
        dropOldTables()
        if recovery!.isNewest {
            scan(&ops)
        } else {
            next(
                .tableFooter,
                .read(.segment(number), offset: UInt64(max(0, size - TableFooter.size)), count: TableFooter.size),
                .read,
                &ops)
        }
    }

    private mutating func footerRead(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let (number, size) = recovery!.segment
        guard let footer = TableFooter(bytes.bytes, cluster: cluster, segment: number, size: size) else {
            tableDamaged(&ops)
            return
        }
        recovery!.footer = footer
        recovery!.limit = footer.end
        let count = footer.recordCount * RecordHeader.size
        next(
            .tableBody, .read(.segment(number), offset: UInt64(footer.tableOffset(size: size)), count: count), .read,
            &ops)
    }

    private mutating func bodyRead(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let number = recovery!.segment.number
        guard let footer = recovery!.footer, bytes.checksum == footer.tableChecksum,
            bytes.count == footer.recordCount * RecordHeader.size, let records = Self.records(ofTable: bytes.bytes)
        else {
            tableDamaged(&ops)
            return
        }
        for record in records {
            replay(record.isUnreadable ? .unreadable(record) : .record(record, payload: nil), segment: number)
        }
        recovery!.lastGroup = footer.lastGroup
        recovery!.highestLife = max(recovery!.highestLife, footer.lastGroup >> 40)
        recovery!.cursor += 1
        nextSegment(&ops)
    }

    /// The table of a sealed segment is lost: where its groups end stands in the next segment's first group too.
    private mutating func tableDamaged(_ ops: inout [DiskOperation]) {
        let number = recovery!.segment.number
        segments[segments.count - 1].isTableDamaged = true
        Site.tableRebuilt.reached()
        recovery!.damages.append(
            .damaged(
                shards.first ?? .directory, from: LogIndex(1), through: .zero, file: .segment(number),
                offset: recovery!.segment.size - TableFooter.size))
        if recovery!.limit != nil {
            scan(&ops)
        } else {
            let following = recovery!.segmentFiles[recovery!.cursor + 1].number
            next(
                .nextGroup,
                .read(.segment(following), offset: UInt64(SegmentHeader.bytes), count: Layout.alignment), .read, &ops)
        }
    }

    private mutating func nextGroupRead(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let (number, size) = recovery!.segment
        let address = LogAddress(
            segment: recovery!.segmentFiles[recovery!.cursor + 1].number, offset: SegmentHeader.bytes)
        if let header = GroupHeader(
            bytes.bytes, at: address, segmentBytes: Int(Int32.max), cluster: cluster, me: me),
            header.synced.segment == number, header.synced.offset <= size
        {
            recovery!.limit = header.synced.offset
        }
        scan(&ops)
    }
}
