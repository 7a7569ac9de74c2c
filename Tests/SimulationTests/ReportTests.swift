import Simulation
import Testing

@Suite("A simulation that fails")
struct ReportTests {
    /// The first seed that finds a bug put in on purpose, and what `sim` says of it.
    private func failure(
        _ mutation: String, from seed: UInt64
    ) throws -> (seed: UInt64, invariant: String, text: String) {
        let sweep = try Simulator().run([
            "--mutation", mutation, "--from", "\(seed)", "--count", "500", "--stop-at-first", "--workers", "1",
        ])
        let found = try #require(sweep.violation, "no seed found \(mutation)")
        return (found.seed, found.invariant, sweep.text)
    }

    private func expectReport(_ text: String, seed: UInt64, invariant: String, command: String) {
        #expect(text.contains("seed \(seed): nodes "))
        #expect(text.contains("VIOLATION \(invariant): "))
        #expect(text.contains("\nTo repeat it:\n  \(command)\n"))
        let events = text.split(separator: "\n").drop { $0 != "The last events before it:" }.dropFirst()
            .prefix { $0.hasPrefix("  ") }
        #expect(events.count == 50)
        #expect(events.allSatisfy { $0.contains(" node ") })
    }

    @Test("says which rule, with which parameters, after which events, and how to repeat it; in a sweep too")
    func report() throws {
        let found = try failure("acknowledgeBeforeSync", from: 1)
        let command = "suanpan sim --seed \(found.seed) --mutation acknowledgeBeforeSync"
        expectReport(found.text, seed: found.seed, invariant: found.invariant, command: command)
        let alone = try Simulator().run(["--seed", "\(found.seed)", "--mutation", "acknowledgeBeforeSync"])
        #expect(alone.status == 1)
        expectReport(alone.text, seed: found.seed, invariant: found.invariant, command: command)
        // The rule stands behind what contradicts it.
        #expect(alone.text.contains("\(found.invariant): ") && alone.text.contains(" [") && alone.text.contains("]\n"))
    }

    @Test("is shrunk: faults are left out, and what is left fails in the same way")
    func shrink() throws {
        // A vote is forgotten in a restart: some fault has to stay.
        let found = try failure("forgetVote", from: 1)
        let seed = ["--seed", "\(found.seed)", "--mutation", "forgetVote"]
        let shrunk = try Simulator().run(seed + ["--shrink"])
        #expect(shrunk.status == 1)
        let lines = shrunk.text.split(separator: "\n")
        let needed = lines.count { $0.hasPrefix("needed: #") }
        let first = lines.first { $0.hasPrefix("\(found.invariant) with ") }
        let before = first.flatMap { Int($0.split(separator: " ")[2]) }
        #expect(needed > 0 && needed < before ?? 0, "\(shrunk.text)")
        let command = try #require(lines.last?.split(separator: " ").map(String.init))
        let without = try #require(command.firstIndex(of: "--without"))
        expectReport(
            shrunk.text, seed: found.seed, invariant: found.invariant, command: command.joined(separator: " "))
        let again = try Simulator().run(seed + ["--without", command[without + 1]])
        #expect(again.text.contains("VIOLATION \(found.invariant): "), "\(again.text)")
    }

    @Test("is a large sweep that left out an invariant, a site or a kind of fault, and a small one is not")
    func coverage() {
        var world = SweepCoverage()
        world.checks = [("VoteOnce", 3), ("LogMatching", 0)]
        world.sites = [("tornTailCut", 0), ("voteInDoubt", 1)]
        world.faults = [("kill", 1), ("wipe", 0)]
        var sum = SweepCoverage()
        sum.add(world)
        #expect(sum.missed.count == 3)
        #expect(!sum.isTooLittle(for: SweepCoverage.completeFrom - 1))
        // One after the other is met: it is enough with the last.
        for list in [\SweepCoverage.checks, \.sites, \.faults] {
            #expect(sum.isTooLittle(for: SweepCoverage.completeFrom))
            var more = SweepCoverage()
            more[keyPath: list] = sum[keyPath: list].filter { $0.count == 0 }.map { ($0.name, 1) }
            sum.add(more)
        }
        #expect(sum.missed.isEmpty && !sum.isTooLittle(for: SweepCoverage.completeFrom))
        #expect(sum.checks.map(\.count) == [3, 1])
    }
}
