import CPlatform
import Glibc
import Simulation

/// Worlds in a child process, one after the other, and what they told.
///
/// Several share a process because memory that comes fresh from the system costs a world a fifth of its time.
struct SimRun {
    /// In the order in which they run.
    let seeds: [UInt64]
    private let forked: ForkedRun
    private let follow: Bool

    /// What a run came to, read from the child's lines.
    struct Outcome {
        struct Finding {
            var invariant: String
            var details: String
            /// What the process said that ended by itself.
            var trap: [String] = []
            /// The last events.
            var events: [String] = []
            /// The process trapped or hung: it could not tell what came before.
            var isOfProcess = false

            func report(command: String) -> String {
                var text = "VIOLATION \(invariant): \(details)\n\n"
                if !trap.isEmpty { text += "What the process said:\n\(Self.indented(trap))\n\n" }
                if !events.isEmpty { text += "The last events before it:\n\(Self.indented(events))\n\n" }
                return text + "To repeat it:\n  \(command)\n"
            }

            private static func indented(_ lines: [String]) -> String {
                lines.map { "  " + $0 }.joined(separator: "\n")
            }
        }

        var seed: UInt64
        var hash: String?
        var simulated: UInt64 = 0
        var steps: UInt64 = 0
        var cpuNanoseconds: UInt64 = 0
        var faultsStruck: UInt64 = 0
        var isUnknown = false
        var violation: Finding?
        var coverage = SweepCoverage()

        var simulatedSeconds: Double { Double(simulated) / 1e6 }
        var exitCode: Int32 {
            violation != nil ? ExitStatus.failed : isUnknown ? ExitStatus.unknown : ExitStatus.ok
        }
        var details: [String] {
            [
                "checked: " + coverage.checks.map { "\($0.name) \($0.count)" }.joined(separator: ", "),
                "faults that struck: " + coverage.faults.map { "\($0.name) \($0.count)" }.joined(separator: ", "),
                "sites reached: " + coverage.sites.map { "\($0.name) \($0.count)" }.joined(separator: ", "),
            ]
        }
    }

    /// Seconds of processor time after which one world counts as hung: a stopped process, or a busy machine, is none.
    private static let patience: UInt32 = 300
    private static let mark = "\u{1}"
    /// As many as a world keeps itself.
    private static let lastEvents = 50

    /// - Parameters:
    ///   - verbose: tells every event with a text as it comes.
    ///   - follow: passes on what the child says while it runs; otherwise the last events are kept.
    static func start(
        _ worlds: [WorldParameters], omitting omitted: [Int], verbose: Bool = false, follow: Bool = false
    ) -> SimRun? {
        let forked = ForkedRun(limit: patience) {
            suanpan_keep_large_allocations()
            suanpan_skip_exclusivity_checks()
            for parameters in worlds {
                suanpan_limit_processor_time(patience)
                Console.out("\(mark)seed \(parameters.seed)")
                let begun = suanpan_process_cpu_nanoseconds()
                let world = World(parameters: parameters, omitting: omitted)
                if verbose { world.watch { Console.note(follow ? $0 : "\(mark)event \($0)") } }
                let result = world.run()
                tell(result, cpu: suanpan_process_cpu_nanoseconds() - begun)
            }
            return 0
        }
        return forked.map { SimRun(seeds: worlds.map(\.seed), forked: $0, follow: follow) }
    }

    private static func tell(_ result: SimulationResult, cpu: UInt64) {
        var lines = [
            "hash \(String(result.hash, radix: 16))", "simulated \(result.simulated)", "steps \(result.steps)",
            "cpu \(cpu)", "struck \(result.faultsStruck)", "verdict \(result.verdict.rawValue)",
        ]
        lines += result.coverage.rows.map { "check \($0.invariant) \($0.checks)" }
        lines += result.sites.map { "site \($0.name) \($0.count)" }
        lines += result.faults.map { "fault \($0.name) \($0.count)" }
        if let violation = result.violation {
            lines.append("violation \(violation.invariant) \(violation.details) [\(violation.rule)]")
            lines += result.latest.map { "event \($0)" }
        }
        Console.out(lines.map { mark + $0 }.joined(separator: "\n"))
    }

    // MARK: In the parent

    /// What was found, with the last events before it. A process that trapped or hung told none: its world runs once more and
    /// tells them as they come.
    static func explained(
        _ finding: Outcome.Finding, in world: WorldParameters, omitting omitted: [Int]
    ) -> Outcome.Finding {
        guard finding.isOfProcess, finding.events.isEmpty else { return finding }
        return start([world], omitting: omitted, verbose: true)?.finish().violation ?? finding
    }

    /// Waits for the run of one world, passing on what it prints meanwhile.
    func finish() -> Outcome {
        var shown = 0
        while true {
            let ended = ForkedRun.wait([forked], milliseconds: 200)
            if follow {
                let lines = forked.text.split(separator: "\n", omittingEmptySubsequences: true).dropLast(
                    ended.isEmpty ? 1 : 0)
                for line in lines.dropFirst(shown) where !line.hasPrefix(Self.mark) { Console.note(String(line)) }
                shown = max(shown, lines.count)
            }
            if let first = ended.first { return outcomes(first.end)[0] }
        }
    }

    /// Those of several runs that ended within `milliseconds`. A world that ended its process leaves those behind it
    /// without an outcome.
    static func ended(_ runs: [SimRun], milliseconds: Int32) -> [(run: SimRun, outcomes: [Outcome])] {
        ForkedRun.wait(runs.map(\.forked), milliseconds: milliseconds).compactMap { forked, end in
            runs.first { $0.forked === forked }.map { ($0, $0.outcomes(end)) }
        }
    }

    func kill() { forked.kill() }
    var process: pid_t { forked.process }

    private func outcomes(_ end: ForkedRun.End) -> [Outcome] {
        var texts: [[Substring]] = []
        for line in forked.text.split(separator: "\n") {
            if line.hasPrefix(Self.mark + "seed ") {
                texts.append([])
            } else if !texts.isEmpty {
                texts[texts.count - 1].append(line)
            }
        }
        if texts.isEmpty { texts = [[]] }
        return texts.enumerated().map { place, lines in
            // All but the last one came to their ends.
            outcome(of: seeds[place], lines, place + 1 < texts.count ? .exited(0) : end)
        }
    }

    private func outcome(of seed: UInt64, _ lines: [Substring], _ end: ForkedRun.End) -> Outcome {
        var outcome = Outcome(seed: seed)
        var other: [String] = []
        var events: [String] = []
        for line in lines {
            guard line.hasPrefix(Self.mark) else {
                other.append(String(line))
                continue
            }
            let words = line.dropFirst(Self.mark.count).split(separator: " ", maxSplits: 2).map(String.init)
            guard words.count >= 2 else { continue }
            let number = UInt64(words[words.count - 1]) ?? 0
            switch words[0] {
            case "hash": outcome.hash = words[1]
            case "simulated": outcome.simulated = number
            case "steps": outcome.steps = number
            case "cpu": outcome.cpuNanoseconds = number
            case "struck": outcome.faultsStruck = number
            case "verdict": outcome.isUnknown = words[1] == Verdict.unknown.rawValue
            case "check": outcome.coverage.checks.append((words[1], number))
            case "site": outcome.coverage.sites.append((words[1], number))
            case "fault": outcome.coverage.faults.append((words[1], number))
            case "violation":
                outcome.violation = .init(invariant: words[1], details: words.count > 2 ? words[2] : "")
                events = []
            case "event": events.append(words.dropFirst().joined(separator: " "))
            default: break
            }
        }
        switch end {
        case .exited(0) where outcome.hash != nil: break
        case .signalled(SIGPROF):
            outcome.violation = .init(
                invariant: "Progress", details: "still running after \(Self.patience) s of processor time",
                isOfProcess: true)
        case .exited(let code):
            outcome.violation = .init(
                invariant: "NoTrap", details: "the process ended with \(code)", trap: other.suffix(Self.lastEvents),
                isOfProcess: true)
        case .signalled(let number):
            // What the runtime says about a trap, without registers and images.
            let frames = other.filter { $0.contains(" in ") && $0.contains(".swift:") || $0.contains("rror") }
            outcome.violation = .init(
                invariant: "NoTrap", details: "the process trapped (signal \(number)): a precondition does not hold",
                trap: frames.isEmpty ? other.suffix(Self.lastEvents) : Array(frames.prefix(30)), isOfProcess: true)
        }
        outcome.violation?.events = events.suffix(Self.lastEvents)
        return outcome
    }
}
