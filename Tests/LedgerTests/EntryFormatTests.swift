import ClearingModel
import Ledger
import Testing
import Wire

@Suite("Entry format")
struct EntryFormatTests {
    static func batch(lines: Int) -> CreditBatch {
        CreditBatch(
            source: ShardID(2), destination: ShardID(1), number: BatchNumber(7), sourceIndex: LogIndex(8),
            sourceTerm: Term(9), directoryVersion: DirectoryVersion(10), previousHash: 11,
            lines: (0..<lines).map {
                CreditLine(
                    participant: ParticipantID(UInt32($0 + 1)), window: WindowID(scheme: .domestic, number: 3),
                    amount: 5, count: 6)
            }, key: SipHash(cluster: testCluster))
    }

    static let update = DirectoryUpdate(
        after: .zero, through: DirectoryVersion(4), isComplete: true,
        calendar: ClearingCalendar(zoneOffsetMinutes: -300),
        participants: [
            Versioned(version: DirectoryVersion(1), record: bank(1)),
            Versioned(
                version: DirectoryVersion(3),
                record: Participant(
                    id: ParticipantID(2), kind: .indirect, status: .closing, currency: 840, limit: 1, funding: 2,
                    sponsor: ParticipantID(1))),
        ],
        mandates: [
            Versioned(
                version: DirectoryVersion(4),
                record: Mandate(
                    instructing: ParticipantID(1), debtors: .every(.bank), maximumAmount: 5, dailyCap: 6, revoked: true)
            )
        ])

    /// An entry with records and a section of every type of a clearing shard.
    static func full() -> Slab {
        var builder = EntryBuilder()
        for n in 0..<5 { builder.append(payment(1, 2, 3, sequence: UInt64(n))) }
        let confirmation = CreditConfirmation(
            source: ShardID(1), destination: ShardID(2), cursor: batch(lines: 1).cursor)
        var added = builder.add(batch(lines: 3))
        added = builder.add(confirmation) && added
        added = builder.add(update) && added
        added = builder.add(Marker.openDay(testDay)) && added
        added = builder.add(Marker.closeDay(testDay)) && added
        added = builder.add(Marker.openWindow(WindowID(scheme: .domestic, number: 2))) && added
        precondition(added)
        return builder.seal(
            ledgerTime: WallTime(77), firstOrdinal: Ordinal(88), window: WindowID(scheme: .domestic, number: 2),
            flush: true)
    }

    @Test("what is built is read back")
    func roundTrip() throws {
        let slab = Self.full()
        let bytes = Array(slab.bytes)
        try bytes.withUnsafeBytes { bytes in
            let view = try EntryView.read(bytes, group: .clearing).get()
            #expect(view.header.recordCount == 5 && view.header.sectionCount == 6 && view.header.isFlush)
            #expect(view.header.ledgerTime == WallTime(77) && view.header.firstOrdinal == Ordinal(88))
            #expect(view.header.window == WindowID(scheme: .domestic, number: 2))
            #expect(view.record(4) == payment(1, 2, 3, sequence: 4))
            let sections = view.sections(key: SipHash(cluster: testCluster))
            #expect(
                sections == [
                    .creditBatch(Self.batch(lines: 3)),
                    .creditConfirmation(
                        CreditConfirmation(
                            source: ShardID(1), destination: ShardID(2), cursor: Self.batch(lines: 1).cursor)),
                    .directoryUpdate(Self.update), .marker(.openDay(testDay)), .marker(.closeDay(testDay)),
                    .marker(.openWindow(WindowID(scheme: .domestic, number: 2))),
                ])
            #expect(EntryHeader.peek(UnsafeRawBufferPointer(rebasing: bytes[..<64])) == view.header)
            #expect(EntryHeader.peek(UnsafeRawBufferPointer(rebasing: bytes[..<63])) == nil)
        }
    }

    @Test("the header's bytes stand where the page says")
    func headerBytes() {
        let slab = Self.full()
        let bytes = Array(slab.bytes)
        let value = { (offset: Int, size: Int) in
            (0..<size).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
        }
        let sections = bytes.count - 64 - 5 * 128
        let wanted: [(Int, Int, UInt64)] = [
            (0, 2, 1), (2, 2, 128), (4, 4, 5), (8, 8, 77), (16, 8, 88), (24, 4, UInt64(sections)), (28, 4, 1),
            (32, 2, 1),
            (34, 2, 6), (36, 4, 2), (40, 8, 0), (48, 8, 0), (56, 8, 0), (64 + 5 * 128, 2, 1),
            (64 + 5 * 128 + 4, 4, 48 + 3 * 32),
        ]
        for (offset, size, found) in wanted { #expect(value(offset, size) == found, "offset \(offset)") }
    }

    /// Reads bytes as either kind of entry; only has to come back.
    static func probe(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            let clearing = ShardLedger.validate(bytes)
            let directory = DirectoryLedger.validate(bytes)
            if let clearing { #expect(!clearing.description.isEmpty) }
            if clearing == nil, case .success(let view) = EntryView.read(bytes, group: .clearing) {
                _ = view.sections(key: SipHash(cluster: testCluster))
            }
            return clearing == nil || directory == nil
        }
    }

    @Test("malformed bytes are refused with a reason, never trapped on")
    func malformed() {
        var random = SeededRandom(seed: 17)
        let slab = Self.full()
        let good = Array(slab.bytes)
        #expect(Self.probe(good))
        for length in 0..<good.count where length % 3 == 0 || length < 80 {
            #expect(!Self.probe(Array(good[..<length])))
        }
        #expect(!Self.probe(good + [0]))
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0...random.below(3) {
                // Records are opaque here: aim at the header and the sections.
                let place =
                    random.chance(30) ? random.below(64) : 64 + 5 * 128 + random.below(UInt64(good.count - 64 - 640))
                bytes[Int(place)] = random.chance(50) ? UInt8(truncatingIfNeeded: random.next()) : 0xFF
            }
            if !Self.probe(bytes) { refused += 1 }
        }
        #expect(refused > 5_000)
        for _ in 0..<2_000 {
            _ = Self.probe((0..<Int(random.below(300))).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
    }

    @Test("sections stand in their own group only")
    func groups() {
        let command = DirectoryChangeRequest(changes: [.participant(bank(1))])
        var builder = EntryBuilder()
        let added = builder.add(command)
        #expect(added)
        let slab = builder.seal(
            ledgerTime: WallTime(1), firstOrdinal: .zero, window: WindowID(scheme: .domestic, number: 1), flush: false)
        withExtendedLifetime(slab) {
            #expect(DirectoryLedger.validate(slab.bytes) == nil)
            #expect(ShardLedger.validate(slab.bytes) != nil)
        }
        let full = Self.full()
        withExtendedLifetime(full) { #expect(DirectoryLedger.validate(full.bytes) != nil) }
    }

    @Test("a builder takes what fits and says when it does not")
    func room() {
        var builder = EntryBuilder()
        #expect(builder.isEmpty && builder.recordRoom == Limits.maximumRecords)
        for n in 0..<Limits.maximumRecords { builder.append(payment(1, 2, 3, sequence: UInt64(n))) }
        #expect(builder.recordRoom == 0)
        var first = builder.add(Self.batch(lines: CreditBatch.maximumLines))
        #expect(first)
        first = builder.add(Self.batch(lines: CreditBatch.maximumLines - 1))
        #expect(first)
        let room = builder.sectionRoom
        let third = builder.add(Self.batch(lines: 2))
        #expect(!third && builder.sectionRoom == room && builder.sectionCount == 2)
        let marker = room >= 8 && builder.add(Marker.openDay(testDay))
        #expect(marker == (room >= 8))
        let slab = builder.seal(
            ledgerTime: WallTime(1), firstOrdinal: .zero, window: WindowID(scheme: .domestic, number: 1), flush: false)
        #expect(slab.count <= Limits.maximumEntryBytes)
        withExtendedLifetime(slab) { #expect(ShardLedger.validate(slab.bytes) == nil) }
    }

    @Test("a sequence tells how many records can still be numbered; what it seals up to there can be read")
    func lastOrdinals() {
        var sequence = EntrySequence(
            ledgerTime: WallTime(100), nextOrdinal: Ordinal(Ordinal.count - 2),
            window: WindowID(scheme: .domestic, number: 1))
        #expect(sequence.recordRoom == 2)
        for records in [2, 0] {
            var builder = EntryBuilder()
            for n in 0..<records { builder.append(payment(1, 2, 3, sequence: UInt64(n))) }
            let slab = sequence.seal(&builder, wall: .zero, flush: true)
            withExtendedLifetime(slab) { #expect(ShardLedger.validate(slab.bytes) == nil) }
            #expect(sequence.recordRoom == 0)
        }
    }

    @Test("a sequence stamps increasing times and ordinals without a gap")
    func sequence() throws {
        var sequence = EntrySequence(
            ledgerTime: WallTime(100), nextOrdinal: Ordinal(5), window: WindowID(scheme: .domestic, number: 1))
        var headers: [EntryHeader] = []
        for wall in [50, 200, 200, 150] {
            var builder = EntryBuilder()
            builder.append(payment(1, 2, 3, sequence: 1))
            if wall == 150 { _ = builder.add(Marker.openWindow(WindowID(scheme: .domestic, number: 2))) }
            let slab = sequence.seal(&builder, wall: WallTime(UInt64(wall)), flush: false)
            headers.append(try #require(withExtendedLifetime(slab) { EntryHeader.peek(slab.bytes) }))
        }
        #expect(headers.map(\.ledgerTime.rawValue) == [101, 200, 201, 202])
        #expect(headers.map(\.firstOrdinal.rawValue) == [5, 6, 7, 8])
        #expect(headers.map(\.window.number) == [1, 1, 1, 2])
    }
}
