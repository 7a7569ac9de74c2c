import Testing

/// A bug put in on purpose, and the seed at which a sweep from 1 finds it (docs/SIMULATION.md, "A test of the tests").
struct KnownBug: Sendable, CustomTestStringConvertible {
    var mutation: String
    var seed: UInt64
    /// The invariants that it breaks first, of which the one in the document comes first; never a trap or a world that hangs.
    var foundBy: [String]
    var testDescription: String { mutation }
}

@Suite("The simulator finds a known bug")
struct MutationTests {
    /// How many seeds it may take, from the first.
    private static let bound: UInt64 = 2_000

    static let bugs = [
        KnownBug(mutation: "skipLogMatching", seed: 50, foundBy: ["CommittedNeverChanges"]),
        KnownBug(mutation: "acknowledgeBeforeSync", seed: 1, foundBy: ["CommittedOnMajority"]),
        KnownBug(mutation: "dropCreditCursor", seed: 2, foundBy: ["EqualStates"]),
        KnownBug(mutation: "trimUncommitted", seed: 2, foundBy: ["LedgerModel"]),
        KnownBug(mutation: "forgetVote", seed: 1, foundBy: ["VoteOnce"]),
        KnownBug(mutation: "repairTruncates", seed: 394, foundBy: ["Liveness", "LeaderCompleteness"]),
        KnownBug(mutation: "cutBelowSynced", seed: 1, foundBy: ["NothingGoesBack", "DurableRecords"]),
        KnownBug(mutation: "applyUncommitted", seed: 1, foundBy: ["CommittedOnMajority"]),
        KnownBug(mutation: "changeMembershipEarly", seed: 26, foundBy: ["MembershipAfterCommit"]),
        KnownBug(mutation: "keepIncarnation", seed: 6, foundBy: ["DurableRecords"]),
    ]

    /// A change of the world moves the seed: the search begins at the one written down, which saves time, and goes on from there.
    @Test("that is put in, and nothing in the same world without it", arguments: bugs)
    func finds(_ bug: KnownBug) throws {
        let simulator = try Simulator()
        let sweep = try simulator.run([
            "--mutation", bug.mutation, "--from", "\(bug.seed)", "--count", "\(Self.bound - bug.seed + 1)",
            "--stop-at-first", "--workers", "1",
        ])
        let found = try #require(sweep.violation, "no seed found \(bug.mutation): \(sweep.text.suffix(2_000))")
        #expect(sweep.status == 1)
        #expect(found.seed <= Self.bound)
        #expect(bug.foundBy.contains(found.invariant), "\(found.invariant) in seed \(found.seed)")
        let sound = try simulator.run(["--seed", "\(found.seed)"])
        // Beyond the budget something may stay undecided.
        let mayBeUndecided = sound.text.contains("beyond the budget")
        #expect(
            sound.status == 0 || sound.status == 2 && mayBeUndecided,
            "seed \(found.seed), without a mutation: \(sound.text)")
    }
}
