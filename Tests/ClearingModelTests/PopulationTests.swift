import ClearingModel
import Testing

@Suite("A generated population")
struct PopulationTests {
    @Test("the shares are DOMAIN's", arguments: [Population.minimumCount, 100, 3_000, 20_000])
    func shares(count: Int) {
        let population = Population.generate(count: count, seed: 7)
        #expect(population.participants.map(\.id.rawValue) == (1...UInt32(count)).map { $0 })
        #expect(abs(population.banks.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        #expect(abs(population.instructing.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        #expect(population.mandates.count == 16)
        for (a, b) in zip(population.banks, population.banks.dropFirst()) { #expect(a.share >= b.share) }
        if count >= 3_000 {
            #expect(abs(population.banks[0].share - 0.265) < 1e-9)
            #expect(abs(population.instructing[1].share - 0.40) < 1e-9)
        }
        #expect(population == Population.generate(count: count, seed: 7))
    }

    @Test("the largest fit a slot map, and no shard carries much more than the largest bank")
    func slotMap() {
        let population = Population.generate()
        let largest = population.largest
        #expect(largest.first?.participant == population.banks[0].participant)
        #expect(largest.count >= 9 && largest.count < 20)
        let map = SlotMap(shardCount: 6, largest: largest)
        var load = [Double](repeating: 0, count: 7)
        for bank in population.banks {
            load[Int(map.home(of: bank.participant).rawValue)] += bank.share * (1 - Population.payoutShare)
        }
        for one in population.instructing {
            load[Int(map.home(of: one.participant).rawValue)] += one.share * Population.payoutShare
        }
        #expect(load.dropFirst().max()! < 0.25)
    }

    @Test("limits last")
    func limits() {
        for participant in Population.generate().participants {
            #expect(participant.limit >= 10 * Limits.maximumAmount)
            #expect(participant.limit <= Limits.maximumParticipantLimit)
        }
    }
}
