import ArgumentParser
import ClearingModel
import Foundation
import LocalCluster
import Wire
import Workload

struct ParticipantsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "participants", abstract: "The directory of participants and mandates.",
        subcommands: [ParticipantsImport.self, ParticipantsList.self, ParticipantsSet.self])
}

/// The whole directory as its leader has it.
private struct DirectoryContents {
    var participants: [Participant] = []
    var mandates: [Mandate] = []

    init(_ client: SuanpanClient) throws {
        for item in try client.list(.participants) {
            if case .participant(let participant) = item { participants.append(participant) }
        }
        for item in try client.list(.mandates) {
            if case .mandate(let mandate) = item { mandates.append(mandate) }
        }
    }
}

extension Launcher {
    /// Sends changes and waits until every shard has them.
    fileprivate func apply(_ changes: [DirectoryChange]) throws {
        let version = try DirectoryImport.send(changes, to: directory)
        try awaitDirectory(version)
        Console.out("directory version \(version) is in force on every shard")
    }
}

struct ParticipantsImport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Add or change participants or mandates from CSV; all of it or nothing.",
        discussion: """
            The first line names the columns: id,kind,status,currency,limit,funding,sponsor for participants, \
            instructing,debtors,kinds,maximumAmount,dailyCap,revoked for mandates. Money is in minor units.
            """)
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "The CSV file.") var file: String

    func run() throws {
        let contents = try DirectoryFile(path: file)
        let directory = location.directory
        let client = try Access.asOperator(directory)
        let existing = try DirectoryContents(client)
        client.close()
        let faults = contents.faults(existing: existing.participants, mandates: existing.mandates.count)
        guard faults.isEmpty else { throw DirectoryFile.Faults(file: file, faults: faults) }
        try Launcher.local(directory).apply(contents.changes)
    }
}

struct ParticipantsList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Participants, or mandates with --mandates.")
    @OptionGroup var location: DirectoryOptions
    @Flag(help: "Mandates instead of participants.") var mandates = false
    @Flag(help: "CSV that can be imported again.") var csv = false
    @Flag(help: "JSON, one array.") var json = false

    func run() throws {
        let client = try Access.asRegulator(location.directory)
        defer { client.close() }
        let contents = try DirectoryContents(client)
        let text = mandates ? DirectoryFile.csv(contents.mandates) : DirectoryFile.csv(contents.participants)
        if csv { return Console.out(text) }
        // The CSV's columns are the table's and the JSON's too.
        var rows = text.split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let header = rows.removeFirst()
        Console.out(json ? Self.json(header, rows) : Table(header, rows: rows).text)
    }

    private static func json(_ header: [String], _ rows: [[String]]) -> String {
        let objects = rows.map { row in
            zip(header, row).map { name, value in
                let plain = UInt64(value) != nil || value == "true" || value == "false"
                return "\"\(name)\":" + (value.isEmpty ? "null" : plain ? value : "\"\(value)\"")
            }.joined(separator: ",")
        }
        return "[" + objects.map { "{\($0)}" }.joined(separator: ",\n ") + "]"
    }
}

struct ParticipantsSet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Change one participant; takes effect on every shard without a restart.")
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "The participant's number.") var participant: UInt32
    @Option(help: "onboarding, active, sendSuspended, suspended or closing.") var status: String?
    @Option(help: "Largest net debit position, in minor units.") var limit: UInt64?
    @Option(help: "Money funded in advance, in minor units.") var funding: UInt64?
    @Flag(help: "Also issue a certificate in the cluster's directory, so that it can instruct from here.")
    var certificate = false

    func run() throws {
        guard status != nil || limit != nil || funding != nil || certificate else {
            throw FlagError("nothing to set: give --status, --limit, --funding or --certificate")
        }
        let directory = location.directory
        let client = try Access.asOperator(directory)
        let contents = try DirectoryContents(client)
        client.close()
        let id = ParticipantID(participant)
        guard var changed = contents.participants.first(where: { $0.id == id }) else {
            throw LaunchError.failed("there is no participant \(id): 'suanpan participants import' adds one")
        }
        if let status {
            guard let known = ParticipantStatus.allCases.first(where: { "\($0)" == status }) else {
                let names = ParticipantStatus.allCases.map { "\($0)" }.joined(separator: ", ")
                throw FlagError("--status '\(status)': choose one of \(names)")
            }
            changed.status = known
        }
        for (name, value) in [("limit", limit), ("funding", funding)] {
            if let value, value > Limits.maximumParticipantLimit {
                throw FlagError("--\(name) \(value): at most \(Limits.maximumParticipantLimit)")
            }
        }
        if certificate {
            try directory.certificates.issue(participant: id, cluster: try directory.topology().cluster)
            Console.out("issued \(directory.certificates.certificate(Certificates.name(of: id)))")
            guard status != nil || limit != nil || funding != nil else { return }
        }
        changed.limit = limit ?? changed.limit
        changed.funding = funding ?? changed.funding
        try Launcher.local(directory).apply([.participant(changed)])
    }
}
