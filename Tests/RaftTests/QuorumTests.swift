import ClearingModel
import Raft
import Testing

/// The dumb model: sort, count, enumerate.
private enum Model {
    static func reached(_ values: [Int]) -> Int? {
        guard !values.isEmpty else { return nil }
        return values.sorted(by: >)[values.count / 2]
    }

    static func outcome(_ votes: [Bool?]) -> Quorum.Outcome {
        let needed = votes.count / 2 + 1
        let open = votes.filter { $0 == nil }.count
        // Every way in which the open votes may still come out.
        let wins = (0...open).map { votes.filter { $0 == true }.count + $0 >= needed }
        return wins.allSatisfy { $0 } ? .won : wins.contains(true) ? .undecided : .lost
    }
}

@Suite("Quorum")
struct QuorumTests {
    @Test("what a majority has reached, against sorting")
    func reached() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<20_000 {
            let values = (0..<random.below(8)).map { _ in Int(random.below(6)) }
            let voters = (0..<UInt32(values.count)).map { replica($0) }
            #expect(Quorum.reached(by: voters) { values[Int($0.node.rawValue)] } == Model.reached(values))
        }
    }

    @Test("every vote of up to seven voters, against enumeration")
    func outcomes() {
        for count in 0...7 {
            let voters = (0..<UInt32(count)).map { replica($0) }
            for code in 0..<Int((0..<count).reduce(1) { product, _ in product * 3 }) {
                var rest = code
                let votes = voters.map { _ -> Bool? in
                    defer { rest /= 3 }
                    return [nil, true, false][rest % 3]
                }
                #expect(Quorum.outcome(of: voters) { votes[Int($0.node.rawValue)] } == Model.outcome(votes))
            }
        }
    }

    @Test("any two majorities of a membership and of its successor meet")
    func successiveQuorumsMeet() {
        for count in 1...6 as ClosedRange<UInt32> {
            let voters = (0..<count).map { replica($0) }
            for after in [voters + [replica(count)], Array(voters.dropLast())] where !after.isEmpty {
                #expect(
                    Membership(voters: voters).quorum + Membership(voters: after).quorum
                        > max(voters.count, after.count))
            }
        }
    }
}
