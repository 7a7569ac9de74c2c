import ClearingModel
import Ledger
import Simulation
import Testing

/// Whatever a correct cluster goes through, the checker stays silent, and has looked at everything.
@Suite("The checker, told of a correct cluster")
struct GoodHistoryTests {
    private func expectValid(
        _ checker: Checker,
        idle: [String] = ["MembershipAfterCommit", "MembershipSteps", "WholeAgain", "RefusedForGood"]
    ) {
        checker.finished()
        #expect(checker.violation == nil, "\(checker.violation!)")
        #expect(checker.verdict == .valid, "\(checker.coverage)")
        #expect(checker.coverage.idle == idle, "\(checker.coverage)")
    }

    @Test("finds nothing in payments, repeats, conflicts, queries, lowered limits and quiet", arguments: [1, 4])
    func payments(shards: Int) throws {
        let payments = try CheckedPayments(shards: shards, limit: 2_000)
        for number in UInt64(1)...60 {
            let payment = payments.payment(
                number, from: Int(number % 5), to: Int(5 + number % 7), amount: 40 + number)
            _ = try #require(payments.decide(payment))
            if number % 7 == 0 {
                #expect(payments.decide(payment)?.answer == .duplicate)
                var altered = payment
                altered.amount += 1
                #expect(payments.decide(altered)?.answer == .idConflict)
                #expect(payments.query(payment.id)?.answer == .decided)
                #expect(payments.query(payments.payment(1_000 + number, from: 1, to: 2).id)?.answer == .notFound)
            }
            if number == 30 {
                payments.change([
                    .participant(Participant(id: payments.participants[1], kind: .bank, currency: 156, limit: 10))
                ])
            }
        }
        payments.cluster.run(milliseconds: 2_000)
        let quiet = ["MembershipAfterCommit", "MembershipSteps", "KeptOverRestarts", "WholeAgain"]
        if shards == 1 {
            payments.cluster.checker.finished()
            #expect(payments.cluster.checker.violation == nil)
            #expect(payments.cluster.checker.coverage.idle == quiet + ["CreditStreamOrder", "RefusedForGood"])
        } else {
            expectValid(payments.cluster.checker, idle: quiet + ["RefusedForGood"])
        }
    }

    @Test("finds nothing in killed leaders, power cuts and restarts", arguments: UInt64(1)...6)
    func restarts(seed: UInt64) throws {
        let payments = try CheckedPayments(shards: 3, seed: seed)
        let cluster = payments.cluster
        var random = SeededRandom(seed: seed)
        for number in UInt64(1)...60 {
            _ = payments.decide(
                payments.payment(number, from: Int(number % 6), to: Int(6 + number % 6), amount: number))
            guard number % 6 == 0 else { continue }
            let victim = cluster.machines[Int(random.below(3))]
            cluster.kill(victim, power: random.below(2) == 0)
            cluster.run(milliseconds: Int(random.below(1_500)))
            if random.below(4) == 0 {
                for machine in cluster.machines where machine.engine != nil { cluster.kill(machine, power: true) }
            }
            for machine in cluster.machines where machine.engine == nil { cluster.start(machine) }
        }
        cluster.run(milliseconds: 3_000)
        expectValid(cluster.checker)
    }

    @Test("finds nothing in checkpoints and a wiped node that comes back by a snapshot")
    func snapshots() throws {
        let payments = try CheckedPayments(
            shards: 2, options: LedgerOptions(checkpointIntervalBytes: 4_096))
        let cluster = payments.cluster
        for number in UInt64(1)...80 {
            payments.decide(payments.payment(number, from: Int(number % 6), to: Int(6 + number % 6), amount: number))
        }
        let victim = cluster.machines[2]
        cluster.kill(victim)
        cluster.wipe(victim)
        cluster.start(victim)
        for shard in cluster.topology.placements.map(\.shard) {
            let isLed = cluster.reaches(cluster.leader(of: shard) != nil)
            #expect(isLed)
            payments.replace(victim.replica, in: shard)
        }
        cluster.run(milliseconds: 8_000)
        for number in UInt64(81)...120 {
            payments.decide(payments.payment(number, from: Int(number % 6), to: Int(6 + number % 6), amount: number))
        }
        cluster.kill(cluster.machines[0])
        for number in UInt64(121)...130 {
            #expect(payments.decide(payments.payment(number, from: 1, to: 7))?.outcome == .accepted)
        }
        cluster.start(cluster.machines[0])
        cluster.run(milliseconds: 3_000)
        expectValid(cluster.checker, idle: ["WholeAgain", "RefusedForGood"])
    }

    @Test("finds nothing where ids are made to share fingerprints")
    func collisions() throws {
        let payments = try CheckedPayments(shards: 2, options: LedgerOptions(fingerprintMask: 31))
        var others = 0
        for number in UInt64(1)...60 {
            let decision = payments.decide(payments.payment(number, from: Int(number % 4), to: 7, amount: 1))
            if decision?.answer == .chooseAnotherSequence { others += 1 }
        }
        #expect(others > 0)
        payments.cluster.run(milliseconds: 1_000)
        payments.cluster.checker.finished()
        #expect(payments.cluster.checker.violation == nil, "\(payments.cluster.checker.violation!)")
    }
}
