import Audit
import ClearingModel
import Ledger
import Raft
import Testing
import Wire

/// Data directories as they should be: the verdict is valid.
struct ValidTests {
    @Test(arguments: UInt64(1)...4)
    func everythingThatHoldsIsValid(seed: UInt64) {
        let cluster = AuditedCluster(seed: seed)
        cluster.prepare()
        for _ in 0..<40 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
        #expect(report.acknowledged == UInt64(cluster.journal.count))
        #expect(report.imbalance == 0 && report.missing == 0 && report.doubled == 0)
        #expect(report.balances.first?.inFlight ?? 0 > 0, "\(report.table)")
        #expect(report.repeated > 0)
    }
}

/// Windows, days, sponsors, caps and directory changes in the middle of the work.
struct LedgerRuleTests {
    @Test(arguments: UInt64(1)...8)
    func everySectionIsReplayedLikeTheLedgerDoes(seed: UInt64) {
        let cluster = AuditedCluster(seed: seed, participants: 40)
        cluster.prepare()
        var random = SeededRandom(seed: seed)
        var people = cluster.population.participants
        var window: UInt32 = 1
        for turn in 0..<60 {
            switch random.below(6) {
            case 0:
                // Small limits, other states, an indirect participant and its sponsor.
                let at = Int(random.below(UInt64(people.count)))
                people[at].limit = random.below(200_000)
                people[at].status = ParticipantStatus(rawValue: UInt8(1 + random.below(5)))!
                if random.below(2) == 0 { people[at].status = .active }
                // Its sponsor may owe little, so that the two together reach a limit.
                let sponsor = 20 + Int(random.below(10))
                people[sponsor].limit = 100_000
                people[sponsor].status = .active
                let indirect = Participant(
                    id: ParticipantID(1_000 + UInt32(turn)), kind: .indirect, currency: Population.currency,
                    limit: 500_000, sponsor: people[sponsor].id)
                cluster.commitDirectory([.participant(people[sponsor])])
                cluster.commitDirectory([.participant(people[at]), .participant(indirect)])
                people.append(indirect)
                cluster.people = people
                cluster.commitDirectory(
                    (16..<40).map { bank in
                        .mandate(
                            Mandate(
                                instructing: ParticipantID(1 + UInt32(random.below(4))),
                                debtors: .one(cluster.population.participants[bank].id), maximumAmount: 45_000,
                                dailyCap: random.below(4) == 0 ? 0 : 90_000, revoked: random.below(6) == 0))
                    })
            case 1:
                window += 1
                for shard in 1...3 where random.below(4) > 0 {
                    let next = cluster.ledger(shard).nextWindow(of: .domestic)!
                    cluster.commit(shard) { builder in
                        let added = builder.add(Marker.openWindow(next))
                        precondition(added)
                    }
                }
            case 2:
                let day = BusinessDay(cluster.day.rawValue + UInt16(random.below(3)))
                for shard in 1...3 {
                    cluster.commit(shard) { builder in
                        let isEnd = random.below(3) == 0 && day != cluster.day
                        let added = builder.add(isEnd ? Marker.closeDay(day) : Marker.openDay(day))
                        precondition(added)
                    }
                }
            default: break
            }
            for shard in 1...3 { cluster.sendDirectory(shard, maxBytes: 200) }
            cluster.round()
        }
        for shard in 1...3 { cluster.checkpoint(shard: shard, node: Int(random.below(3))) }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.checkpointsCompared == 3 && report.imbalance == 0)
        #expect(report.payments == UInt64(cluster.accepted))
    }

    @Test func whatBecameOfUnknownsIsCounted() {
        let cluster = AuditedCluster(seed: 3)
        cluster.prepare()
        for _ in 0..<10 { cluster.round() }
        let accepted = cluster.journal.count { $0.contains("\"accepted\"") }
        let rejected = cluster.journal.count { $0.contains("\"amountZero\"") }
        for line in cluster.journal where line.contains("\"accepted\"") || line.contains("\"amountZero\"") {
            let id = line.split(separator: "\"")[3]
            cluster.journal.append(
                "{\"id\":\"\(id)\",\"outcome\":\"unknown\",\"shard\":1,\"index\":0,\"slot\":0,\"window\":0,\"ledgerTime\":0}"
            )
        }
        for (name, sequence) in [("unknown", 900_001), ("overloaded", 900_002), ("other", 900_003)] {
            cluster.journal.append(
                "{\"id\":\"30-1-20261123-\(sequence)\",\"outcome\":\"\(name)\",\"shard\":1,\"index\":0,\"slot\":0,\"window\":0,\"ledgerTime\":0}"
            )
        }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.unknownAccepted == UInt64(accepted) && report.unknownRejected == UInt64(rejected))
        #expect(report.unknownNeverDecided == 1 && report.refused == 2)
    }
}
