import ClearingModel
import Engine
import Wire

/// What the admin port shows: `/metrics`, `/healthz`, `/status`.
extension ClearingNode {
    func pages() -> [String: () -> AdminPage] {
        [
            "/metrics": { [unowned self] in .metrics(metrics()) },
            "/status": { [unowned self] in .json(status()) },
            "/healthz": { [unowned self] in
                engine.isRunning ? .text("ok\n") : .text(status: 503, "recovering or stopping\n")
            },
        ]
    }

    func status() -> String {
        var extra = [("ready", engine.isRunning ? "true" : "false")]
        extra.append(("peers", "[\(connectedPeers.map { "\($0)" }.joined(separator: ","))]"))
        extra.append(("damagedRecords", "\(engine.metrics.damagedRecords)"))
        let repairs = engine.repairs.map {
            "{\"shard\":\($0.shard.rawValue),\"entries\":\($0.entries),\"lacksState\":\($0.lacksState)}"
        }
        extra.append(("repairs", "[\(repairs.joined(separator: ","))]"))
        extra.append(("repairedEntries", "\(engine.metrics.repairedEntries)"))
        let missing = engine.missingEntries.map { "{\"shard\":\($0.shard.rawValue),\"entries\":\($0.entries)}" }
        extra.append(("missingEntries", "[\(missing.joined(separator: ","))]"))
        extra.append(("backfilledEntries", "\(engine.metrics.backfilledEntries)"))
        if !gates.isEmpty {
            let links = gates.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\(describe($0.value))\"" }
            extra.append(("links", "{\(links.joined(separator: ","))}"))
        }
        return StatusText.json(
            cluster: cluster, replica: configuration.replica, groups: engine.groupStatuses(), extra: extra)
    }

    private var connectedPeers: [NodeID] {
        configuration.topology.nodes.map(\.id).filter { $0 != configuration.node && engine.isConnected(to: $0) }
    }

    func metrics() -> MetricsText {
        var text = MetricsText()
        writeTraffic(&text)
        writeOutcomes(&text)
        writeDisk(&text)
        writeGroups(&text)
        return text
    }

    private func writeTraffic(_ text: inout MetricsText) {
        let counts = engine.metrics
        text.counter(
            "suanpan_connections_opened_total", "Connections whose TLS handshake ended well.", counts.connectionsOpened)
        text.counter(
            "suanpan_connections_refused_total", "Connections refused before or at their first frame.",
            refusedHandshakes)
        text.counter("suanpan_received_bytes_total", "Plaintext bytes received.", counts.bytesReceived)
        text.counter("suanpan_sent_bytes_total", "Plaintext bytes sent.", counts.bytesSent)
        text.counter(
            "suanpan_malformed_frames_total", "Frames that do not follow the protocol.", counts.malformedFrames)
        text.counter("suanpan_truncated_frames_total", "Connections that ended inside a frame.", counts.truncatedFrames)
        text.counter("suanpan_submitted_records_total", "Records taken into an entry.", counts.submittedRecords)
        text.counter("suanpan_applied_records_total", "Records applied, as leader or follower.", counts.appliedRecords)
        text.counter(
            "suanpan_comparisons_total", "Originals read to compare a record whose id was known.", counts.comparisons)
        text.counter("suanpan_elections_won_total", "Times a replica of this node became leader.", counts.elections)
        text.counter("suanpan_checkpoints_total", "Checkpoints begun.", counts.checkpoints)
        text.counter(
            "suanpan_repaired_entries_total", "Damaged entries written again from a peer.", counts.repairedEntries)
        text.counter(
            "suanpan_backfilled_entries_total", "Old entries fetched from a peer after a snapshot.",
            counts.backfilledEntries)
        text.counter(
            "suanpan_damaged_records_total", "Log records or checkpoints found damaged.", counts.damagedRecords)
        text.counter(
            "suanpan_states_lost_total", "Replicas that started without a whole checkpoint and fetched a snapshot.",
            counts.statesLost)
        text.counter(
            "suanpan_credit_batches_sent_total", "Credit batches sent, repeats included.", counts.creditBatchesSent)
        text.counter(
            "suanpan_loop_busy_seconds_total", "Time the event loop spent in ends of turns.",
            Double(meter.busyNanoseconds) / 1e9)
        text.counter("suanpan_loop_turns_total", "Turns of the event loop that ended with work.", meter.turns)
        text.counter(
            "suanpan_cpu_seconds_total", "User and system time of the process.", Double(ProcessClock.cpu) / 1e9)
        text.gauge("suanpan_resident_bytes", "Memory of the process.", Int(clamping: ProcessClock.residentBytes))
        text.gauge("suanpan_connections", "Connections that stand.", connections.count)
    }

    private func writeOutcomes(_ text: inout MetricsText) {
        for outcome in Outcome.allCases {
            text.counter(
                "suanpan_decisions_total", "Answers to records by outcome.",
                engine.metrics.outcomes[Int(outcome.rawValue)], [("outcome", outcome.name)])
        }
        for answer in Answer.allCases where answer != .needsComparison {
            text.counter(
                "suanpan_answers_total", "Answers to records by kind.", engine.metrics.answers[Int(answer.rawValue)],
                [("answer", "\(answer)")])
        }
        for code in RefusalCode.allCases {
            text.counter(
                "suanpan_refusals_total", "Requests and connections refused before the log.",
                engine.metrics.refused[Int(code.rawValue)], [("reason", code.name)])
        }
    }

    private func writeDisk(_ text: inout MetricsText) {
        text.counter(
            "suanpan_log_written_bytes_total", "Bytes written to the data directory.", diskStatistics.bytesWritten)
        text.counter("suanpan_log_syncs_total", "fdatasync and fsync calls.", diskStatistics.syncs)
        text.histogram("suanpan_log_write_seconds", "Time of one gather write.", diskStatistics.writeTime)
        text.histogram("suanpan_log_sync_seconds", "Time of one sync.", diskStatistics.syncTime)
        text.histogram("suanpan_commit_seconds", "From closing an entry to applying it, on its leader.", commitTime)
        text.counter(
            "suanpan_log_thread_busy_seconds_total", "Time the log thread worked.",
            Double(diskStatistics.writeLaneBusy) / 1e9)
        text.counter(
            "suanpan_read_thread_busy_seconds_total", "Time the read thread worked.",
            Double(diskStatistics.readLaneBusy) / 1e9)
        text.gauge("suanpan_log_unsynced_bytes", "Bytes handed to the log and not yet durable.", engine.unsyncedBytes)
        if let free = engine.freeBytes {
            text.gauge("suanpan_disk_free_bytes", "Free space of the data directory.", Int(clamping: free))
        }
    }

    private func writeGroups(_ text: inout MetricsText) {
        let gauges = engine.groupGauges()
        func each(_ name: String, _ help: String, _ value: (GroupGauges) -> Int) {
            for group in gauges { text.gauge(name, help, value(group), [("shard", group.shard.description)]) }
        }
        each("suanpan_shard_leader", "1 where this node leads the shard.") { $0.isLeader ? 1 : 0 }
        each("suanpan_shard_term", "Raft term.") { Int(clamping: $0.term.rawValue) }
        each("suanpan_shard_committed_index", "Commit index.") { Int(clamping: $0.commit.rawValue) }
        each("suanpan_shard_applied_index", "Applied index.") { Int(clamping: $0.applied.rawValue) }
        each("suanpan_shard_queue_records", "Records taken and not yet applied.") { $0.queuedRecords }
        each("suanpan_shard_follower_lag_entries", "Entries that the slowest follower lacks.") { $0.lag }
        each("suanpan_shard_unconfirmed_credit_batches", "Closed credit batches without a confirmation.") {
            $0.unconfirmedBatches
        }
        each("suanpan_shard_halted_streams", "Credit streams that halted; each is an alarm.") { $0.haltedStreams }
        each(
            "suanpan_shard_missing_entries", "Entries of retained days that this node's log lacks: being backfilled."
        ) { $0.missingEntries }
        each("suanpan_shard_damaged_entries", "Entries of this node's log that cannot be read back: being repaired.") {
            $0.damagedEntries
        }
        each("suanpan_shard_state_lost", "1 where the replica waits for a snapshot, as its checkpoints are damaged.") {
            $0.lacksState ? 1 : 0
        }
        for group in gauges {
            for balance in group.balances {
                let labels = [("shard", group.shard.description), ("currency", "\(balance.currency)")]
                text.gauge(
                    "suanpan_shard_credits_in_flight", "Minor units in open and unconfirmed credit batches.",
                    Double(balance.creditsInFlight), labels)
            }
        }
    }
}
