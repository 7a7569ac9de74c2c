import ClearingModel
import Simulation
import Testing

/// What broke others (FAULTS.md), each as a world with the faults that did it.
@Suite("What broke others does not break a simulated cluster:")
struct ScenarioTests {
    /// A fault at a second of the safety phase, of a node counted from 1.
    private struct Fault {
        var kind: FaultKind
        var at: Double
        var lasts: Double
        var node = 1
        var seed: UInt64 = 1
    }

    private func run(
        _ faults: [Fault], seed: UInt64 = 1, seconds: Int = 20, _ adjust: (inout WorldParameters) -> Void = { _ in }
    ) -> SimulationResult {
        var parameters = WorldParameters(seed: seed)
        parameters.seconds = seconds
        adjust(&parameters)
        let plan = faults.sorted { $0.at < $1.at }.enumerated().map { number, fault in
            PlannedFault(
                number: number, kind: fault.kind, at: UInt64(fault.at * 1e6), lasts: UInt64(fault.lasts * 1e6),
                node: fault.node - 1, seed: fault.seed)
        }
        return World(parameters: parameters, plan: plan).run()
    }

    private func expectValid(_ result: SimulationResult, _ location: SourceLocation = #_sourceLocation) {
        #expect(
            result.violation == nil,
            "\(result.violation.map { "\($0)" } ?? "")\n\(result.latest.joined(separator: "\n"))",
            sourceLocation: location)
        #expect(result.verdict == .valid && result.latencies.count > 500, sourceLocation: location)
    }

    private func checks(_ invariant: String, _ result: SimulationResult) -> UInt64 {
        result.coverage.rows.first { $0.invariant == invariant }?.checks ?? 0
    }

    @Test("a client that retries blindly pays once (jetcd, TiDB)")
    func blindRetry() {
        // Answers are lost with their connections, again and again.
        let faults = (0..<18).map { Fault(kind: .resetLinks, at: 1 + Double($0), lasts: 0.1, seed: UInt64($0)) }
        let result = run(faults)
        expectValid(result)
        #expect(checks("AcknowledgedOutcomes", result) > 500)
    }

    @Test("a paused leader that wakes serves no stale read (etcd)", arguments: [1, 2, 3])
    func pausedLeader(node: Int) {
        let result = run((0..<4).map { Fault(kind: .pause, at: 2 + 4 * Double($0), lasts: 1.5, node: node) })
        expectValid(result)
        #expect(checks("RealTimeOrder", result) > 500)
    }

    @Test("a crash at saturation leaves index and ledger alike (etcd 13766)")
    func crashAtSaturation() {
        let faults =
            [Fault(kind: .burst, at: 1, lasts: 18)]
            + (0..<6).map {
                Fault(kind: .crashPoint, at: 2 + 2.5 * Double($0), lasts: 0.3, node: 1 + $0 % 3, seed: UInt64($0))
            }
        let result = run(faults) { $0.rate = 800 }
        expectValid(result)
        #expect(checks("EqualStates", result) > 100)
    }

    @Test("no vote of a non-voter counts in a partition during a membership change (YugabyteDB)", arguments: 1...4)
    func votesDuringChange(seed: UInt64) {
        let result = run(
            [
                Fault(kind: .wipe, at: 2, lasts: 0.5, seed: seed), Fault(kind: .hunt, at: 2.5, lasts: 8, seed: seed),
                Fault(kind: .split, at: 11, lasts: 1, seed: seed),
            ], seed: seed)
        expectValid(result)
        #expect(result.sites.contains { $0.name == "replicaReplaced" && $0.count > 0 })
    }

    @Test("a power cut of all nodes loses nothing that was acknowledged (NATS)")
    func powerCut() {
        let result = run((0..<4).map { Fault(kind: .powerCutAll, at: 3 + 4 * Double($0), lasts: 0.3) })
        expectValid(result)
        #expect(checks("CommittedOnMajority", result) > 500)
    }

    @Test("one flipped bit on one of five nodes costs nothing (NATS)", arguments: 1...3)
    func flippedBit(seed: UInt64) {
        let result = run(
            (0..<4).map { Fault(kind: .damage, at: 6 + 3 * Double($0), lasts: 0.3, seed: seed + 10 * UInt64($0)) },
            seed: seed
        ) {
            $0.nodes = 5
            $0.replicas = 5
        }
        expectValid(result)
        #expect(result.faults.contains { $0.name == "damage" && $0.count > 0 })
    }

    @Test("one slow node slows nobody else for the whole fault, and no client waits for ever (TigerBeetle)")
    func slowNode() {
        let result = run([
            Fault(kind: .slowDisk, at: 1, lasts: 18, node: 2), Fault(kind: .slowNode, at: 1, lasts: 18, node: 2),
        ])
        expectValid(result)
        let middle = result.latencies[result.latencies.count / 2]
        #expect(middle < 100_000, "half of all decisions took \(middle) µs or more")
    }

    @Test("a node that lost its disk is refused its old place and does not stop (dragonboat)")
    func lostDisk() {
        let result = run([Fault(kind: .wipe, at: 3, lasts: 0.2), Fault(kind: .powerCutAll, at: 9, lasts: 0.2)])
        expectValid(result)
        #expect(result.sites.contains { $0.name == "replicaReplaced" && $0.count > 0 })
    }

    @Test("a leader behind a stalled disk steps down (etcd 13527)", arguments: [1, 2, 3])
    func stalledDisk(node: Int) {
        let result = run([Fault(kind: .diskStall, at: 5, lasts: 8, node: node, seed: 2)])
        expectValid(result)
        #expect(result.latencies.count { $0 > 6_000_000 } < result.latencies.count / 20)
    }

    @Test("two replicas that both need a snapshot get theirs (etcd 18055)")
    func twoSnapshots() {
        let result = run(
            [
                Fault(kind: .isolate, at: 1, lasts: 12, node: 4), Fault(kind: .isolate, at: 1, lasts: 12, node: 5),
                Fault(kind: .days, at: 4, lasts: 0.1, seed: 3), Fault(kind: .days, at: 6, lasts: 0.1, seed: 5),
            ], seconds: 30
        ) {
            $0.nodes = 5
            $0.replicas = 5
        }
        expectValid(result)
    }

    @Test("what was voided stays so when the delayed first request arrives (any switch without a final void)")
    func delayedRequest() {
        // Clients give up behind slow links and have their ids voided while the payments are still on their way.
        let faults = (1...3).flatMap { node in
            (0..<3).map {
                Fault(kind: .slowLink, at: 1 + 6 * Double($0), lasts: 5, node: node, seed: UInt64(node * 7 + $0))
            }
        }
        let result = run(faults)
        expectValid(result)
    }

    @Test("a repaired hole of several terms is as the peers have it, not as recovery guessed (seed 735)")
    func guessedTerms() {
        // Raft went on with guessed terms and took a committed entry for another one.
        let omitted = [0, 1, 2, 3, 4, 5, 7, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21]
        let result = World(parameters: .drawn(seed: 735), omitting: omitted).run()
        #expect(result.violation == nil, "\(result.violation.map { "\($0)" } ?? "")")
    }
}
