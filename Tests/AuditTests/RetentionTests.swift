import Audit
import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

/// Logs whose oldest segments are past their retention: the replay starts from a checkpoint.
struct RetentionTests {
    private func cluster(seed: UInt64, rounds: Int = 60) -> AuditedCluster {
        let cluster = AuditedCluster(seed: seed)
        cluster.prepare()
        for _ in 0..<rounds { cluster.round() }
        return cluster
    }

    /// Two checkpoints of everything on every node, some work between them, and the segments below gone.
    private func expire(_ cluster: AuditedCluster) {
        for _ in 0..<3 {
            // One shard after the other: their replays start at different moments.
            for shard in 0...cluster.shardCount {
                cluster.checkpointEverywhere(shard)
                for _ in 0..<12 { cluster.round() }
            }
        }
        for node in cluster.nodes {
            node.expire((0...cluster.shardCount).map { (ShardID(UInt16($0)), cluster.indexes[$0]) })
        }
    }

    @Test(arguments: UInt64(1)...3)
    func theReplayStartsFromACheckpoint(seed: UInt64) {
        let cluster = cluster(seed: seed)
        expire(cluster)
        let journalled = cluster.journal.count
        let accepted = cluster.accepted
        for _ in 0..<30 { cluster.round() }
        let all = cluster.audit()
        #expect(all.notes.contains { $0.contains("past their retention") }, "\(all.table)")
        #expect(all.problemCount == 0 && all.imbalance == 0, "\(all.table)")
        #expect(all.payments < UInt64(cluster.accepted) && all.payments >= UInt64(cluster.accepted - accepted))
        // Decisions before the start are not there to be compared.
        #expect(all.verdict == .unknown && all.uncheckedCount == 1, "\(all.table)")
        cluster.journal.removeFirst(journalled)
        let recent = cluster.audit()
        #expect(recent.verdict == .valid, "\(recent.table)")
        #expect(recent.acknowledged == UInt64(cluster.journal.count) && recent.checkpointsCompared >= 3)
    }

    @Test func anIDThatWasDecidedBeforeTheStartStaysDecided() {
        let cluster = cluster(seed: 7)
        let records = cluster.records(1, 30)
        let decisions = cluster.commit(1) { for record in records { $0.append(record) } }
        let at = decisions.firstIndex { $0.outcome == .accepted }!
        expire(cluster)
        cluster.journal = []
        let again = cluster.commit(1) { $0.append(records[at]) }[0]
        #expect(again.answer == .needsComparison)
        #expect(cluster.audit().verdict == .valid)
        cluster.journal(
            records[at],
            Decision(
                outcome: .accepted, answer: .decided, slot: 0, window: WindowID(scheme: .domestic, number: 1),
                index: cluster.indexes[1], shard: ShardID(1), ledgerTime: cluster.wall))
        let report = cluster.audit()
        #expect(report.verdict == .invalid && report.doubled == 1, "\(report.table)")
    }

    @Test func forgedCreditsAreFoundAfterALaterStart() {
        let cluster = cluster(seed: 8)
        expire(cluster)
        cluster.journal = []
        cluster.commit(1) { cluster.exchange(1, &$0) }
        let last = cluster.ledger(1).incomingCursor(from: ShardID(2))
        let forged = CreditBatch(
            source: ShardID(2), destination: ShardID(1), number: last.number.next, sourceIndex: cluster.indexes[2],
            sourceTerm: cluster.term, directoryVersion: .zero, previousHash: last.hash,
            lines: cluster.ledger(2).unconfirmedBatches(to: ShardID(1)).last!.lines,
            key: SipHash(cluster: cluster.topology.cluster))
        cluster.forge(1) {
            let added = $0.add(forged)
            precondition(added)
        }
        let report = cluster.audit()
        #expect(report.verdict == .invalid && report.imbalance > 0, "\(report.table)")
    }

    @Test func withoutACheckpointNothingCanBeSaid() {
        let cluster = cluster(seed: 9)
        expire(cluster)
        for node in cluster.nodes {
            for name in TemporaryDirectory.names(node.directory) where name.hasPrefix("checkpoint-00002") {
                TemporaryDirectory.remove("\(node.directory)/\(name)")
            }
        }
        cluster.journal = []
        let report = cluster.audit()
        #expect(report.verdict == .unknown, "\(report.table)")
        #expect(report.unchecked.contains { $0.contains("shard 2") }, "\(report.table)")
    }

    @Test func aReplicaThatCameBackWithASnapshotIsOneOfThree() {
        let cluster = cluster(seed: 10)
        cluster.replace(2)
        for _ in 0..<20 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted) && report.nodesRead == 3)
    }
}

extension AuditedCluster {
    func checkpointEverywhere(_ shard: Int) {
        // A checkpoint needs a new index, also where nothing happened.
        if shard == 0 { noop(.directory) }
        settle()
        let sections = shard == 0 ? directoryLedger.encodeCheckpoint() : ledger(shard).encodeCheckpoint()
        for node in nodes {
            node.checkpoint(ShardID(UInt16(shard)), index: indexes[shard], term: term, membership, sections)
        }
    }
}
