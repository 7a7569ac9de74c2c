import ArgumentParser
import ClearingModel
import Glibc
import Simulation

/// `sim`: one seed's world, or a sweep over many.
struct SimCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sim",
        abstract: "Run the real engine, log, ledger and client in a deterministic world full of faults.",
        discussion: """
            With --seed: one world; the last line on stdout is 'hash …' over everything that went in and came out, and the same \
            seed always gives the same hash. With --count: a sweep over that many seeds, in child processes, so that a broken \
            invariant of the system itself is reported with its seed like any other violation. Without --standard everything \
            (sizes, speeds, which faults exist) is drawn from the seed.

            Exit codes: 0 no violation, 1 a violation, 2 something could not be decided, 130 interrupted.
            """)

    @Option(help: "The seed of one world.")
    var seed: UInt64?

    @Option(help: "A sweep: how many seeds, from --from on.")
    var count: UInt64?

    @Option(help: "The first seed of a sweep.")
    var from: UInt64 = 1

    @Flag(help: "Go on with new seeds until Ctrl-C.")
    var forever = false

    @Flag(help: "End a sweep at the first violation.")
    var stopAtFirst = false

    #if SUANPAN_MUTATIONS
        @Option(help: "A known bug that this build for tests is to have.")
        var mutation: String?
    #endif

    @Option(help: "Child processes of a sweep.")
    var workers: Int = 2

    @Flag(help: "Three nodes, four shards, 200 payments a second: the world that speed is measured in.")
    var standard = false

    @Option(help: "Instead of what the seed says.")
    var nodes: Int?
    @Option(help: "Instead of what the seed says.")
    var shards: Int?
    @Option(help: "Instead of what the seed says: 1, 3 or 5.")
    var replicas: Int?
    @Option(help: "Payments a simulated second, instead of what the seed says.")
    var rate: Int?
    @Option(help: "Simulated seconds with faults.")
    var seconds: Int = 60

    @Option(help: "Numbers of planned faults to leave out, as in 3,7.")
    var without: String?

    @Flag(help: "Find a smaller set of faults with which this seed still fails.")
    var shrink = false

    @Flag(help: "With --seed: print every fault, start, stop and log line.")
    var verbose = false

    func validate() throws {
        guard (seed != nil) != (count != nil || forever) else {
            throw ValidationError("say --seed S for one world, or --count N or --forever for a sweep")
        }
        guard seed != nil || !verbose && without == nil else {
            throw ValidationError("--verbose and --without are for one world: say --seed S")
        }
        guard !shrink || seed != nil else { throw ValidationError("--shrink needs --seed") }
        guard (1...64).contains(workers) else { throw ValidationError("--workers: 1 to 64") }
        guard seconds >= 1, seconds <= 86_400 else { throw ValidationError("--seconds: 1 to 86400") }
        _ = try omitted
        #if SUANPAN_MUTATIONS
            guard mutation.map({ Mutation(rawValue: $0) != nil }) ?? true else {
                throw ValidationError("--mutation: \(Mutation.allCases.map(\.rawValue).joined(separator: ", "))")
            }
        #endif
        if let nodes, !(1...9).contains(nodes) { throw ValidationError("--nodes: 1 to 9") }
        if let shards, !(1...16).contains(shards) { throw ValidationError("--shards: 1 to 16") }
        if let replicas, ![1, 3, 5].contains(replicas) { throw ValidationError("--replicas: 1, 3 or 5") }
        if let rate, !(0...10_000).contains(rate) { throw ValidationError("--rate: 0 to 10000") }
        let world = parameters(seed: seed ?? from)
        guard world.replicas <= world.nodes else {
            throw ValidationError("\(world.replicas) replicas do not fit on \(world.nodes) nodes: give --replicas too")
        }
    }

    var omitted: [Int] {
        get throws {
            try (without ?? "").split(separator: ",").map { part in
                guard let number = Int(part), number >= 0 else {
                    throw ValidationError("--without: '\(part)' is no number of a fault")
                }
                return number
            }
        }
    }

    func parameters(seed: UInt64) -> WorldParameters {
        var world = standard ? WorldParameters(seed: seed) : WorldParameters.drawn(seed: seed)
        world.nodes = nodes ?? world.nodes
        world.shards = shards ?? world.shards
        world.replicas = replicas ?? min(world.replicas, world.nodes % 2 == 0 ? world.nodes - 1 : world.nodes)
        world.rate = rate ?? world.rate
        world.seconds = seconds
        return world
    }

    /// The command that repeats a run.
    func command(seed: UInt64, omitting omitted: [Int]) -> String {
        var words = ["suanpan sim --seed \(seed)"]
        if standard { words.append("--standard") }
        if let nodes { words.append("--nodes \(nodes)") }
        if let shards { words.append("--shards \(shards)") }
        if let replicas { words.append("--replicas \(replicas)") }
        if let rate { words.append("--rate \(rate)") }
        if seconds != 60 { words.append("--seconds \(seconds)") }
        #if SUANPAN_MUTATIONS
            if let mutation { words.append("--mutation \(mutation)") }
        #endif
        if !omitted.isEmpty { words.append("--without \(omitted.map { "\($0)" }.joined(separator: ","))") }
        return words.joined(separator: " ")
    }

    func run() throws {
        #if SUANPAN_MUTATIONS
            Mutation.active = mutation.flatMap { Mutation(rawValue: $0) }
        #endif
        let code: Int32
        if let seed {
            code = shrink ? try SimShrink(command: self, seed: seed).run() : try one(seed)
        } else {
            code = SimSweep(command: self).run()
        }
        if code != ExitStatus.ok { throw ExitCode(code) }
    }

    private func one(_ seed: UInt64) throws -> Int32 {
        let omitted = try omitted
        let parameters = parameters(seed: seed)
        Console.note("seed \(seed): \(parameters.summary)")
        // In a child: a trap in the system under test is a finding, not the end of this command.
        guard let outcome = SimRun.start([parameters], omitting: omitted, verbose: verbose, follow: true)?.finish()
        else {
            Console.note("suanpan: no process can be started for the simulation")
            return ExitStatus.failed
        }
        if let violation = outcome.violation {
            let explained = verbose ? violation : SimRun.explained(violation, in: parameters, omitting: omitted)
            Console.note(explained.report(command: command(seed: seed, omitting: omitted)))
        } else {
            Console.note("no violation in \(outcome.simulatedSeconds) simulated seconds, \(outcome.steps) steps")
            for line in outcome.details { Console.note(line) }
        }
        if let hash = outcome.hash { Console.out("hash \(hash)") }
        return outcome.exitCode
    }
}
