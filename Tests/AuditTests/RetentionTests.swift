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

    /// What a backfill writes on a node that came back with snapshots: everything that another node has, below its log's start.
    private func backfill(_ cluster: AuditedCluster, _ at: Int, from other: Int) {
        cluster.settle()
        for shard in 1...cluster.shardCount {
            let id = ShardID(UInt16(shard))
            for gap in cluster.nodes[at].missing(id) {
                let entries = cluster.nodes[other].entries(id, gap.from, gap.through)
                cluster.nodes[at].change { $0.appendRepair(entries, shard: id) }
                cluster.settle()
            }
            #expect(cluster.nodes[at].missing(id).isEmpty)
        }
    }

    @Test func backfilledEntriesCountAsAnyOthers() {
        let cluster = cluster(seed: 11)
        cluster.replace(2)
        for _ in 0..<10 { cluster.round() }
        backfill(cluster, 2, from: 0)
        for _ in 0..<10 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
        // One that both others have damaged is read from the backfilled copy, in the next life too.
        cluster.nodes[2].open()
        let id = TransactionID(String(cluster.journal[5].split(separator: "\"")[3]))!
        for at in 0..<2 {
            let place = DataFiles.find(id, in: cluster.nodes[at].directory)!
            DataFiles.edit(place.path) { $0[place.offset + 40] ^= 4 }
        }
        let alone = cluster.audit()
        #expect(alone.verdict == .valid && alone.payments == UInt64(cluster.accepted), "\(alone.table)")
    }

    @Test func backfilledEntriesFromBeforeTheOldestSegmentAreNoContradiction() {
        let cluster = cluster(seed: 12)
        cluster.replace(2)
        for _ in 0..<40 { cluster.round() }
        backfill(cluster, 2, from: 0)
        // Retention takes the segments in which the node's log began; the backfilled entries stand in later ones.
        expire(cluster)
        cluster.journal = []
        for _ in 0..<10 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
    }

    /// Found as seed 260: an entry that took the place of a void one was said to contradict the log.
    @Test func whatATruncationVoidsMayStandInASegmentThatIsGone() {
        let cluster = cluster(seed: 14)
        let shard = ShardID(2)
        let stray = cluster.stray(on: 0, shard)
        // The next segment opens with the void entry as the log's last one.
        let segment = cluster.nodes[0].log.lastAddress.segment
        while cluster.nodes[0].log.lastAddress.segment == segment {
            let records = cluster.records(1, 30)
            cluster.commit(1) { for record in records { $0.append(record) } }
            cluster.settle()
        }
        cluster.term = Term(2)
        cluster.nodes[0].change { $0.appendTruncate(shard: shard, from: stray.index, term: Term(2)) }
        cluster.noop(shard)
        for _ in 0..<10 { cluster.round() }
        expire(cluster)
        cluster.journal = []
        for _ in 0..<10 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
    }

    @Test func aBackfilledEntryThatDiffersIsFound() {
        let cluster = cluster(seed: 13)
        cluster.replace(2)
        cluster.settle()
        let entry = cluster.nodes[0].entries(ShardID(1), LogIndex(5), LogIndex(5))[0]
        let other = RaftEntry(
            index: entry.index, term: entry.term, kind: .data, payload: Slab(Array(entry.payload.bytes) + [0]))
        cluster.nodes[2].change { $0.appendRepair([other], shard: ShardID(1)) }
        cluster.settle()
        let report = cluster.audit()
        #expect(report.verdict == .invalid, "\(report.table)")
        #expect(report.problems.contains { $0.contains("entry 5") }, "\(report.table)")
    }
}

extension AuditedCluster {
    func checkpointEverywhere(_ shard: Int) {
        // A checkpoint needs a new index, also where nothing happened.
        if shard == 0 { noop(.directory) }
        settle()
        let content = shard == 0 ? directoryLedger.encodeCheckpoint() : ledger(shard).encodeCheckpoint()
        for node in nodes {
            node.checkpoint(ShardID(UInt16(shard)), index: indexes[shard], term: term, membership, content)
        }
    }
}
