import ClearingModel
import Ledger
import Raft
import Wire

/// The first block of a checkpoint file; its sections follow, each at a multiple of 4 KiB.
struct CheckpointHeader {
    static let bytes = 4_096
    static let maximumSections = 8
    static let membershipOffset = 256

    struct Section {
        var offset: UInt64
        var length: UInt64
        var checksum: UInt32
    }

    /// Where sections of these lengths stand.
    static func places(_ lengths: [UInt64]) -> [Section] {
        precondition(lengths.count <= maximumSections, "a checkpoint has at most \(maximumSections) sections")
        var offset = UInt64(bytes)
        return lengths.map { length in
            defer { offset += UInt64(Layout.aligned(Int(length))) }
            return Section(offset: offset, length: length, checksum: 0)
        }
    }

    var info: CheckpointInfo
    var sections: [Section]

    init(info: CheckpointInfo, sections content: [[Slab]]) {
        self.info = info
        sections = Self.places(content.map { UInt64($0.reduce(0) { $0 + $1.count }) })
        for (at, slabs) in content.enumerated() {
            sections[at].checksum = slabs.reduce(0) { crc32c($1.bytes, from: $0) }
        }
    }

    init(info: CheckpointInfo, sections: [Section]) {
        self.info = info
        self.sections = sections
    }

    func encoded(cluster: ClusterID) -> Slab {
        var writer = WireWriter(reserving: Self.bytes)
        writer.u64(Layout.checkpointMagic)
        writer.u32(NodeLog.formatVersion)
        writer.u32(UInt32(info.shard.rawValue))
        writer.cluster(cluster)
        writer.id(info.index)
        writer.id(info.term)
        writer.u64(info.previous?.rawValue ?? 0)
        writer.u32(UInt32(sections.count))
        var membership = WireWriter()
        info.membership.encode(into: &membership)
        writer.u32(UInt32(membership.count))
        for section in sections {
            writer.u64(section.offset)
            writer.u64(section.length)
            writer.u32(section.checksum)
            writer.u32(0)
        }
        writer.zeros(Self.membershipOffset - writer.count)
        membership.bytes.withUnsafeBytes { writer.raw($0) }
        writer.zeros(Self.bytes - 4 - writer.count)
        writer.u32(Layout.checksum(of: writer, from: 0))
        return Slab(writer.bytes)
    }

    /// Reads a header; `nil` where it is damaged, or not that of this checkpoint.
    init?(_ bytes: UnsafeRawBufferPointer, cluster: ClusterID, shard: ShardID, index: LogIndex) {
        guard bytes.count == Self.bytes, Layout.load(bytes, 0, UInt64.self) == Layout.checkpointMagic,
            Layout.load(bytes, Self.bytes - 4, UInt32.self) == crc32c(Layout.slice(bytes, 0, Self.bytes - 4)),
            Layout.load(bytes, 8, UInt32.self) == NodeLog.formatVersion,
            Layout.load(bytes, 12, UInt32.self) == UInt32(shard.rawValue), ClusterID(bytes, 16) == cluster,
            Layout.load(bytes, 32, UInt64.self) == index.rawValue
        else { return nil }
        let previous = Layout.load(bytes, 48, UInt64.self)
        let count = Int(Layout.load(bytes, 56, UInt32.self))
        let membershipLength = Int(Layout.load(bytes, 60, UInt32.self))
        guard count <= Self.maximumSections, membershipLength <= Self.bytes - 4 - Self.membershipOffset else {
            return nil
        }
        var reader = WireReader(Layout.slice(bytes, Self.membershipOffset, membershipLength))
        guard let membership = try? Membership(decoding: &reader) else { return nil }
        info = CheckpointInfo(
            shard: shard, index: index, term: Term(Layout.load(bytes, 40, UInt64.self)), membership: membership,
            previous: previous == 0 ? nil : LogIndex(previous))
        sections = (0..<count).map { i in
            Section(
                offset: Layout.load(bytes, 64 + 24 * i, UInt64.self),
                length: Layout.load(bytes, 72 + 24 * i, UInt64.self),
                checksum: Layout.load(bytes, 80 + 24 * i, UInt32.self))
        }
    }
}

/// A checkpoint on its way to the disk.
struct CheckpointWrite {
    var info: CheckpointInfo
    /// Where it is until it is whole.
    var file: FileName
    var failure: DiskError?
}

extension NodeLog {
    /// Writes a checkpoint: temporary file, sync, rename, sync of the directory. → `.checkpointDurable` or `.checkpointFailed`
    ///
    /// Section 0 is the whole state after the entry at `index`, section 1 what the index gained since the checkpoint before,
    /// or all of it where `standsAlone` (a snapshot, or to end a long chain). Files that no chain needs are removed after.
    /// - Precondition: none of the same shard is being written; `index` lies above the newest checkpoint, and every entry up
    ///   to it is committed.
    public mutating func writeCheckpoint(
        shard: ShardID, index: LogIndex, term: Term, membership: Membership, content: CheckpointContent,
        standsAlone: Bool = false, ops: inout [DiskOperation]
    ) {
        let slot = slot(shard)
        precondition(checkpointWrites[slot] == nil, "two checkpoints of shard \(shard) at a time")
        precondition(checkpoints[slot].allSatisfy { $0.index < index }, "checkpoint below the newest one")
        let previous = standsAlone ? nil : checkpoints[slot].first?.index
        let info = CheckpointInfo(shard: shard, index: index, term: term, membership: membership, previous: previous)
        let sections = content.sections
        let header = CheckpointHeader(info: info, sections: sections)
        let file = FileName.checkpointTemporary(shard)
        checkpointWrites[slot] = CheckpointWrite(info: info, file: file)
        emit(.open(file, create: true), .background, .checkpointStep(slot), &ops)
        emit(.write(file, offset: 0, [header.encoded(cluster: cluster)]), .background, .checkpointStep(slot), &ops)
        for (section, slabs) in zip(header.sections, sections) where section.length > 0 {
            emit(.write(file, offset: section.offset, slabs), .background, .checkpointStep(slot), &ops)
        }
        emit(.sync(file), .background, .checkpointWritten(slot), &ops)
    }

    /// Newest first; those whose header was whole at the start, or that were written since.
    public func checkpoints(of shard: ShardID) -> [CheckpointInfo] { checkpoints[slot(shard)] }

    mutating func checkpointStep(_ slot: Int, _ result: DiskCompletion.Result) {
        guard case .failed(let error) = result else { return }
        if checkpointWrites[slot]?.failure == nil { checkpointWrites[slot]?.failure = error }
    }

    mutating func checkpointWritten(
        _ slot: Int, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        checkpointStep(slot, result)
        guard let write = checkpointWrites[slot] else { return }
        let temporary = write.file
        if let failure = write.failure {
            checkpointWrites[slot] = nil
            emit(.remove(temporary), .background, .ignore, &ops)
            events.append(.checkpointFailed(write.info.shard, write.info.index, failure))
            return
        }
        emit(.close(temporary), .background, .ignore, &ops)
        emit(
            .rename(from: temporary, to: .checkpoint(write.info.shard, write.info.index)), .background,
            .checkpointStep(slot),
            &ops)
        emit(.syncDirectory, .background, .checkpointNamed(slot), &ops)
    }

    mutating func checkpointNamed(
        _ slot: Int, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        checkpointStep(slot, result)
        guard let write = checkpointWrites[slot] else { return }
        checkpointWrites[slot] = nil
        if let failure = write.failure {
            // Whether the name is durable is unknown now; nothing may rest on it.
            fail(failure, &events)
            return
        }
        checkpoints[slot].insert(write.info, at: 0)
        removeUnneeded(slot, &ops)
        events.append(.checkpointDurable(write.info.shard, write.info.index))
    }

    /// The checkpoints that restoring this one reads, newest first; `nil` where one is missing.
    func chain(_ slot: Int, from info: CheckpointInfo) -> [CheckpointInfo]? {
        var chain = [info]
        while let previous = chain[chain.count - 1].previous {
            guard let next = checkpoints[slot].first(where: { $0.index == previous }), next.index < chain.last!.index
            else { return nil }
            chain.append(next)
        }
        return chain
    }

    /// Removes what neither the newest two checkpoints nor their chains need, unless it is being read.
    mutating func removeUnneeded(_ slot: Int, _ ops: inout [DiskOperation]) {
        guard checkpointLoads[slot] == nil, !openCheckpoints[slot] else { return }
        let whole = checkpoints[slot].filter { chain(slot, from: $0) != nil }
        let needed = whole.prefix(2).flatMap { chain(slot, from: $0) ?? [] }
        guard needed.count > 0 else { return }
        let dropped = checkpoints[slot].filter { !needed.contains($0) }
        guard !dropped.isEmpty else { return }
        checkpoints[slot].removeAll { dropped.contains($0) }
        for info in dropped { emit(.remove(.checkpoint(info.shard, info.index)), .background, .ignore, &ops) }
    }
}
