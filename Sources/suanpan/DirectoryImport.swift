import ClearingModel
import LocalCluster
import Wire
import Workload

/// Bringing participants and mandates into the directory group, and waiting until every shard knows them.
enum DirectoryImport {
    /// Imports the generated participants of a new cluster, once.
    static func generated(in directory: ClusterDirectory, launcher: Launcher) throws {
        let state = try directory.state()
        guard state.participants > 0, state.importedVersion == nil else { return }
        let population = Population.generate(count: state.participants)
        Console.note("importing \(population.participants.count) participants, \(population.mandates.count) mandates")
        let version = try send(
            population.participants.map { .participant($0) } + population.mandates.map { .mandate($0) }, to: directory)
        try launcher.awaitDirectory(version)
        try directory.update { $0.importedVersion = version.rawValue }
    }

    /// Sends changes as operator; a change that the directory does not take is an error that names it.
    @discardableResult
    static func send(_ changes: [DirectoryChange], to directory: ClusterDirectory) throws -> DirectoryVersion {
        let client = try Access.asOperator(directory, timeoutSeconds: 20)
        defer { client.close() }
        let reply = try client.change(changes)
        guard let failure = reply.failures.first else { return reply.version }
        throw LaunchError.failed(
            "\(reply.failures.count) of \(changes.count) changes were not taken; the first is number "
                + "\(failure.change + 1): \(failure.fault.message)")
    }
}
