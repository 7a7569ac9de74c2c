import Testing

/// A bug put in on purpose, and the seed at which a sweep from 1 finds it (docs/SIMULATION.md, "A test of the tests").
struct KnownBug: Sendable, CustomTestStringConvertible {
    var mutation: String
    var seed: UInt64
    var testDescription: String { mutation }
}

@Suite("The simulator finds a known bug")
struct MutationTests {
    /// How many seeds it may take.
    private static let bound: UInt64 = 2_000

    static let bugs = [
        KnownBug(mutation: "skipLogMatching", seed: 10),
        KnownBug(mutation: "acknowledgeBeforeSync", seed: 1),
        KnownBug(mutation: "dropCreditCursor", seed: 2),
        KnownBug(mutation: "trimUncommitted", seed: 2),
        KnownBug(mutation: "forgetVote", seed: 1),
        KnownBug(mutation: "repairTruncates", seed: 394),
        KnownBug(mutation: "cutBelowSynced", seed: 1),
        KnownBug(mutation: "applyUncommitted", seed: 1),
        KnownBug(mutation: "changeMembershipEarly", seed: 59),
        KnownBug(mutation: "keepIncarnation", seed: 6),
    ]

    /// A change of the world moves the seed: the search begins at the one written down, which saves time, and goes on from there.
    @Test("that is put in, and nothing in the same world without it", arguments: bugs)
    func finds(_ bug: KnownBug) throws {
        let simulator = try Simulator()
        let sweep = try simulator.run([
            "--mutation", bug.mutation, "--from", "\(bug.seed)", "--count", "\(Self.bound)", "--stop-at-first",
            "--workers", "1",
        ])
        let found = try #require(sweep.violation, "no seed found \(bug.mutation): \(sweep.text.suffix(2_000))")
        #expect(sweep.status == 1)
        #expect(found.seed < bug.seed + Self.bound)
        let sound = try simulator.run(["--seed", "\(found.seed)"])
        #expect(sound.status != 1, "seed \(found.seed), without a mutation: \(sound.text)")
    }
}
