import ClearingModel
import Glibc

/// What an audit is made from: all of it is only read.
public struct AuditInput: Sendable {
    public var topology: ClusterTopology
    /// Data directories by node; one that is missing or unreadable is said to be.
    public var directories: [NodeID: String]
    /// A journal of `suanpan load`.
    public var journal: String?
    /// Called now and then with what the audit does.
    public var progress: @Sendable (String) -> Void

    public init(
        topology: ClusterTopology, directories: [NodeID: String], journal: String? = nil,
        progress: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.topology = topology
        self.directories = directories
        self.journal = journal
        self.progress = progress
    }
}

/// Replays every shard's log with a decoder and a model of its own, and compares.
///
/// ```
///  data directories ──► NodeReader ──► ReplicaLog (per node and shard)
///                                          │ same entry everywhere? committed up to where?
///                                      ShardLog (per shard)
///                                          │ entries in the order of ledger time
///          DirectoryModel ──────────► ShardModel ──► StreamBook: closed batches = applied batches?
///          (group 0)                       │         books: debits = credits + in flight?
///                                      OutcomeStore ◄── JournalCheck: every acknowledged decision
/// ```
/// Nothing here is shared with the program that wrote the logs but `ClearingModel` and the checksum; the formats are read as
/// docs/LOG.md and docs/ENTRIES.md describe them. Nothing is written, locked or created.
public enum Auditor {
    /// Audits a live or stopped cluster. On a live one the directories are read twice, and the second reading serves only to
    /// make the cut consistent (see `Replay`).
    public static func run(_ input: AuditInput) -> AuditReport {
        let findings = Findings()
        let topology = input.topology
        // The journal first: what it holds now was committed before any log is read.
        let journal = input.journal.map { path in (path: path, file: DataFile(path)) }
        let journalSize = journal?.file?.size ?? 0
        if let journal, journal.file == nil {
            findings.unchecked("\(journal.path) cannot be read: \(String(cString: strerror(errno)))")
        }

        let readers = open(input, findings)
        let files = FileCache()
        let logs = (0...topology.shardCount).map {
            ShardLog(shard: $0, readers: readers, files: files, findings: findings)
        }
        var checkpoints: [CheckpointFile] = []
        var firstCut: [UInt64] = []
        for pass in 0..<2 {
            for reader in readers {
                reader.advance()
                if pass == 0 { input.progress("node \(reader.node): read \(reader.bytesRead >> 20) MiB") }
            }
            checkpoints = readers.flatMap { $0.checkpoints(noting: pass == 1) }
            for log in logs { log.update(checkpoints: checkpoints) }
            if pass == 0 { firstCut = logs.map(\.through) }
        }
        check(logs, firstCut, findings)

        let replay = Replay(
            topology: topology, logs: logs, files: files, checkpoints: checkpoints, findings: findings)
        replay.run(firstCut: firstCut, progress: input.progress)
        var report = AuditReport()
        if let journal, let file = journal.file {
            var check = JournalCheck(path: journal.path, replay: replay, findings: findings)
            check.run(file, size: journalSize, progress: input.progress)
            report.acknowledged = check.acknowledged
            report.missing = check.missing
            report.doubled = check.doubled
            report.refused = check.refused
            report.unknownAccepted = check.unknownAccepted
            report.unknownRejected = check.unknownOther
            report.unknownNeverDecided = check.unknownNeverDecided
        }
        sum(replay, findings, &report)
        report.nodesRead = readers.count
        report.bytesRead = readers.reduce(0) { $0 + $1.bytesRead }
        return report
    }

    private static func open(_ input: AuditInput, _ findings: Findings) -> [NodeReader] {
        input.topology.nodes.compactMap { node in
            guard let directory = input.directories[node.id] else {
                findings.note("node \(node.id): its data directory was not given")
                return nil
            }
            let reader = NodeReader(
                node: node.id, directory: directory, cluster: input.topology.cluster,
                shardCount: input.topology.shardCount, findings: findings)
            return reader.open() ? reader : nil
        }
    }

    private static func check(_ logs: [ShardLog], _ firstCut: [UInt64], _ findings: Findings) {
        for log in logs {
            if log.holders.isEmpty {
                findings.unchecked("\(log.name): no node's log of it could be read")
            } else if !log.hasMajority {
                findings.unchecked(
                    "\(log.name): only \(log.readableVoters) of \(log.voters?.voters.count ?? 0) voters' logs could be "
                        + "read, no majority: what is committed beyond entry \(log.firm) is not known")
            }
            log.compare(hinted: firstCut[log.shard])
        }
    }

    private static func sum(_ replay: Replay, _ findings: Findings, _ report: inout AuditReport) {
        for shard in [replay.directory] + replay.shards {
            let accepted = shard.model?.counts[Int(Outcome.accepted.rawValue)] ?? 0
            report.shards.append(
                AuditReport.Shard(
                    shard: ShardID(UInt16(shard.shard)), replicas: shard.log.holders.count,
                    committed: LogIndex(shard.index), records: shard.model?.records ?? 0, accepted: accepted,
                    isComplete: shard.isComplete))
            report.payments += accepted
            report.records += shard.model?.records ?? 0
            report.repeated += shard.model?.repeated ?? 0
            report.checkpointsCompared += shard.checkpointsCompared
        }
        // Sums over shards of which one stopped early mean nothing.
        if replay.shards.allSatisfy(\.isComplete) {
            for balance in replay.balances {
                report.balances.append(
                    AuditReport.Balance(
                        window: balance.key.window, currency: balance.key.currency, debits: balance.debits,
                        credits: balance.credits, inFlight: balance.inFlight))
                report.imbalance += balance.difference
                if balance.difference != 0 {
                    findings.problem(
                        "window \(balance.key.window), currency \(balance.key.currency): debits \(balance.debits) are not "
                            + "credits \(balance.credits) + in flight \(balance.inFlight)")
                }
            }
        }
        report.problems = findings.problems.texts
        report.problemCount = findings.problems.count
        report.unchecked = findings.unchecked.texts
        report.uncheckedCount = findings.unchecked.count
        report.notes = findings.notes.texts
        report.noteCount = findings.notes.count
        report.verdict = report.problemCount > 0 ? .invalid : report.uncheckedCount > 0 ? .unknown : .valid
    }
}
