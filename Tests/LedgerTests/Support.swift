import ClearingModel
import Ledger
import Wire

let testCluster = ClusterID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210)

/// A shard that a test drives entry by entry, as a leader and its log would.
final class ShardDriver {
    var ledger: ShardLedger
    var sequence: EntrySequence
    var index = LogIndex.zero
    var term = Term(1)
    var decisions: [Decision] = []
    /// Every payload applied, for replicas that replay.
    var log: [Slab] = []

    init(_ ledger: ShardLedger) {
        self.ledger = ledger
        sequence = ledger.sequence
    }

    convenience init(
        shard: UInt16 = 1, shardCount: Int = 1, slots: SlotMap? = nil, options: LedgerOptions = LedgerOptions()
    ) {
        self.init(
            ShardLedger(
                shard: ShardID(shard), cluster: testCluster, slots: slots ?? SlotMap(shardCount: shardCount),
                shardCount: shardCount, options: options))
    }

    /// Seals what `fill` put into an entry and applies it.
    @discardableResult
    func entry(at wall: WallTime = .zero, flush: Bool = false, _ fill: (inout EntryBuilder) -> Void = { _ in })
        -> [Decision]
    {
        var builder = EntryBuilder()
        fill(&builder)
        let slab = sequence.seal(&builder, wall: wall, flush: flush)
        index = index.next
        log.append(slab)
        ledger.apply(slab, index: index, term: term, decisions: &decisions)
        return decisions
    }

    /// One record in an entry of its own.
    @discardableResult
    func decide(_ instruction: Instruction, at wall: WallTime = .zero) -> Decision {
        entry(at: wall) { $0.append(instruction) }[0]
    }

    func load(_ participants: [Participant], _ mandates: [Mandate] = [], isComplete: Bool = true) {
        entry { builder in
            let first = ledger.directoryCursor.rawValue
            var version = first
            let next = { () -> DirectoryVersion in
                version += 1
                return DirectoryVersion(version)
            }
            let people = participants.map { Versioned(version: next(), record: $0) }
            let papers = mandates.map { Versioned(version: next(), record: $0) }
            let update = DirectoryUpdate(
                after: DirectoryVersion(first), through: DirectoryVersion(version), isComplete: isComplete,
                calendar: ClearingCalendar(), participants: people, mandates: papers)
            let added = builder.add(update)
            precondition(added)
        }
    }

    func open(_ day: BusinessDay) {
        entry { builder in
            let added = builder.add(Marker.openDay(day))
            precondition(added)
        }
    }
}

let testDay = BusinessDay(20_780)
let noon = WallTime(rawValue: testDay.start(offsetMinutes: 480).rawValue + 12 * 3_600_000_000)

func bank(_ id: UInt32, limit: UInt64 = 1_000_000, funding: UInt64 = 0, status: ParticipantStatus = .active)
    -> Participant
{
    Participant(
        id: ParticipantID(id), kind: .bank, status: status, currency: 156, limit: limit, funding: funding)
}

func payment(
    _ debtor: UInt32, _ creditor: UInt32, _ amount: UInt64, sequence: UInt64, instructing: UInt32? = nil,
    day: BusinessDay = testDay, currency: UInt16 = 156, kind: InstructionKind = .agreementDebit
) -> Instruction {
    Instruction(
        id: TransactionID(
            debtor: ParticipantID(debtor), instructing: ParticipantID(instructing ?? debtor), day: day,
            sequence: sequence),
        kind: kind, amount: amount, currency: currency, creditor: ParticipantID(creditor))
}

extension SeededRandom {
    mutating func pick<T>(_ items: [T]) -> T { items[Int(below(UInt64(items.count)))] }
    mutating func chance(_ percent: UInt64) -> Bool { below(100) < percent }
}
