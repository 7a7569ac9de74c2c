import ClearingModel
import Wire

/// An entry that is being filled: records are copied once, behind the place of the header; sections wait until the
/// seal.
public struct EntryBuilder: ~Copyable {
    private var slab: SlabBuilder
    private var sections = WireWriter()
    public private(set) var recordCount = 0
    public private(set) var sectionCount = 0
    /// The last window that a section of this entry opens.
    public private(set) var openedWindow: WindowID?

    /// - Parameter capacity: bytes of the whole payload, at most `Limits.maximumEntryBytes`.
    public init(capacity: Int = Limits.maximumEntryBytes) {
        precondition(capacity >= EntryHeader.size && capacity <= Limits.maximumEntryBytes, "capacity of an entry")
        slab = SlabBuilder(capacity: capacity)
        slab.appendZeros(EntryHeader.size)
    }

    /// Empty again.
    private mutating func restart() {
        slab.appendZeros(EntryHeader.size)
        sections.bytes.removeAll(keepingCapacity: true)
        (recordCount, sectionCount, openedWindow) = (0, 0, nil)
    }

    public var isEmpty: Bool { recordCount == 0 && sectionCount == 0 }
    public var sectionBytes: Int { sections.count }
    /// Bytes of the payload if it were sealed now.
    public var payloadBytes: Int { slab.count + sections.count }
    /// Records that still fit.
    public var recordRoom: Int {
        min(Limits.maximumRecords - recordCount, (slab.room - sections.count) / Instruction.size)
    }
    /// Bytes of section bodies that still fit, for one more section.
    public var sectionRoom: Int {
        min(Limits.maximumSectionBytes - sections.count, slab.room - sections.count) - 8
    }

    /// Appends whole records as they came from the wire.
    /// - Precondition: whole records, at most `recordRoom`, each without `fault`.
    public mutating func append(records: UnsafeRawBufferPointer) {
        let count = records.count / Instruction.size
        precondition(records.count % Instruction.size == 0, "records of \(Instruction.size) bytes")
        precondition(count <= recordRoom, "more records than the entry has room for")
        slab.append(records)
        recordCount += count
    }

    public mutating func append(_ instruction: Instruction) { instruction.withBytes { append(records: $0) } }

    /// Adds an incoming batch; `false` where it does not fit any more.
    public mutating func add(_ batch: CreditBatch) -> Bool { add(.creditBatch) { $0.raw(batch.bytes.bytes) } }

    /// Adds a confirmation; `false` where it does not fit any more.
    public mutating func add(_ confirmation: CreditConfirmation) -> Bool {
        add(.creditConfirmation) { confirmation.encode(into: &$0) }
    }

    /// Adds a page of directory changes; `false` where it does not fit any more.
    public mutating func add(_ update: DirectoryUpdate) -> Bool { add(.directoryUpdate) { update.encode(into: &$0) } }

    /// Adds a marker; `false` where it does not fit any more.
    public mutating func add(_ marker: Marker) -> Bool {
        let added = add(marker.type) { marker.encode(into: &$0) }
        if added, case .openWindow(let window) = marker { openedWindow = window }
        return added
    }

    /// Adds one command of the directory (group 0); `false` where it does not fit any more.
    public mutating func add(_ command: DirectoryChangeRequest) -> Bool {
        add(.directoryChange) { command.encodeBody(into: &$0) }
    }

    private mutating func add(_ type: SectionType, _ body: (inout WireWriter) -> Void) -> Bool {
        let before = sections.count
        let room = sectionRoom
        sections.u16(type.rawValue)
        sections.u16(0)
        sections.u32(0)
        body(&sections)
        let length = sections.count - before - 8
        guard length <= room else {
            sections.bytes.removeLast(sections.count - before)
            return false
        }
        sections.patch(u32: UInt32(length), at: before + 4)
        sectionCount += 1
        return true
    }

    /// Ends the entry; the builder is empty after and takes the next one. `EntrySequence.seal` knows the values.
    ///
    /// - Parameters:
    ///   - window: the window open after this entry's own sections.
    ///   - flush: closes the open credit batches after the records.
    public mutating func seal(
        ledgerTime: WallTime, firstOrdinal: Ordinal, window: WindowID, flush: Bool
    ) -> Slab {
        defer { restart() }
        let header = EntryHeader(
            recordCount: recordCount, ledgerTime: ledgerTime, firstOrdinal: firstOrdinal, sectionBytes: sections.count,
            sectionCount: sectionCount, flags: flush ? EntryHeader.flushFlag : 0, window: window)
        var writer = WireWriter(reserving: EntryHeader.size)
        header.encode(into: &writer)
        writer.bytes.withUnsafeBytes { slab.overwrite(at: 0, $0) }
        sections.bytes.withUnsafeBytes { slab.append($0) }
        // A small entry in a large slab would hold all of it for as long as the entry is cached for followers.
        return slab.count < slab.capacity / 4 ? slab.sealCopy() : slab.sealRenewing()
    }
}

/// What a leader counts over the entries that it proposes ahead of apply: ledger time, ordinals and the open window.
///
/// A new leader takes it from its ledger once the first entry of its own term is applied, and seals every entry
/// through it; until then entries of earlier terms may still be unapplied, and its counts would be wrong.
public struct EntrySequence: Hashable, Sendable {
    public private(set) var ledgerTime: WallTime
    public private(set) var nextOrdinal: Ordinal
    public private(set) var window: WindowID

    public init(ledgerTime: WallTime, nextOrdinal: Ordinal, window: WindowID) {
        self.ledgerTime = ledgerTime
        self.nextOrdinal = nextOrdinal
        self.window = window
    }

    /// Records that can still get an ordinal. No replica could apply an entry beyond, now or at any later start.
    public var recordRoom: Int { Int(Ordinal.count - nextOrdinal.rawValue) }

    /// Seals an entry with ledger time `max(previous + 1, wall)` and the next ordinals.
    /// - Precondition: at most `recordRoom` records.
    public mutating func seal(_ builder: inout EntryBuilder, wall: WallTime, flush: Bool) -> Slab {
        precondition(builder.recordCount <= recordRoom, "a record without an ordinal")
        ledgerTime = max(WallTime(ledgerTime.rawValue + 1), wall)
        if let opened = builder.openedWindow { window = opened }
        let first = nextOrdinal
        nextOrdinal = nextOrdinal + builder.recordCount
        return builder.seal(ledgerTime: ledgerTime, firstOrdinal: first, window: window, flush: flush)
    }
}
