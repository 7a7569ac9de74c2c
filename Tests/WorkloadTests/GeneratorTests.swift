import ClearingModel
import Testing
import Workload

@Suite("Generated payments")
struct GeneratorTests {
    static let population = Population.generate()
    static var everybody: [[ParticipantID]] { population.instructing.map { [$0.participant] } }

    static func generator(
        _ identities: [[ParticipantID]] = everybody, mix: LoadMix = .transfers, seed: UInt64 = 1
    ) throws -> PaymentGenerator {
        try #require(
            PaymentGenerator(
                population: population, identities: identities, mix: mix, seed: seed, day: BusinessDay(20_000),
                sequence: 5))
    }

    @Test("an alias table draws with its weights")
    func alias() {
        let weights = [0.5, 0.25, 0.125, 0, 0.125]
        let table = AliasTable(weights: weights)
        var random = SeededRandom(seed: 3)
        var counts = [Int](repeating: 0, count: weights.count)
        for _ in 0..<200_000 { counts[table.draw(&random)] += 1 }
        #expect(counts[3] == 0)
        for (weight, count) in zip(weights, counts) { #expect(abs(Double(count) / 200_000 - weight) < 0.005) }
    }

    @Test("skew, kinds and amounts are DOMAIN's")
    func skew() throws {
        var generator = try Self.generator()
        let count = 400_000
        var instructing: [ParticipantID: Int] = [:]
        var bankDebits: [ParticipantID: Int] = [:]
        var credits: [ParticipantID: Int] = [:]
        var kinds: [InstructionKind: Int] = [:]
        var merchant: [UInt64] = []
        var sum = 0.0
        var banks = 0
        for n in 0..<count {
            _ = generator.next()
            let payment = generator.instruction
            #expect(payment.fault == nil && payment.amount > 0 && payment.id.sequence == UInt64(5 + n))
            #expect(payment.id.debtor != payment.creditor && payment.creditor != .none)
            instructing[payment.id.instructing, default: 0] += 1
            credits[payment.creditor, default: 0] += 1
            kinds[payment.kind!, default: 0] += 1
            sum += Double(payment.amount)
            if payment.kind == .payout {
                #expect(payment.id.debtor == payment.id.instructing)
            } else {
                bankDebits[payment.id.debtor, default: 0] += 1
                banks += 1
                merchant.append(payment.amount)
            }
        }
        let part = { (n: Int?, of: Int) in Double(n ?? 0) / Double(of) }
        #expect(abs(part(instructing[ParticipantID(1)], count) - 0.52) < 0.005)
        #expect(abs(part(instructing[ParticipantID(2)], count) - 0.40) < 0.005)
        #expect(abs(part(bankDebits[Self.population.banks[0].participant], banks) - 0.265) < 0.005)
        #expect(abs(part(kinds[.agreementDebit], count) - 60.0 / 89) < 0.005)
        #expect(abs(part(kinds[.payout], count) - 12.0 / 89) < 0.005)
        #expect(part((credits[ParticipantID(1)] ?? 0) + (credits[ParticipantID(2)] ?? 0), count) > 0.75)
        merchant.sort()
        #expect(abs(Double(merchant[merchant.count / 2]) - 2_500) < 60)
        #expect(abs(sum / Double(count) - 52_000) < 10_000)
    }

    @Test("only identities whose certificates are there are played")
    func identities() throws {
        var generator = try Self.generator([[ParticipantID(9)], [ParticipantID(3), ParticipantID(4)]])
        for _ in 0..<2_000 {
            guard case .payment(let identity) = generator.next() else { continue }
            let instructing = generator.instruction.id.instructing.rawValue
            #expect(instructing == 9 ? identity == 0 : identity == 1 && (3...4).contains(instructing))
        }
        #expect(
            PaymentGenerator(
                population: Self.population, identities: [[ParticipantID(500)]], mix: .transfers, seed: 1,
                day: BusinessDay(1), sequence: 0) == nil)
    }

    @Test("credits inside or across shards, over all creditors, differ in nothing else", arguments: [2, 3, 6, 12])
    func credits(shards: Int) throws {
        let slots = SlotMap(shardCount: shards, largest: Self.population.largest)
        let homes = Dictionary(grouping: Self.population.participants) { slots.home(of: $0.id) }
        var debtors: [LoadCredits: Set<ParticipantID>] = [:]
        for credits in [LoadCredits.inside, .across] {
            var generator = try #require(
                PaymentGenerator(
                    population: Self.population, identities: Self.everybody, mix: .transfers, credits: credits,
                    slots: slots, seed: 7, day: BusinessDay(20_000), sequence: 5))
            #expect(generator.canCredit)
            var creditors: Set<ParticipantID> = []
            for n in 0..<50_000 {
                _ = generator.next()
                let payment = generator.instruction
                let isInside = slots.route(payment.id) == slots.home(of: payment.creditor)
                #expect(isInside == (credits == .inside) && payment.creditor != payment.id.debtor)
                #expect(payment.fault == nil && payment.id.sequence == UInt64(5 + n))
                creditors.insert(payment.creditor)
                debtors[credits, default: []].insert(payment.id.debtor)
            }
            #expect(creditors.count > 2_900)
        }
        for debtors in debtors.values {
            #expect(debtors.allSatisfy { homes[slots.home(of: $0)]!.count > 1 })
            #expect(debtors.count > 1_000)
        }
    }

    @Test("where nothing can cross, nothing is drawn")
    func noCredits() throws {
        for (credits, possible) in [(LoadCredits.inside, true), (.across, false), (.mixed, true)] {
            let generator = try #require(
                PaymentGenerator(
                    population: Self.population, identities: Self.everybody, mix: .transfers, credits: credits,
                    slots: SlotMap(shardCount: 1), seed: 7, day: BusinessDay(20_000), sequence: 5))
            #expect(generator.canCredit == possible)
        }
    }

    @Test("the clearing mix has queries, duplicates and declines in proportion")
    func clearing() throws {
        var generator = try Self.generator(mix: .clearing)
        var (queries, duplicates, declines) = (0, 0, 0)
        var seen: Set<TransactionID> = []
        for _ in 0..<100_000 {
            switch generator.next() {
            case .query(let id, _):
                #expect(seen.contains(id))
                queries += 1
            case .payment:
                let payment = generator.instruction
                if !seen.insert(payment.id).inserted { duplicates += 1 }
                let unknown = payment.creditor.rawValue > UInt32(Limits.maximumParticipants)
                if payment.amount == 0 || payment.currency != Population.currency || unknown { declines += 1 }
            }
        }
        #expect((4_700...5_300).contains(queries))
        #expect((230...380).contains(duplicates))
        #expect((4_200...4_800).contains(declines))
    }

    @Test("plans are read from text")
    func plans() throws {
        let steps = try #require(LoadPlan("20000:30s,80000:2m", seconds: 10)).steps
        #expect(steps == [.init(rate: 20_000, seconds: 30), .init(rate: 80_000, seconds: 120)])
        #expect(LoadPlan("5000", seconds: 10)?.steps == [.init(rate: 5_000, seconds: 10)])
        for bad in ["", "x", "0", "10:", "10:5x", "10:0s", "10,,20", "-5", "10:5s:3"] {
            #expect(LoadPlan(bad, seconds: 10) == nil, "\(bad)")
        }
        #expect(LoadPlan.seconds("500ms") == 0.5 && LoadPlan.seconds("1h") == 3_600)
    }
}
