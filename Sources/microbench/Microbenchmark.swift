import ClearingModel
import Ledger
import LogFormat
import NIOCore
import Raft
import TLS
import Wire

/// One mechanism: prepares what it needs and gives the work to measure.
struct Microbenchmark: Sendable {
    var name: String
    /// Payments in the measured work, and the work.
    var prepare: @Sendable () -> (Int, () -> Void)

    static let all = [
        Microbenchmark(name: "apply", prepare: apply),
        Microbenchmark(name: "index-insert") { index(isLookUp: false) },
        Microbenchmark(name: "index-find") { index(isLookUp: true) },
        Microbenchmark(name: "crc", prepare: crc),
        Microbenchmark(name: "frame-single") { frames(records: 1) },
        Microbenchmark(name: "frame-batch") { frames(records: 1_000) },
        Microbenchmark(name: "reply-single") { replies(records: 1) },
        Microbenchmark(name: "reply-batch") { replies(records: 1_000) },
        Microbenchmark(name: "log-append", prepare: logAppend),
        Microbenchmark(name: "tls-seal") { tls(isOpen: false) },
        Microbenchmark(name: "tls-open") { tls(isOpen: true) },
    ]

    static let count = 32_000
    static let day = BusinessDay(rawValue: 20_780)
    static let cluster = ClusterID(high: 1, low: 2)

    /// Payments with the skew of a generated population.
    static func payments(_ population: Population) -> [Instruction] {
        var random = SeededRandom(seed: 7)
        let banks = population.banks
        return (1...UInt64(count)).map { sequence in
            // Half to the largest nine, half over the long tail.
            let debtor = banks[Int(random.below(random.below(2) == 0 ? 9 : UInt64(banks.count)))].participant
            let creditor = population.instructing[Int(random.below(3))].participant
            return Instruction(
                id: TransactionID(debtor: debtor, instructing: creditor, day: day, sequence: sequence),
                kind: .agreementDebit, amount: 1 + random.below(100_000), currency: Population.currency,
                creditor: creditor)
        }
    }

    private static func apply() -> (Int, () -> Void) {
        let population = Population.generate()
        let ledger = ShardLedger(shard: ShardID(1), cluster: cluster, slots: SlotMap(shardCount: 1), shardCount: 1)
        var sequence = ledger.sequence
        var index = LogIndex.zero
        var decisions: [Decision] = []
        func next(_ builder: consuming EntryBuilder) {
            index = index.next
            let wall = WallTime(day.start(offsetMinutes: 480).rawValue + 12 * 3_600_000_000)
            ledger.apply(
                sequence.seal(&builder, wall: wall, flush: false), index: index, term: Term(1), decisions: &decisions)
        }
        var version: UInt64 = 0
        func versioned<R>(_ record: R) -> Versioned<R> {
            version += 1
            return Versioned(version: DirectoryVersion(version), record: record)
        }
        // As many participants an entry as its sections hold.
        for start in stride(from: 0, to: population.participants.count, by: 1_000) {
            let page = population.participants[start..<min(start + 1_000, population.participants.count)]
            let isLast = start + 1_000 >= population.participants.count
            var builder = EntryBuilder()
            let after = DirectoryVersion(version)
            let people = page.map { versioned($0) }
            let papers = isLast ? population.mandates.map { versioned($0) } : []
            let added = builder.add(
                DirectoryUpdate(
                    after: after, through: DirectoryVersion(version), isComplete: isLast, calendar: ClearingCalendar(),
                    participants: people, mandates: papers))
            precondition(added, "a page fits an entry")
            next(builder)
        }
        var opening = EntryBuilder()
        let opened = opening.add(Marker.openDay(day))
        precondition(opened, "a marker fits an entry")
        next(opening)
        let payments = payments(population)
        let entries = stride(from: 0, to: count, by: 8_000).map { start -> Slab in
            var builder = EntryBuilder()
            for payment in payments[start..<start + 8_000] { builder.append(payment) }
            return sequence.seal(&builder, wall: .zero, flush: true)
        }
        return (
            count,
            {
                for entry in entries {
                    index = index.next
                    ledger.apply(entry, index: index, term: Term(1), decisions: &decisions)
                }
                precondition(decisions.allSatisfy { $0.outcome == .accepted }, "every payment is accepted")
            }
        )
    }

    private static func index(isLookUp: Bool) -> (Int, () -> Void) {
        let partition = IndexPartition()
        var random = SeededRandom(seed: 3)
        func slots(_ count: Int, from first: UInt64) -> [IndexSlot] {
            (0..<UInt64(count)).map {
                IndexSlot(fingerprint: random.next(), ordinal: Ordinal(first + $0), outcome: .accepted, bodyCheck: 7)
            }
        }
        for slot in slots(200_000, from: 0) { partition.insert(slot) }
        let more = slots(count, from: 200_000)
        if isLookUp { for slot in more { partition.insert(slot) } }
        return (
            count,
            {
                for slot in more {
                    if isLookUp {
                        precondition(partition.find(slot.fingerprint) == slot, "what was inserted is found")
                    } else {
                        partition.insert(slot)
                    }
                }
            }
        )
    }

    private static func crc() -> (Int, () -> Void) {
        let bytes = [UInt8](repeating: 0x5A, count: 8_000 * Instruction.size)
        return (
            count,
            {
                var sum: UInt32 = 0
                for _ in 0..<count / 8_000 { bytes.withUnsafeBytes { sum ^= crc32c($0, from: sum) } }
                precondition(sum != 1, "keeps the work")
            }
        )
    }

    private static func frames(records: Int) -> (Int, () -> Void) {
        let payments = payments(Population.generate())
        var writer = WireWriter()
        for (number, start) in stride(from: 0, to: count, by: records).enumerated() {
            Submit.encode(
                request: UInt64(number), shard: ShardID(1), Array(payments[start..<start + records]), into: &writer)
        }
        let stream = writer.bytes
        return (
            count,
            {
                var decoder = FrameDecoder()
                var slab = SlabBuilder(capacity: count * Instruction.size)
                let error = stream.withUnsafeBytes { bytes in
                    decoder.feed(bytes) { header, body in
                        guard header.type == .submit, let submit = try? Submit.decode(body) else { return }
                        slab.append(submit.records)
                    }
                }
                precondition(error == nil && slab.count == count * Instruction.size, "every record was read")
            }
        )
    }

    private static func replies(records: Int) -> (Int, () -> Void) {
        let decisions = (0..<count).map { slot in
            Decision(
                outcome: .accepted, answer: .decided, slot: UInt16(slot % 8_192),
                window: WindowID(scheme: .domestic, number: 1),
                index: LogIndex(9), shard: ShardID(1), ledgerTime: .zero)
        }
        return (
            count,
            {
                var writer = WireWriter(reserving: count * (Decision.size + 24))
                for start in stride(from: 0, to: count, by: records) {
                    SubmitReply.encode(
                        request: UInt64(start), shard: ShardID(1), decisions, start..<start + records, into: &writer)
                }
                precondition(writer.count >= count * Decision.size, "every decision was written")
            }
        )
    }

    private static func tls(isOpen: Bool) -> (Int, () -> Void) {
        let pair = SessionPair()
        let bytes = [UInt8](repeating: 1, count: 1_000 * (Instruction.size + 24))
        var sealed: [ByteBuffer] = []
        if isOpen { sealed = (0..<count / 1_000).map { _ in pair.seal(bytes) } }
        return (
            count,
            {
                if isOpen {
                    for buffer in sealed { pair.open(buffer) }
                } else {
                    for _ in 0..<count / 1_000 { _ = pair.seal(bytes) }
                }
            }
        )
    }
}
