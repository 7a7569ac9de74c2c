import ClearingModel
import Simulation
import Testing

/// What broke others (FAULTS.md), each as a world with the faults that did it.
///
/// Besides that no invariant is violated each asserts, by the world's own lines, that what broke others did happen.
/// `Site`s are no proof here: they are counted per process, over all tests.
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
    ) -> Story {
        var parameters = WorldParameters(seed: seed)
        parameters.seconds = seconds
        adjust(&parameters)
        let plan = faults.sorted { $0.at < $1.at }.enumerated().map { number, fault in
            PlannedFault(
                number: number, kind: fault.kind, at: UInt64(fault.at * 1e6), lasts: UInt64(fault.lasts * 1e6),
                node: fault.node - 1, seed: fault.seed)
        }
        return Story(World(parameters: parameters, plan: plan))
    }

    private func expectValid(_ story: Story, _ location: SourceLocation = #_sourceLocation) {
        let result = story.result
        #expect(
            result.violation == nil,
            "\(result.violation.map { "\($0)" } ?? "")\n\(result.latest.joined(separator: "\n"))",
            sourceLocation: location)
        #expect(result.verdict == .valid && result.latencies.count > 500, sourceLocation: location)
    }

    private func checks(_ invariant: String, _ story: Story) -> UInt64 {
        story.result.coverage.rows.first { $0.invariant == invariant }?.checks ?? 0
    }

    /// All disks are slow: 5, 20 or 100 times, which is draw 0, 1 or 2.
    private func slowDisks(draw: UInt64) -> [Fault] {
        let seed = SeededRandom.seeds(1) { $0.below(3) == draw }[0]
        return (1...3).map { Fault(kind: .slowDisk, at: 1, lasts: 18, node: $0, seed: seed) }
    }

    /// When faults of a kind began.
    private func times(_ kind: FaultKind, _ story: Story) -> [(at: UInt64, node: Int)] {
        story.lines.filter { $0.text.hasPrefix("#") && $0.text.contains(" \(kind.rawValue) of ") }
            .map { ($0.at, $0.node) }
    }

    @Test("a client that retries blindly pays once (jetcd, TiDB)")
    func blindRetry() {
        // Answers are lost with their connections, again and again, while many are due.
        let faults =
            (0..<18).map { Fault(kind: .resetLinks, at: 1 + Double($0), lasts: 0.1, seed: UInt64($0)) }
            + [Fault(kind: .burst, at: 1, lasts: 18)] + slowDisks(draw: 1)
        let story = run(faults)
        expectValid(story)
        #expect(checks("AcknowledgedOutcomes", story) > 500)
        // Of what callers wanted once only, the client asked for something twice: it was decided, and the answer lost.
        let wishes = Dictionary(grouping: story.heard.filter { !$0.isQuery }, by: \.id)
        let repeated = wishes.values.filter { $0.count == 1 && $0[0].decision?.answer == .duplicate }
        #expect(repeated.count >= 5)
    }

    @Test("a paused leader that wakes serves no stale read (etcd)", arguments: [1, 2, 3])
    func pausedLeader(node: Int) {
        // One after the other: each leads what it had taken over from the one before.
        let story = run(
            (0..<4).map { Fault(kind: .pause, at: 2 + 4 * Double($0), lasts: 1.5, node: 1 + (node - 1 + $0) % 3) })
        expectValid(story)
        #expect(checks("RealTimeOrder", story) > 500)
        var queries = 0
        for (at, node) in times(.pause, story) {
            let woken = at + 1_500_000
            let led = story.led(by: node, at: at)
            let taken = story.lines("leader ").filter { $0.node != node && (at...woken).contains($0.at) }
            #expect(!led.isEmpty && led.allSatisfy { shard in taken.contains { $0.shard == shard } })
            #expect(story.led(by: node, at: woken + 100_000).allSatisfy { !led.contains($0) })
            // Clients had asked it; it does not answer for a leader any more.
            let (before, after) = (
                story.refused(by: node, before: at), story.refused(by: node, before: woken + 2_000_000)
            )
            #expect(after > before)
            queries += story.heard.count {
                $0.isQuery && (at..<woken).contains($0.sentAt) && led.contains(story.shard(of: $0))
            }
        }
        #expect(queries > 0)
    }

    @Test("a crash at saturation leaves index and ledger alike (etcd 13766)")
    func crashAtSaturation() {
        // Disks a hundred times as slow: clients have under way whatever they may.
        let faults =
            [Fault(kind: .burst, at: 1, lasts: 18)] + slowDisks(draw: 2)
            + (0..<6).map {
                Fault(kind: .crashPoint, at: 2 + 2.5 * Double($0), lasts: 0.3, node: 1 + $0 % 3, seed: UInt64($0))
            }
        let story = run(faults) { $0.rate = 800 }
        expectValid(story)
        #expect(checks("EqualStates", story) > 100)
        let crashes = story.lines("crash at ")
        #expect(crashes.count { story.underWay(at: $0.at) > 300 } >= 4, "of the 400 that may be")
    }

    @Test("no vote of a non-voter counts in a partition during a membership change (YugabyteDB)", arguments: 1...4)
    func votesDuringChange(seed: UInt64) {
        let story = run(
            [
                Fault(kind: .wipe, at: 2, lasts: 0.5, seed: seed), Fault(kind: .hunt, at: 2.5, lasts: 8, seed: seed),
                Fault(kind: .split, at: 11, lasts: 1, seed: seed),
            ], seed: seed)
        expectValid(story)
        let replaced = story.lines("replica replaced ")
        #expect(replaced.count == 5, "one a shard, and the directory's")
        // Elections between the step that takes the old replica out and the one that lets the new one vote.
        let elections = story.lines("leader ").filter { election in
            guard let begun = story.lines("membership ").first(where: { $0.shard == election.shard }),
                let ended = replaced.first(where: { $0.shard == election.shard })
            else { return false }
            return (begun.at...ended.at).contains(election.at)
        }
        #expect(!elections.isEmpty && checks("ElectedByMajority", story) > 0)
    }

    @Test("a power cut of all nodes loses nothing that was acknowledged (NATS)")
    func powerCut() {
        let story = run((0..<4).map { Fault(kind: .powerCutAll, at: 3 + 4 * Double($0), lasts: 0.3) })
        expectValid(story)
        #expect(checks("CommittedOnMajority", story) > 500)
        #expect(story.lines("power cut").count >= 12)
    }

    @Test("flipped bits on one of five nodes at a time cost nothing (NATS)")
    func flippedBit() {
        // Bit rot, on another node only when nothing is left of it, now and then in the newest segment, which a start has to read.
        let rot = SeededRandom.seeds(24) { random in
            let isFirst = [true, false].randomElement(using: &random) == true
            let isBitRot = random.below(4) == 0
            _ = random.below(3)
            return isFirst && isBitRot && random.below(4) == 1
        }
        var (found, repaired, whole) = (0, 0, UInt64(0))
        for world in 0..<4 {
            let faults = (0..<6).map {
                Fault(kind: .damage, at: 5 + 2.5 * Double($0), lasts: 0.3, seed: rot[6 * world + $0])
            }
            let story = run(faults, seed: UInt64(world + 1)) {
                $0.nodes = 5
                $0.replicas = 5
            }
            expectValid(story)
            let flips = story.lines("bitRot in ")
            #expect(!flips.isEmpty)
            #expect(["stalePage", "misdirectedWrite", "unreadable"].allSatisfy { story.lines($0 + " in ").isEmpty })
            let nodes = Set(flips.map(\.node))
            found += story.lines("damaged records ").filter { nodes.contains($0.node) }.count
            // What the log still needs comes back from a peer.
            repaired += story.lines("entries repaired ").filter { nodes.contains($0.node) }.count
            whole += checks("WholeAgain", story)
        }
        #expect(found >= 5 && repaired >= 3 && whole > 0)
    }

    @Test("one slow node slows nobody else for the whole fault, and no client waits for ever (TigerBeetle)")
    func slowNode() {
        let slow = run([
            Fault(kind: .slowDisk, at: 1, lasts: 18, node: 2), Fault(kind: .slowNode, at: 1, lasts: 18, node: 2),
        ])
        let healthy = run([])
        expectValid(slow)
        expectValid(healthy)
        #expect(times(.slowNode, slow).count == 1 && times(.slowDisk, slow).count == 1)
        let begun = times(.slowNode, slow).first?.at ?? 0
        // Shards that others lead all the time, while it is slow.
        let its = slow.lines("leader ", node: 2).compactMap(\.shard)
        func latencies(_ story: Story) -> [UInt64] {
            story.heard.filter {
                (begun..<begun + 18_000_000).contains($0.sentAt) && !its.contains(story.shard(of: $0))
                    && ($0.isQuery || $0.decision != nil)
            }.map(\.took).sorted()
        }
        let (with, without) = (latencies(slow), latencies(healthy))
        #expect(with.count > 500 && without.count > 500)
        #expect(with[with.count / 2] < 2 * without[without.count / 2])
        // A majority without it has no slack: the slower of two disks counts, and the stall of a lost packet is 200 ms.
        #expect(with[with.count * 99 / 100] < 4 * without[without.count * 99 / 100])
        #expect(with.last ?? 0 < 300_000)
        // Whatever was wanted has ended, also of its own shards.
        #expect(slow.heard.allSatisfy { $0.took < 6_000_000 || $0.isEarly })
    }

    /// That a process with the old incarnation is refused is shown with real ones: `aLostDiskComesBackAsANewReplica`.
    @Test("a node that lost its disk comes back as a new replica, and does not stop (dragonboat)")
    func lostDisk() {
        let story = run([Fault(kind: .wipe, at: 3, lasts: 0.2), Fault(kind: .powerCutAll, at: 9, lasts: 0.2)])
        expectValid(story)
        let node = story.lines("wiped").first?.node ?? 0
        let old = "\(node).1"
        let (replaced, members) = (story.lines("replica replaced "), story.lines("membership "))
        #expect(replaced.count == 5 && replaced.allSatisfy { $0["replica"] == "\(node).2" })
        // From the first step on the old replica is a member of nothing.
        #expect(!members.isEmpty && members.allSatisfy { !$0.text.contains(old) })
        #expect(story.lines("replica halted ").isEmpty)
        // It came back empty, and again after the power cut with what it has now.
        #expect(story.lines("recovered ", node: node).map { $0["replica"] } == [old[...], "\(node).2", "\(node).2"])
    }

    @Test("a leader behind a stalled disk steps down (etcd 13527)", arguments: [1, 2, 3])
    func stalledDisk(node: Int) {
        let story = run([Fault(kind: .diskStall, at: 5, lasts: 8, node: node, seed: 2)])
        expectValid(story)
        let begun = times(.diskStall, story).first?.at ?? 0
        let led = story.led(by: node, at: begun)
        // It hands over after half a second, and steps down after one at the latest.
        let lost = story.lines("leadership lost ", node: node).filter { (begun...begun + 1_200_000).contains($0.at) }
        #expect(!led.isEmpty && Set(lost.map(\.shard)) == Set(led))
        let taken = story.lines("leader ").filter { (begun...begun + 2_000_000).contains($0.at) && $0.node != node }
        #expect(led.allSatisfy { shard in taken.contains { $0.shard == shard } })
        #expect(story.led(by: node, at: begun + 8_000_000).isEmpty)
        // All tries, also those that nobody answered.
        let waits = story.heard.filter { !$0.isEarly }.map(\.took)
        #expect(waits.allSatisfy { $0 < 2_000_000 })
    }

    @Test("two replicas that both need a snapshot get theirs (etcd 18055)")
    func twoSnapshots() {
        // Two are away for longer than their log is kept for them, and days pass, and the log with them.
        let away = [4, 5].map { Fault(kind: .isolate, at: 1, lasts: 36, node: $0, seed: 1) }
        let days = (0..<8).map { Fault(kind: .days, at: 3 + 4 * Double($0), lasts: 0.1, seed: UInt64($0)) }
        let story = run(away + days, seconds: 45) {
            $0.nodes = 5
            $0.replicas = 5
        }
        expectValid(story)
        let (begun, installed) = (story.lines("snapshot begins "), story.lines("snapshot in force "))
        #expect(Set(installed.map(\.node)) == [4, 5])
        // Both were on their way at one time.
        let transfers = installed.compactMap { end in
            begun.last { $0.shard == end.shard && $0["replica"] == "\(end.node).1" && $0.at < end.at }
                .map { (node: end.node, from: $0.at, to: end.at) }
        }
        #expect(transfers.count == installed.count)
        let overlap = transfers.contains { one in
            transfers.contains { $0.node != one.node && $0.from < one.to && one.from < $0.to }
        }
        #expect(overlap)
    }

    @Test("what was voided stays so when the delayed first request arrives (any switch without a final void)")
    func delayedRequest() {
        // Between the first client and one node after the other nothing gets through for a while: its payments wait on
        // their way, and meanwhile the other client has some of them voided.
        let firstClient: UInt64 = 3
        let pair = SeededRandom.seeds(1) { $0.below(6) == firstClient && $0.below(3) != 0 }[0]
        let story = run(
            (0..<9).map { Fault(kind: .pair, at: 1 + 2 * Double($0), lasts: 1.5, node: 1 + $0 % 3, seed: pair) }
        ) {
            $0.rate = 800
        }
        expectValid(story)
        var voided: [TransactionID: UInt64] = [:]
        for one in story.heard where one.isVoid && one.decision?.outcome == .voided {
            voided[one.id] = voided[one.id] ?? one.at
        }
        let late = story.heard.filter { one in
            !one.isQuery && !one.isVoid && voided[one.id].map { one.sentAt < $0 && $0 < one.at } ?? false
        }
        #expect(late.count >= 5)
        // Each first request is told of the void, as a duplicate or as another body under the id; none is decided.
        #expect(late.allSatisfy { $0.decision.map { $0.answer == .duplicate && $0.outcome == .voided } ?? true })
        #expect(late.contains { $0.decision != nil && $0.took > 500_000 })
    }

    @Test("a damaged entry that no peer has any more is passed by a leader's state (seed 3483)")
    func holeThatNobodyFills() {
        let story = Story(World(parameters: .drawn(seed: 3483)))
        #expect(story.result.violation == nil, "\(story.result.violation.map { "\($0)" } ?? "")")
        // Apply stood in front of it, on a replica whose checkpoint was damaged too.
        let holes = story.lines("committed entry unreadable ")
        let states = story.lines("snapshot in force ")
        #expect(!holes.isEmpty)
        #expect(holes.contains { hole in states.contains { $0.node == hole.node && $0.shard == hole.shard } })
    }
}
