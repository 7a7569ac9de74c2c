import Glibc
import Simulation

/// Many seeds, some at a time in child processes; stops at nothing and tells everything at the end.
struct SimSweep {
    let command: SimCommand

    private struct Sum {
        var seeds: UInt64 = 0
        var simulated: UInt64 = 0
        var steps: UInt64 = 0
        var cpu: UInt64 = 0
        var unknown: [UInt64] = []
        /// The same, where more was broken than the system promises to survive.
        var unknownBeyond: [UInt64] = []
        var failed: [SimRun.Outcome] = []
        var coverage = SweepCoverage()

        mutating func add(_ outcome: SimRun.Outcome, isBeyondBudget: Bool) {
            seeds += 1
            simulated += outcome.simulated
            steps += outcome.steps
            cpu += outcome.cpuNanoseconds
            if outcome.violation != nil {
                failed.append(outcome)
            } else if outcome.isUnknown {
                if isBeyondBudget { unknownBeyond.append(outcome.seed) } else { unknown.append(outcome.seed) }
            }
            coverage.add(outcome.coverage)
        }

        var hours: Double { (Double(simulated) / 3.6e7).rounded() / 100 }
        /// Simulated time to processor time, over all workers.
        var speed: UInt64 { cpu == 0 ? 0 : UInt64(Double(simulated) * 1e3 / Double(cpu)) }
        var stepsPerSecond: UInt64 { cpu == 0 ? 0 : UInt64(Double(steps) * 1e9 / Double(cpu)) }
    }

    /// Few enough that the last process of a sweep does not run on alone for long.
    private static let worldsOfProcess: UInt64 = 8

    func run() -> Int32 {
        Interrupts.install()
        var sum = Sum()
        var next = command.from
        /// Seeds whose process was ended by one before them.
        var again: [UInt64] = []
        let end = command.forever ? UInt64.max : command.from &+ (command.count ?? 0)
        var running: [SimRun] = []
        var told = time(nil)
        while Interrupts.count == 0, next < end || !again.isEmpty || !running.isEmpty, !isOver(sum) {
            while next < end || !again.isEmpty, running.count < command.workers, Interrupts.count == 0 {
                var seeds = again
                again = []
                if seeds.isEmpty {
                    let share = (end - next - 1) / UInt64(command.workers) + 1
                    seeds = Array(next..<next + min(share, Self.worldsOfProcess))
                    next += UInt64(seeds.count)
                }
                guard let run = SimRun.start(seeds.map(command.parameters), omitting: []) else {
                    Console.note("suanpan: no process can be started for the simulation")
                    return ExitStatus.failed
                }
                running.append(run)
            }
            for (run, outcomes) in SimRun.ended(running, milliseconds: 500) {
                running.removeAll { $0.process == run.process }
                again += run.seeds.dropFirst(outcomes.count)
                for outcome in outcomes where !isOver(sum) {
                    let world = command.parameters(seed: outcome.seed)
                    sum.add(outcome, isBeyondBudget: world.isBeyondBudget)
                    if let violation = outcome.violation {
                        Console.note("seed \(outcome.seed): \(world.summary)")
                        let explained = SimRun.explained(violation, in: world, omitting: [])
                        Console.note(explained.report(command: repeating(outcome.seed)))
                    }
                }
            }
            if time(nil) >= told + 10 {
                told = time(nil)
                Console.note(
                    "\(sum.seeds) seeds, \(sum.hours) simulated hours, \(sum.speed) times real time, \(sum.failed.count) violations"
                )
            }
        }
        for run in running { run.kill() }
        return report(sum)
    }

    private func isOver(_ sum: Sum) -> Bool { command.stopAtFirst && !sum.failed.isEmpty }

    private func repeating(_ seed: UInt64) -> String { command.command(seed: seed, omitting: []) }

    private func report(_ sum: Sum) -> Int32 {
        Console.out(
            "\(sum.seeds) seeds, \(sum.hours) simulated hours, \(sum.speed) times real time on one core, "
                + "\(sum.stepsPerSecond) steps a second")
        Console.out("faults that struck   " + Self.list(sum.coverage.faults))
        Console.out("checks               " + Self.list(sum.coverage.checks))
        Console.out("sites reached        " + Self.list(sum.coverage.sites.filter { $0.count > 0 }))
        for line in sum.coverage.missed { Console.out(line) }
        for outcome in sum.failed {
            Console.out("VIOLATION seed \(outcome.seed): \(outcome.violation!.invariant)   \(repeating(outcome.seed))")
        }
        if !sum.unknownBeyond.isEmpty {
            Console.out("beyond the budget, and undecided   seeds " + Self.list(sum.unknownBeyond))
        }
        if !sum.unknown.isEmpty { Console.out("undecided            seeds " + Self.list(sum.unknown)) }
        if !sum.failed.isEmpty { return ExitStatus.failed }
        if Interrupts.count > 0, !command.forever { return ExitStatus.interrupted }
        if sum.coverage.isTooLittle(for: sum.seeds) {
            Console.out(
                "a sweep of this size checks every invariant, reaches every site and has every kind of fault: these seeds prove "
                    + "less than they should")
            return ExitStatus.failed
        }
        if !sum.unknown.isEmpty { return ExitStatus.unknown }
        Console.out("no violation")
        return ExitStatus.ok
    }

    private static func list(_ seeds: [UInt64]) -> String { seeds.map { "\($0)" }.joined(separator: ", ") }

    private static func list(_ rows: [(name: String, count: UInt64)]) -> String {
        rows.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
    }
}
