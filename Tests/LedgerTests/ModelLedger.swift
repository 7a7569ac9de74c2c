import ClearingModel
import Ledger

/// The ledger once more, slow and plain: dictionaries, one rule after the other, no index, no dense tables.
/// It shares only value types with the code under test.
struct ModelLedger {
    struct Row: Equatable {
        var debits: Int128 = 0
        var credits: Int128 = 0
    }
    struct Seen {
        var id: TransactionID
        var outcome: Outcome
        var ordinal: UInt64
    }
    struct Debtor: Hashable {
        var mandate: Mandate
        var debtor: ParticipantID
        var day: BusinessDay
    }
    struct Creditor: Hashable {
        var id: ParticipantID
        var window: UInt32
    }
    struct Sum: Equatable {
        var amount: UInt64
        var count: UInt64
    }

    let shard: ShardID
    let slots: SlotMap
    let fingerprint: Fingerprint
    var participants: [ParticipantID: Participant] = [:]
    /// The latest mandate for each instructing participant and debtors.
    var mandates: [Mandate] = []
    var openDays: [BusinessDay] = []
    var newestDay = BusinessDay(0)
    var window: UInt32 = 1
    var seen: [BusinessDay: [UInt64: Seen]] = [:]
    var rows: [Creditor: Row] = [:]
    var used: [Debtor: UInt64] = [:]
    /// Credits that left for other shards, over all time.
    var sent: [Creditor: Sum] = [:]
    var nextOrdinal: UInt64 = 0

    init(shard: ShardID, slots: SlotMap, fingerprint: Fingerprint) {
        self.shard = shard
        self.slots = slots
        self.fingerprint = fingerprint
    }

    func net(_ id: ParticipantID) -> Int128 {
        rows.filter { $0.key.id == id }.reduce(0) { $0 + $1.value.credits - $1.value.debits }
    }

    func available(_ id: ParticipantID) -> Int128 {
        let participant = participants[id]!
        // Only the shard that holds the sponsor's own position adds what it sponsors there.
        let isHome = slots.home(of: id) == shard
        let sponsored = participants.values.filter { isHome && $0.sponsor == id }
            .reduce(Int128(0)) { $0 + net($1.id) }
        return Int128(participant.limit) + Int128(participant.funding) + net(id) + sponsored
    }

    mutating func set(_ mandate: Mandate) {
        mandates.removeAll { $0.instructing == mandate.instructing && $0.debtors == mandate.debtors }
        mandates.append(mandate)
    }

    mutating func open(_ day: BusinessDay) {
        guard day > newestDay, openDays.count < 3 else { return }
        openDays.append(day)
        newestDay = day
    }

    mutating func close(_ day: BusinessDay) { openDays.removeAll { $0 == day } }

    mutating func decide(_ record: Instruction, ledgerTime: WallTime) -> (
        outcome: Outcome, isNew: Bool, ordinal: UInt64
    ) {
        let ordinal = nextOrdinal
        nextOrdinal += 1
        let print = fingerprint(record.id)
        let isOpen = openDays.contains(record.id.day)
        if isOpen, let before = seen[record.id.day]?[print] { return (before.outcome, false, before.ordinal) }
        let outcome = judge(record, ledgerTime)
        if isOpen { seen[record.id.day, default: [:]][print] = Seen(id: record.id, outcome: outcome, ordinal: ordinal) }
        return (outcome, true, ordinal)
    }

    private func mandate(for record: Instruction, debtor: Participant) -> Mandate? {
        let usable = mandates.filter { $0.instructing == record.id.instructing && !$0.revoked }
        return usable.first { $0.debtors == .one(debtor.id) } ?? usable.first { $0.debtors == .every(debtor.kind) }
    }

    private mutating func judge(_ record: Instruction, _ time: WallTime) -> Outcome {
        if record.fault != nil { return .unsupported }
        if slots.route(record.id) != shard { return .unsupported }
        if !openDays.contains(record.id.day) { return .dayNotOpen }
        if record.kind == .queryOrVoid { return .voided }
        let midnight = record.id.day.start(offsetMinutes: 480).rawValue
        if record.acceptBy > 0, time.rawValue > midnight + UInt64(record.acceptBy) * 1_000 { return .acceptByPassed }
        if record.amount == 0 { return .amountZero }
        if record.amount > Limits.maximumAmount { return .amountOverLimit }
        guard let debtor = participants[record.id.debtor] else { return .debtorUnknown }
        guard let creditor = participants[record.creditor] else { return .creditorUnknown }
        guard let instructing = participants[record.id.instructing] else { return .instructingUnknown }
        let moves = { (p: Participant) in p.kind != .regulator }
        if !(debtor.status.maySend && moves(debtor)) { return .debtorSuspended }
        if !(creditor.status.mayReceive && moves(creditor)) { return .creditorSuspended }
        if !(instructing.status.maySend && moves(instructing)) { return .instructingSuspended }
        if debtor.id == creditor.id { return .sameParticipant }
        if debtor.currency != record.currency || creditor.currency != record.currency { return .currencyNotAccepted }
        if debtor.sponsor != .none, participants[debtor.sponsor] == nil || slots.home(of: debtor.sponsor) != shard {
            return .unsupported
        }
        var capKey: Debtor?
        if instructing.id != debtor.id {
            guard let mandate = mandate(for: record, debtor: debtor),
                mandate.kinds.contains(InstructionKinds(record.kind!))
            else { return .noMandate }
            if record.amount > mandate.maximumAmount { return .mandateLimitExceeded }
            if mandate.dailyCap > 0 {
                // Sums belong to the pair of instructing participant and debtors, not to one version of the mandate.
                var identity = Mandate(instructing: mandate.instructing, debtors: mandate.debtors, maximumAmount: 0)
                identity.kinds = []
                let key = Debtor(mandate: identity, debtor: debtor.id, day: record.id.day)
                if used[key, default: 0] + record.amount > mandate.dailyCap { return .mandateLimitExceeded }
                capKey = key
            }
        }
        if available(debtor.id) < Int128(record.amount) { return .insufficientFunds }
        if debtor.sponsor != .none {
            let sponsor = participants[debtor.sponsor]!
            if !(sponsor.status.maySend && moves(sponsor)) { return .debtorSuspended }
            if available(sponsor.id) < Int128(record.amount) { return .insufficientFunds }
        }
        let creditorKey = Creditor(id: creditor.id, window: window)
        rows[Creditor(id: debtor.id, window: window), default: Row()].debits += Int128(record.amount)
        if slots.home(of: creditor.id) == shard {
            rows[creditorKey, default: Row()].credits += Int128(record.amount)
        } else {
            sent[creditorKey, default: Sum(amount: 0, count: 0)].amount += record.amount
            sent[creditorKey]!.count += 1
        }
        if let capKey { used[capKey, default: 0] += record.amount }
        return .accepted
    }
}
