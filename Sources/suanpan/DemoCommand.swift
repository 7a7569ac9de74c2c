import ArgumentParser
import Bench
import ClearingModel
import LocalCluster

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
        try ScratchCluster.removeEarlier(directory, maker: .demo)
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
    let cluster: ScratchCluster
    var directory: ClusterDirectory { cluster.directory }
    var launcher: Launcher { cluster.launcher }
    var population: Population { cluster.population }
    var topology: ClusterTopology { cluster.topology }

    init(directory: ClusterDirectory) throws {
        let flags = TopologyFlags(nodes: 6, shards: 12, replicas: 3, cities: 3, dataCentres: 2)
        cluster = try ScratchCluster(directory, maker: .demo, flags, participants: 3_000)
    }

    /// Starts the processes and shows who leads what, by city.
    func start() throws {
        let times = try cluster.start()
        Console.out(try status().table)
        Console.out(
            "\(topology.nodes.count) processes and a leader for every shard after \(times.leaders) ms; "
                + "\(population.participants.count) participants in force on every shard after another "
                + "\(times.directory) ms.\n")
    }

    func status() throws -> ClusterStatus { try cluster.status() }

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
