import ClearingModel
import Ledger
import Testing

/// One record for each outcome, on a ledger that is made for it, and the ISO 20022 reason that goes with it.
@Suite("Golden table: cause, outcome, ISO reason, disposition")
struct OutcomeTableTests {
    struct Row: CustomTestStringConvertible {
        var outcome: Outcome
        var isoReason: String?
        var disposition: Outcome.Disposition
        var record: Instruction
        var wall = noon
        var testDescription: String { outcome.name }
    }

    static func driver() -> ShardDriver {
        let driver = ShardDriver()
        driver.load(
            [
                bank(1), bank(2), bank(3, status: .suspended), bank(4, limit: 10),
                Participant(id: ParticipantID(5), kind: .bank, currency: 840, limit: 1_000),
                Participant(id: ParticipantID(6), kind: .paymentInstitution, currency: 156, limit: 1_000),
                Participant(id: ParticipantID(7), kind: .regulator, currency: 156, limit: 1_000),
            ],
            [Mandate(instructing: ParticipantID(6), debtors: .every(.bank), maximumAmount: 500, dailyCap: 600)])
        driver.open(testDay)
        return driver
    }

    static var rows: [Row] {
        var late = payment(1, 2, 5, sequence: 1)
        late.acceptBy = 11 * 3_600_000
        var flagged = payment(1, 2, 5, sequence: 1)
        flagged.flags = 1
        return [
            Row(outcome: .accepted, isoReason: nil, disposition: .final, record: payment(1, 2, 5, sequence: 1)),
            Row(
                outcome: .voided, isoReason: "DT01", disposition: .final,
                record: .queryOrVoid(payment(1, 2, 5, sequence: 1).id)),
            Row(
                outcome: .insufficientFunds, isoReason: "AM04", disposition: .resumable,
                record: payment(4, 2, 11, sequence: 1)),
            Row(outcome: .amountZero, isoReason: "AM01", disposition: .final, record: payment(1, 2, 0, sequence: 1)),
            Row(
                outcome: .amountOverLimit, isoReason: "AM23", disposition: .final,
                record: payment(1, 2, Limits.maximumAmount + 1, sequence: 1)),
            Row(
                outcome: .currencyNotAccepted, isoReason: "AM03", disposition: .final,
                record: payment(1, 5, 5, sequence: 1)),
            Row(
                outcome: .mandateLimitExceeded, isoReason: "AM14", disposition: .resumable,
                record: payment(1, 2, 501, sequence: 1, instructing: 6)),
            Row(
                outcome: .noMandate, isoReason: "AG01", disposition: .final,
                record: payment(1, 2, 5, sequence: 1, instructing: 2)),
            Row(
                outcome: .debtorSuspended, isoReason: "AG10", disposition: .retryable,
                record: payment(3, 2, 5, sequence: 1)),
            Row(
                outcome: .debtorSuspended, isoReason: "AG10", disposition: .retryable,
                record: payment(7, 2, 5, sequence: 1)),
            Row(
                outcome: .creditorSuspended, isoReason: "AG11", disposition: .retryable,
                record: payment(1, 3, 5, sequence: 1)),
            Row(outcome: .debtorUnknown, isoReason: "AC04", disposition: .final, record: payment(9, 2, 5, sequence: 1)),
            Row(
                outcome: .creditorUnknown, isoReason: "AC05", disposition: .final, record: payment(1, 9, 5, sequence: 1)
            ),
            Row(
                outcome: .instructingUnknown, isoReason: "AG01", disposition: .final,
                record: payment(1, 2, 5, sequence: 1, instructing: 9)),
            Row(
                outcome: .sameParticipant, isoReason: "AG01", disposition: .final,
                record: payment(1, 1, 5, sequence: 1)),
            Row(
                outcome: .dayNotOpen, isoReason: "DT01", disposition: .retryable,
                record: payment(1, 2, 5, sequence: 1, day: testDay.next)),
            Row(outcome: .acceptByPassed, isoReason: "AB06", disposition: .retryable, record: late),
            Row(outcome: .unsupported, isoReason: "AG03", disposition: .final, record: flagged),
            Row(
                outcome: .instructingSuspended, isoReason: "AG10", disposition: .retryable,
                record: payment(1, 2, 5, sequence: 1, instructing: 3)),
        ]
    }

    @Test("each cause has its outcome", arguments: rows)
    func row(_ row: Row) {
        let driver = Self.driver()
        let decision = driver.decide(row.record, at: row.wall)
        #expect(decision.outcome == row.outcome)
        #expect(decision.answer == .decided)
        #expect(row.outcome.isoReason == row.isoReason)
        #expect(row.outcome.row.disposition == row.disposition)
        // The id has this outcome for ever, whatever comes under it later; only a day that is not open stores nothing.
        let hit = driver.ledger.lookup(row.record.id)
        #expect(hit?.outcome == (row.outcome == .dayNotOpen ? nil : row.outcome))
        let good = payment(
            row.record.id.debtor.rawValue, 2, 1, sequence: row.record.id.sequence,
            instructing: row.record.id.instructing.rawValue, day: row.record.id.day)
        let again = driver.decide(good)
        #expect(again.answer == (row.outcome == .dayNotOpen ? .decided : .needsComparison))
        #expect(again.outcome == row.outcome)
        if again.answer == .needsComparison { #expect(again.index == hit?.ordinal.rawValue) }
    }

    @Test("the table above has a row for every outcome but the overflow")
    func complete() {
        let missing = Set(Outcome.allCases).subtracting(Self.rows.map(\.outcome))
        #expect(missing == [.positionOverflow])
        #expect(Outcome.positionOverflow.isoReason == "AM23")
    }

    @Test("acceptBy counts in the calendar's zone, and its last instant is in time")
    func acceptBy() {
        let driver = Self.driver()
        let midnight = testDay.start(offsetMinutes: 480).rawValue
        var record = payment(1, 2, 5, sequence: 1)
        record.acceptBy = 3_600_000
        #expect(driver.decide(record, at: WallTime(midnight + 3_600_000_000)).outcome == .accepted)
        record.id = payment(1, 2, 5, sequence: 2).id
        #expect(driver.decide(record, at: WallTime(midnight + 3_600_000_001)).outcome == .acceptByPassed)
    }

    @Test("a daily cap counts per debtor and business day")
    func dailyCap() {
        let driver = Self.driver()
        driver.open(testDay.next)
        let capped = { (debtor: UInt32, sequence: UInt64, day: BusinessDay) in
            driver.decide(payment(debtor, 2, 300, sequence: sequence, instructing: 6, day: day)).outcome
        }
        #expect(capped(1, 1, testDay) == .accepted)
        #expect(capped(1, 2, testDay) == .accepted)
        #expect(capped(1, 3, testDay) == .mandateLimitExceeded)
        #expect(capped(1, 4, testDay.next) == .accepted)
        driver.load([bank(8)])
        #expect(capped(8, 5, testDay) == .accepted)
    }

    @Test("a specific mandate decides alone; revoked, it is as if it were not there")
    func mandates() {
        let driver = Self.driver()
        let specific = { (amount: UInt64, revoked: Bool) in
            Mandate(
                instructing: ParticipantID(6), debtors: .one(ParticipantID(1)), kinds: InstructionKinds(.payout),
                maximumAmount: amount, revoked: revoked)
        }
        driver.load([], [specific(1_000, false)])
        let payout = { (amount: UInt64, sequence: UInt64) in
            driver.decide(payment(1, 2, amount, sequence: sequence, instructing: 6, kind: .payout)).outcome
        }
        #expect(payout(900, 1) == .accepted)
        #expect(driver.decide(payment(1, 2, 5, sequence: 2, instructing: 6)).outcome == .noMandate)
        driver.load([], [specific(1_000, true)])
        #expect(payout(900, 3) == .mandateLimitExceeded)
        #expect(driver.decide(payment(1, 2, 5, sequence: 4, instructing: 6)).outcome == .accepted)
    }

    @Test("an indirect participant is checked against its own limit and its sponsor's")
    func sponsor() {
        let driver = ShardDriver()
        driver.load([
            bank(1, limit: 100), bank(2),
            Participant(
                id: ParticipantID(3), kind: .indirect, currency: 156, limit: 80, sponsor: ParticipantID(1)),
        ])
        driver.open(testDay)
        #expect(driver.decide(payment(3, 2, 81, sequence: 1)).outcome == .insufficientFunds)
        #expect(driver.decide(payment(3, 2, 60, sequence: 2)).outcome == .accepted)
        #expect(driver.ledger.position(of: ParticipantID(1)).available == 40)
        #expect(driver.decide(payment(1, 2, 41, sequence: 3)).outcome == .insufficientFunds)
        #expect(driver.decide(payment(1, 2, 30, sequence: 4)).outcome == .accepted)
        #expect(driver.decide(payment(3, 2, 11, sequence: 5)).outcome == .insufficientFunds)
        #expect(driver.decide(payment(2, 3, 50, sequence: 6)).outcome == .accepted)
        #expect(driver.ledger.position(of: ParticipantID(1)).available == 60)
        #expect(driver.decide(payment(3, 2, 60, sequence: 7)).outcome == .accepted)
    }

    @Test("comparison: same id and bytes, same id, other id, and either side of a void")
    func comparison() {
        let first = payment(1, 2, 5, sequence: 1)
        var changed = first
        changed.reference = 9
        let void = Instruction.queryOrVoid(first.id)
        #expect(ShardLedger.compare(new: first, stored: first) == .duplicate)
        #expect(ShardLedger.compare(new: changed, stored: first) == .idConflict)
        #expect(ShardLedger.compare(new: payment(1, 2, 5, sequence: 2), stored: first) == .chooseAnotherSequence)
        #expect(ShardLedger.compare(new: void, stored: first) == .duplicate)
        #expect(ShardLedger.compare(new: first, stored: void) == .duplicate)
        #expect(ShardLedger.compare(new: .queryOrVoid(changed.id), stored: void) == .duplicate)
    }
}
