import Audit
import ClearingModel
import Ledger
import Raft
import Testing
import Wire

/// What must not be, done on purpose: each is found, and named.
struct InvalidTests {
    private func cluster(rounds: Int = 15, seed: UInt64 = 5) -> AuditedCluster {
        let cluster = AuditedCluster(seed: seed)
        cluster.prepare()
        for _ in 0..<rounds { cluster.round() }
        return cluster
    }

    private func expectInvalid(
        _ report: AuditReport, _ texts: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(report.verdict == .invalid, "\(report.table)", sourceLocation: sourceLocation)
        for text in texts {
            #expect(
                report.problems.contains { $0.contains(text) }, "'\(text)' in \(report.table)",
                sourceLocation: sourceLocation)
        }
    }

    /// A payment that the log rejected is good enough for these.
    private func good(_ cluster: AuditedCluster, _ shard: Int) -> Instruction {
        let debtor = cluster.population.banks.map(\.participant).first {
            Int(cluster.topology.slots.route($0, sequence: 0).rawValue) == shard
        }!
        let creditor = cluster.population.participants.last { $0.id != debtor }!.id
        return cluster.payment(from: debtor, to: creditor, 777)
    }

    // MARK: - The journal

    @Test func anAcknowledgedPaymentThatIsNotInTheLog() {
        let cluster = cluster()
        let one = good(cluster, 2)
        cluster.journal(
            one,
            Decision(
                outcome: .accepted, answer: .decided, slot: 0, window: WindowID(scheme: .domestic, number: 1),
                index: cluster.indexes[2].next, shard: ShardID(2), ledgerTime: cluster.wall))
        let report = cluster.audit()
        expectInvalid(report, one.id.description, "acknowledged decision is lost")
        #expect(report.missing == 1 && report.doubled == 0)
    }

    @Test func aPlaceThatHoldsAnotherID() {
        let cluster = cluster()
        cluster.journal[3] = cluster.journal[3].replacing("\"slot\":", with: "\"slot\":1")
        #expect(cluster.audit().missing == 1)
        let swapped = cluster.journal[4].split(separator: "\"")[3]
        cluster.journal[3] = cluster.journal[7].replacing(cluster.journal[7].split(separator: "\"")[3], with: swapped)
        let report = cluster.audit()
        expectInvalid(report, "the record there is")
        #expect(report.missing == 1)
    }

    @Test func anotherOutcomeThanTheOneThatWasAcknowledged() {
        let cluster = cluster()
        let at = cluster.journal.firstIndex { $0.contains("\"accepted\"") }!
        cluster.journal[at] = cluster.journal[at].replacing("accepted", with: "insufficientFunds")
        let report = cluster.audit()
        expectInvalid(report, "acknowledged as insufficientFunds", "gives accepted")
        #expect(report.missing == 0)
    }

    @Test func anotherTimeThanTheOneThatWasAcknowledged() {
        let cluster = cluster()
        cluster.journal[0] = cluster.journal[0].replacing("}", with: "0}")
        expectInvalid(cluster.audit(), "acknowledged with ledger time")
    }

    @Test func anIDThatWasAcceptedTwice() {
        let cluster = cluster()
        let one = good(cluster, 1)
        let first = cluster.commit(1) { $0.append(one) }[0]
        cluster.journal(one, first)
        // A node whose index forgot the id accepts it again; the replay does not.
        let second = cluster.commit(1) { $0.append(one) }[0]
        #expect(first.outcome == .accepted && second.answer == .needsComparison)
        cluster.journal(
            one,
            Decision(
                outcome: .accepted, answer: .decided, slot: 0, window: WindowID(scheme: .domestic, number: 1),
                index: cluster.indexes[1], shard: ShardID(1), ledgerTime: cluster.wall))
        let report = cluster.audit()
        expectInvalid(report, "had decided the id before")
        #expect(report.doubled == 1 && report.missing == 0)
    }

    // MARK: - The log

    @Test func acknowledgedEntriesThatAMajorityLost() {
        let cluster = cluster()
        // Only node 1 has the last round; the others' disks were rolled back.
        cluster.round(to: [0])
        let report = cluster.audit()
        expectInvalid(report, "an acknowledged decision is lost")
        #expect(report.missing > 0)
    }

    @Test func committedEntriesThatAMajorityLost() {
        let cluster = cluster()
        cluster.round(to: [0])
        cluster.hint([0])
        let report = cluster.audit()
        expectInvalid(report, "are committed, but fewer than 2 of 3 voters hold them")
        #expect(report.missing == 0)
    }

    @Test func replicasThatDiffer() {
        let cluster = cluster()
        let one = good(cluster, 3)
        cluster.commit(3, to: [0, 1]) { $0.append(one) }
        // Node 3 has another entry of the same index and term.
        let index = cluster.indexes[3]
        var other = EntryBuilder()
        other.append(good(cluster, 3))
        let payload = other.seal(
            ledgerTime: WallTime(cluster.wall.rawValue), firstOrdinal: .zero,
            window: WindowID(scheme: .domestic, number: 1),
            flush: false)
        cluster.nodes[2].change {
            $0.append([RaftEntry(index: index, term: cluster.term, kind: .data, payload: payload)], shard: ShardID(3))
        }
        cluster.round()
        expectInvalid(cluster.audit(), "shard 3, entry \(index)", "must not differ")
    }

    @Test func ordinalsAndTimesThatDoNotContinue() {
        let cluster = cluster()
        var builder = EntryBuilder()
        builder.append(good(cluster, 2))
        cluster.append(
            .data,
            builder.seal(
                ledgerTime: WallTime(5), firstOrdinal: Ordinal(1_000_000),
                window: WindowID(scheme: .domestic, number: 1),
                flush: false), shard: 2)
        expectInvalid(cluster.audit(), "ledger time 5 does not continue", "its first ordinal is 1000000")
    }

    @Test func anEntryThatIsNone() {
        let cluster = cluster()
        cluster.append(.data, Slab([UInt8](repeating: 7, count: 200)), shard: 1)
        expectInvalid(cluster.audit(), "its checksum is right, but it is no entry")
    }

    // MARK: - Credits

    @Test func aBatchThatIsCreditedTwice() {
        let cluster = cluster()
        let key = SipHash(cluster: cluster.topology.cluster)
        cluster.commit(1) { cluster.exchange(1, &$0) }
        let last = cluster.ledger(1).incomingCursor(from: ShardID(2))
        let lines = cluster.ledger(2).unconfirmedBatches(to: ShardID(1)).last!.lines
        let again = CreditBatch(
            source: ShardID(2), destination: ShardID(1), number: last.number.next, sourceIndex: cluster.indexes[2],
            sourceTerm: cluster.term, directoryVersion: .zero, previousHash: last.hash, lines: lines, key: key)
        cluster.forge(1) {
            let added = $0.add(again)
            precondition(added)
        }
        let report = cluster.audit()
        expectInvalid(report, "credit batch \(last.number.next) from shard 2 to shard 1")
        #expect(report.imbalance > 0)
    }

    @Test func aBatchThatTheSourceNeverClosed() {
        let cluster = cluster()
        let key = SipHash(cluster: cluster.topology.cluster)
        for _ in 0..<12 {
            // Nothing new, until everything that was closed is applied.
            for shard in 1...3 { cluster.commit(shard) { cluster.exchange(shard, &$0) } }
        }
        let last = cluster.ledger(3).incomingCursor(from: ShardID(1))
        let creditor = cluster.population.participants.last {
            cluster.topology.slots.home(of: $0.id) == ShardID(3)
        }!
        let forged = CreditBatch(
            source: ShardID(1), destination: ShardID(3), number: last.number.next, sourceIndex: cluster.indexes[1],
            sourceTerm: cluster.term, directoryVersion: .zero, previousHash: last.hash,
            lines: [
                CreditLine(
                    participant: creditor.id, window: WindowID(scheme: .domestic, number: 1), amount: 12_345, count: 1)
            ],
            key: key)
        cluster.forge(3) {
            let added = $0.add(forged)
            precondition(added)
        }
        let report = cluster.audit()
        expectInvalid(report, "shard 1 never closed it", "12345")
        #expect(report.imbalance == 12_345)
    }

    @Test func amountsThatAreForgedOnTheWay() {
        let cluster = cluster()
        let key = SipHash(cluster: cluster.topology.cluster)
        let real = cluster.ledger(2).unconfirmedBatches(to: ShardID(1)).first {
            cluster.ledger(1).admission(of: $0) == .apply
        }!
        var lines = real.lines
        lines[0].amount += 1_000
        let forged = CreditBatch(
            source: real.source, destination: real.destination, number: real.number, sourceIndex: real.sourceIndex,
            sourceTerm: real.sourceTerm, directoryVersion: real.directoryVersion, previousHash: real.previousHash,
            lines: lines, key: key)
        cluster.forge(1) {
            let added = $0.add(forged)
            precondition(added)
        }
        let report = cluster.audit()
        expectInvalid(report, "credit batch \(real.number) from shard 2 to shard 1: the payments of shard 2")
        #expect(report.imbalance == 1_000)
    }

    @Test func aConfirmationOfWhatWasNeverApplied() {
        let cluster = cluster()
        let batch = cluster.ledger(2).unconfirmedBatches(to: ShardID(1)).last!
        cluster.forge(2) {
            let added = $0.add(CreditConfirmation(source: ShardID(2), destination: ShardID(1), cursor: batch.cursor))
            precondition(added)
        }
        expectInvalid(cluster.audit(), "shard 2 logged a confirmation of credit batch")
    }

    @Test func aConfirmationOfWhatWasNeverClosed() {
        let cluster = cluster()
        var cursor = cluster.ledger(1).lastClosed(to: ShardID(2))
        cursor.number = BatchNumber(cursor.number.rawValue + 5)
        cluster.forge(1) {
            let added = $0.add(CreditConfirmation(source: ShardID(1), destination: ShardID(2), cursor: cursor))
            precondition(added)
        }
        expectInvalid(cluster.audit(), "the stream of credits to shard 2 halts")
    }

    // MARK: - The directory and checkpoints

    @Test func aLimitThatTheDirectoryNeverSet() {
        let cluster = cluster()
        var one = cluster.population.participants[20]
        one.limit += 1
        cluster.commitDirectory([.participant(one)])
        var page = cluster.directoryLedger.update(after: cluster.ledger(1).directoryCursor, maxBytes: 10_000)!
        page.participants[0].record.limit += 5
        cluster.forge(1) {
            let added = $0.add(page)
            precondition(added)
        }
        expectInvalid(cluster.audit(), "the directory page", "is not what the directory decided")
    }

    @Test func aChangeThatWasLeftOut() {
        let cluster = cluster()
        var one = cluster.population.participants[20]
        one.limit += 1
        cluster.commitDirectory([.participant(one)])
        var page = cluster.directoryLedger.update(after: cluster.ledger(1).directoryCursor, maxBytes: 10_000)!
        page.participants = []
        cluster.forge(1) {
            let added = $0.add(page)
            precondition(added)
        }
        expectInvalid(cluster.audit(), "is missing")
    }

    @Test func aCheckpointOfAnotherState() {
        let cluster = cluster()
        cluster.checkpoint(shard: 1, node: 0)
        #expect(cluster.audit().checkpointsCompared == 1)
        let ledger = ShardLedger(
            shard: ShardID(2), cluster: cluster.topology.cluster, slots: cluster.topology.slots, shardCount: 3)
        cluster.nodes[1].checkpoint(
            ShardID(2), index: cluster.indexes[2], term: cluster.term, cluster.membership, ledger.encodeCheckpoint())
        expectInvalid(cluster.audit(), "A node's ledger and the replay disagree")
    }
}

extension AuditedCluster {
    func checkpoint(shard: Int, node: Int) {
        settle()
        nodes[node].checkpoint(
            ShardID(UInt16(shard)), index: indexes[shard], term: term, membership, ledger(shard).encodeCheckpoint())
    }
}
