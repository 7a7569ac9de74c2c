import ArgumentParser
import ClearingModel
import Glibc
import LocalCluster
import Wire
import Workload

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Offer payments at a rate; latency counts from when each was due.",
        discussion: """
            Without --connections each institution whose certificate is here has a connection to each node. With \
            --connections N the load speaks as a service bureau: one certificate that names them all, made for this run \
            from the cluster's authority, and N connections in all, dealt to the nodes in turn. Who instructs, and how \
            much, is the same in both.

            Exit codes: 0 done, 1 nothing was accepted, 3 the generator was the limit, 130 interrupted.
            """)
    @OptionGroup var location: DirectoryOptions
    @Option(help: "Payments a second, or steps as in 20000:30s,80000:30s (default 10000).") var rate: String?
    @Flag(help: "As many as the cluster takes.") var max = false
    @Option(help: "Payments in one request at most.") var batch = 1
    @Option(help: "Connections in all, as a service bureau (default: one for each institution and node).")
    var connections: Int?
    @Option(help: "With --max: payments in flight in all; 1 shows the latency of a lone payment (default 32768).")
    var inFlight: Int?
    @Option(help: "Requests in flight per shard at most; what is due beyond waits, and its latency counts.")
    var perShard: Int?
    @Option(help: "Requests in flight per connection at most; likewise.") var perConnection: Int?
    @Option(help: "Time at the beginning that does not count, as in 5s.") var warmUp: String?
    @Option(
        help: "Who is credited: mix, inside (on the debtor's shard) or across (on another one), over all participants.")
    var credits = "mix"
    @Option(help: "How long, as in 30s or 5m.") var duration = "30s"
    @Option(help: "transfers or clearing.") var mix = "transfers"
    @Option(help: "The same seed gives the same payments.") var seed: UInt64 = 1
    @Option(help: "A line of JSON for every payment that ended.") var journal: String?
    @Option(help: "A line of CSV for every second.") var series: String?
    @Option(help: "The result as JSON; - for standard output.") var json: String?

    func run() throws {
        let directory = location.directory
        guard let seconds = LoadPlan.seconds(duration) else {
            throw FlagError("--duration '\(duration)': give a time, as in 500ms, 30s, 5m or 1h")
        }
        guard !(max && rate != nil) else { throw FlagError("give --rate or --max, not both") }
        guard let plan = max ? .maximum(seconds: seconds) : LoadPlan(rate ?? "10000", seconds: seconds) else {
            throw FlagError("--rate '\(rate ?? "")': give payments a second, or steps as in 20000:30s,80000:30s")
        }
        guard let mix = LoadMix(rawValue: mix) else { throw FlagError("--mix '\(mix)': transfers or clearing") }
        guard let credits = LoadCredits(rawValue: credits) else {
            throw FlagError("--credits '\(credits)': mix, inside or across")
        }
        let warmUpSeconds = try warmUpSeconds(of: plan)
        try checkNumbers()
        var configuration = try LoadSetup.configuration(directory, plan: plan, asBureau: connections != nil)
        let nodes = configuration.topology.nodes.count
        if let connections, connections < nodes {
            throw FlagError("--connections \(connections): give \(nodes) or more, any of the \(nodes) nodes may lead")
        }
        configuration.mix = mix
        configuration.credits = credits
        configuration.seed = seed
        configuration.batch = batch
        configuration.connections = connections
        configuration.requestsPerShard = perShard
        configuration.requestsPerConnection = perConnection
        configuration.window = inFlight
        configuration.warmUpSeconds = warmUpSeconds
        configuration.journalPath = journal
        configuration.seriesPath = series
        configuration.live = { Console.note($0) }
        Interrupts.install()
        configuration.shouldStop = { Interrupts.count > 0 }
        let result = try LoadRunner.run(configuration)
        for trouble in result.troubles.suffix(5) { Console.note("connection: \(trouble)") }
        if json == "-" {
            Console.out(result.json)
        } else {
            Console.out(LoadSetup.table(result))
            if let json { try LoadSetup.write(result.json + "\n", to: json) }
        }
        if result.interrupted { throw ExitCode(ExitStatus.interrupted) }
        if result.generatorLimited {
            Console.note("the generator was the limit: the cluster may carry more than this shows")
            throw ExitCode(ExitStatus.void)
        }
        if result.accepted == 0 { throw ExitCode(ExitStatus.failed) }
    }

    private func warmUpSeconds(of plan: LoadPlan) throws -> Double {
        guard let warmUp else { return 0 }
        guard let seconds = LoadPlan.seconds(warmUp), seconds < plan.totalSeconds else {
            throw FlagError("--warm-up '\(warmUp)': give a time shorter than the load, as in 5s")
        }
        return seconds
    }

    private func checkNumbers() throws {
        guard (1...Limits.maximumRecords).contains(batch) else {
            throw FlagError("--batch \(batch): give 1 to \(Limits.maximumRecords)")
        }
        if inFlight != nil, !max { throw FlagError("--in-flight goes with --max: at a rate, payments leave when due") }
        let numbers = [
            ("--in-flight", inFlight), ("--per-shard", perShard), ("--per-connection", perConnection),
        ]
        for (flag, value) in numbers {
            if let value, value < 1 { throw FlagError("\(flag) \(value): give 1 or more") }
        }
    }
}

/// What a load is made from, and how its result reads.
enum LoadSetup {
    static func configuration(
        _ directory: ClusterDirectory, plan: LoadPlan, asBureau: Bool = false
    ) throws -> LoadConfiguration {
        let state = try directory.state()
        guard !state.running.isEmpty else { throw LaunchError.notRunning(directory: directory.root) }
        signal(SIGPIPE, SIG_IGN)
        var configuration = LoadConfiguration(
            topology: try directory.topology(),
            identities: try asBureau ? Access.bureau(directory) : Access.identities(directory),
            population: try population(directory, state), plan: plan)
        configuration.processes = state.running.compactMap { $0.process?.pid }
        return configuration
    }

    /// The generated participants, or those of the directory where they came from a file: then every institution with a
    /// certificate and every bank weighs the same.
    private static func population(_ directory: ClusterDirectory, _ state: ClusterState) throws -> Population {
        if state.participants > 0 { return Population.generate(count: state.participants) }
        let client = try Access.asRegulator(directory)
        defer { client.close() }
        var population = Population.generate(count: Population.minimumCount)
        population.participants = try client.list(.participants).compactMap {
            if case .participant(let one) = $0, one.status == .active { one } else { nil }
        }
        population.mandates = try client.list(.mandates).compactMap {
            if case .mandate(let one) = $0, !one.revoked { one } else { nil }
        }
        let certified = directory.certificates.participants
        let institutions = population.participants.map(\.id).filter { id in
            certified.contains(id)
                && population.mandates.contains { $0.instructing == id && $0.debtors == .every(.bank) }
        }
        let banks = population.participants.filter { $0.kind == .bank }.map(\.id)
        guard !institutions.isEmpty, !banks.isEmpty else {
            throw LaunchError.failed(
                "nothing to play: a load needs active banks, and an institution with a certificate and a mandate over "
                    + "'every bank'")
        }
        population.instructing = institutions.map { .init(participant: $0, share: 1 / Double(institutions.count)) }
        population.banks = banks.map { .init(participant: $0, share: 1 / Double(banks.count)) }
        return population
    }

    static func table(_ result: LoadResult) -> String {
        func number(_ value: Double, _ digits: Int = 0) -> String {
            let factor = digits == 0 ? 1.0 : 100.0
            let rounded = (value * factor).rounded() / factor
            return digits == 0 ? "\(UInt64(rounded))" : "\(rounded)"
        }
        var rows = [
            ["offered a second", number(result.offeredRate)], ["accepted a second", number(result.acceptedPerSecond)],
            ["sent", "\(result.sent)"], ["not sent", "\(result.notSent)"], ["late", "\(result.late)"],
            ["accepted", "\(result.accepted)"], ["unknown", "\(result.unknown)"],
        ]
        for rejection in result.rejected { rows.append(["rejected: \(rejection.reason)", "\(rejection.count)"]) }
        let milliseconds = [
            ("p50", result.p50Ms), ("p90", result.p90Ms), ("p99", result.p99Ms), ("p99.9", result.p999Ms),
            ("p99.99", result.p9999Ms), ("longest", result.maxMs), ("longest gap", result.longestGapMs),
        ]
        rows += milliseconds.map { ["\($0.0), ms", number($0.1, 2)] }
        rows.append(["CPU per payment, µs", number(result.cpuMicrosPerTransaction, 2)])
        rows.append(["generator busy at most", "\(Int(result.generatorBusy * 100))%"])
        return Table(["load", ""], rows: rows).text
    }

    static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw LaunchError.file(path: path, action: "create", code: errno) }
        let written = fputs(text, file)
        guard written >= 0, fclose(file) == 0 else { throw LaunchError.file(path: path, action: "write", code: errno) }
    }
}
