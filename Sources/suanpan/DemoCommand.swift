import ArgumentParser
import CPlatform
import ClearingModel
import Client
import Glibc
import LocalCluster
import Workload

/// `make demo`: a cluster of three cities from its first process to the audit of what it did, in about a minute.
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "What `make demo` runs.", shouldDisplay: false)

    @OptionGroup var location: DirectoryOptions
    @Option(help: "Payments a second to offer.") var rate = 40_000
    @Option(help: "Seconds of load; the busiest leader is killed after a third and restarted after two thirds.")
    var seconds = 30

    func run() throws {
        let directory = ClusterDirectory(path: location.dir ?? ".build/demo")
        let started = Deadline.now()
        try Demo.removeEarlier(directory)
        Interrupts.install()
        Console.out("Suanpan demo: \(Machine.description)")
        Console.out("Six nodes and the load share these cores; a real cluster has one machine for each.\n")
        let demo = try Demo(directory: directory)
        do {
            try demo.start()
            try DemoPayment(directory: directory, population: demo.population, topology: demo.topology).run()
            let load = try DemoLoad(demo: demo, rate: rate, seconds: seconds)
            try load.run()
            let verdict = try demo.finish(load)
            Console.out("\nThe demo took \((Deadline.now() - started) / 1_000_000_000) s.")
            Console.out(demo.nextCommands)
            if verdict != ExitStatus.ok { throw ExitCode(verdict) }
        } catch {
            _ = try? demo.launcher.drain { true }
            throw error
        }
    }
}

/// The demo's cluster.
struct Demo {
    let directory: ClusterDirectory
    let launcher: Launcher
    let population: Population
    let topology: ClusterTopology
    private static let participants = 3_000

    /// A directory that a demo made may be removed by the next one; nothing else may.
    private static func mark(_ directory: ClusterDirectory) -> String { "\(directory.root)/demo" }

    static func removeEarlier(_ directory: ClusterDirectory) throws {
        guard directory.hasCluster else { return }
        guard access(mark(directory), F_OK) == 0 else {
            throw LaunchError.configuration(
                "the cluster in \(directory.root) was not made by a demo: give the demo another --dir")
        }
        let launcher = Launcher.local(directory)
        _ = try launcher.drain { true }
        try launcher.purge()
    }

    init(directory: ClusterDirectory) throws {
        self.directory = directory
        var launcher = Launcher(directory: directory, format: DataFormat.write) { _ in }
        launcher.shouldStop = { Interrupts.count > 0 }
        self.launcher = launcher
        population = Population.generate(count: Self.participants)
        let plan = try TopologyFlags(nodes: 6, shards: 12, replicas: 3, cities: 3, dataCentres: 2).plan()
        try launcher.create(
            GeneratedPopulation.request(
                plan: plan, allowFaults: false, logLevel: "info", participants: Self.participants))
        try LoadSetup.write(
            "This cluster was made by 'make demo', which removes it when it runs again.\n", to: Self.mark(directory))
        topology = try directory.topology()
    }

    /// Starts the processes and shows who leads what, by city.
    func start() throws {
        let began = Deadline.now()
        try launcher.start(foreground: true)
        try launcher.awaitLeaders()
        let leaders = Deadline.now()
        try DirectoryImport.generated(in: directory, launcher: launcher)
        let status = try status()
        Console.out(status.table)
        Console.out(
            "\(topology.nodes.count) processes and a leader for every shard after "
                + "\((leaders - began) / 1_000_000) ms; \(population.participants.count) participants in force on "
                + "every shard after another \((Deadline.now() - leaders) / 1_000_000) ms.\n")
    }

    func status() throws -> ClusterStatus {
        ClusterStatus.take(state: try directory.state(), topology: topology)
    }

    var nextCommands: String {
        """

        Next, on the same cluster:
          export SUANPAN_DIR=\(directory.root)
          .build/release/suanpan cluster up --detach
          .build/release/suanpan load --rate 20000 --duration 10s
          .build/release/suanpan cluster kill site:Beijing     (a whole city; then: cluster status, cluster restart all)
          .build/release/suanpan position \(population.instructing[0].participant)
          .build/release/suanpan cluster down
        """
    }
}

/// What this machine is.
enum Machine {
    static var description: String {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let pages = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return "\(processors) cores, \(pages >> 30) GiB of memory, Linux \(release)"
    }

    static var processors: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }

    /// Busy and total time of all cores since boot, in ticks (`/proc/stat`).
    static var ticks: (busy: UInt64, total: UInt64) {
        guard let file = fopen("/proc/stat", "r") else { return (0, 0) }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        guard fgets(&line, 512, file) != nil else { return (0, 0) }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let fields = text.split(separator: " ").dropFirst().prefix(8).compactMap { UInt64($0.filter(\.isNumber)) }
        guard fields.count >= 5 else { return (0, 0) }
        let total = fields.reduce(0, +)
        return (total - fields[3] - fields[4], total)
    }
}
