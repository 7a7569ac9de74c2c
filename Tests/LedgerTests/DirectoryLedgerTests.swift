import ClearingModel
import Ledger
import Testing
import Wire

/// The directory, driven command by command.
final class DirectoryDriver {
    var ledger = DirectoryLedger(cluster: testCluster)
    var index = LogIndex.zero
    lazy var sequence = ledger.sequence

    @discardableResult
    func apply(_ commands: [[DirectoryChange]]) -> [DirectoryChangeReply] {
        var builder = EntryBuilder()
        for command in commands {
            let added = builder.add(DirectoryChangeRequest(changes: command))
            precondition(added)
        }
        let slab = sequence.seal(&builder, wall: .zero, flush: false)
        index = index.next
        var replies: [DirectoryChangeReply] = []
        ledger.apply(slab, index: index, term: Term(1), replies: &replies)
        return replies
    }

    func apply(_ changes: [DirectoryChange]) -> DirectoryChangeReply { apply([changes])[0] }
}

@Suite("Directory")
struct DirectoryLedgerTests {
    func mandate(
        _ instructing: UInt32, _ debtors: Mandate.Debtors, kinds: InstructionKinds = .payments, amount: UInt64 = 5,
        cap: UInt64 = 0
    ) -> DirectoryChange {
        .mandate(
            Mandate(
                instructing: ParticipantID(instructing), debtors: debtors, kinds: kinds, maximumAmount: amount,
                dailyCap: cap))
    }

    @Test("every fault, and nothing of a faulty command applied")
    func faults() {
        let indirect = { (id: UInt32, sponsor: UInt32, currency: UInt16) in
            DirectoryChange.participant(
                Participant(
                    id: ParticipantID(id), kind: .indirect, currency: currency, limit: 1,
                    sponsor: ParticipantID(sponsor)))
        }
        let bad: [(DirectoryChange, DirectoryFault)] = [
            (.participant(bank(0)), .invalidID),
            (.participant(Participant(id: ParticipantID(9), kind: .bank, currency: 0, limit: 1)), .invalidCurrency),
            (.participant(Participant(id: ParticipantID(9), kind: .bank, currency: 1_000, limit: 1)), .invalidCurrency),
            (.participant(bank(9, limit: Limits.maximumParticipantLimit + 1)), .amountTooLarge),
            (.participant(bank(9, funding: Limits.maximumParticipantLimit + 1)), .amountTooLarge),
            (
                .participant(Participant(id: ParticipantID(1), kind: .acquirer, currency: 156, limit: 1)),
                .immutableField
            ),
            (.participant(Participant(id: ParticipantID(1), kind: .bank, currency: 840, limit: 1)), .immutableField),
            (indirect(3, 2, 156), .immutableField),
            (indirect(9, 0, 156), .unknownSponsor), (indirect(9, 8, 156), .unknownSponsor),
            (indirect(9, 3, 156), .unknownSponsor), (indirect(9, 1, 840), .unknownSponsor),
            (
                .participant(
                    Participant(
                        id: ParticipantID(9), kind: .bank, currency: 156, limit: 1, sponsor: ParticipantID(1))),
                .unknownSponsor
            ),
            (mandate(9, .every(.bank)), .unknownInstructing), (mandate(1, .one(ParticipantID(9))), .unknownDebtor),
            (mandate(1, .one(ParticipantID(1))), .unknownDebtor), (mandate(1, .every(.regulator)), .unknownDebtor),
            (mandate(1, .every(.bank), kinds: []), .unknownKinds),
            (mandate(1, .every(.bank), kinds: InstructionKinds(rawValue: 1 << 40)), .unknownKinds),
            (mandate(1, .every(.bank), kinds: InstructionKinds(.queryOrVoid)), .unknownKinds),
            (mandate(1, .every(.bank), amount: Limits.maximumAmount + 1), .amountTooLarge),
            (mandate(1, .every(.bank), cap: Limits.maximumParticipantLimit + 1), .amountTooLarge),
        ]
        for (change, fault) in bad {
            let driver = DirectoryDriver()
            let start = driver.apply([.participant(bank(1)), .participant(bank(2)), indirect(3, 1, 156)])
            #expect(start == DirectoryChangeReply(version: DirectoryVersion(3)))
            let state = driver.ledger.participantList
            let reply = driver.apply([.participant(bank(4)), change, .participant(bank(5))])
            #expect(reply.failures == [.init(change: 1, fault: fault)], "\(change)")
            #expect(reply.version == DirectoryVersion(3) && driver.ledger.version == DirectoryVersion(3))
            #expect(driver.ledger.participantList == state)
            #expect(driver.ledger.faults(in: [change]).map(\.fault) == [fault])
        }
        let reached = Set(bad.map(\.1))
        #expect(Set(DirectoryFault.allCases).subtracting(reached) == [.tooManyParticipants, .tooManyMandates])
    }

    @Test("a command sees its own earlier changes; each change has a version")
    func commands() {
        let driver = DirectoryDriver()
        let replies = driver.apply([
            [.participant(bank(1)), mandate(1, .one(ParticipantID(2)))],
            [.participant(bank(1)), .participant(bank(2)), mandate(1, .one(ParticipantID(2)))],
            [.participant(bank(2, limit: 7))],
        ])
        #expect(replies.map(\.version.rawValue) == [0, 3, 4])
        #expect(replies[0].failures == [.init(change: 1, fault: .unknownDebtor)])
        #expect(driver.ledger.participant(ParticipantID(2))?.version == DirectoryVersion(4))
        #expect(driver.ledger.participant(ParticipantID(2))?.record.limit == 7)
        #expect(driver.ledger.mandate(ParticipantID(1), .one(ParticipantID(2)))?.version == DirectoryVersion(3))
        #expect(driver.ledger.commandCount == 3)
        let page = driver.ledger.list(DirectoryListRequest(.participants, maximumItems: 1))
        #expect(page.items == [.participant(bank(1))] && page.next == 1)
        let last = driver.ledger.list(DirectoryListRequest(.participants, cursor: 1))
        #expect(last.items == [.participant(bank(2, limit: 7))] && last.next == 0)
    }

    @Test("bounds on participants and mandates")
    func bounds() {
        let driver = DirectoryDriver()
        var next: UInt32 = 1
        while next <= UInt32(Limits.maximumParticipants) {
            let end = min(next + 2_000, UInt32(Limits.maximumParticipants) + 1)
            let reply = driver.apply((next..<end).map { .participant(bank($0)) })
            #expect(reply.failures.isEmpty)
            next = end
        }
        #expect(driver.ledger.participantCount == Limits.maximumParticipants)
        #expect(driver.apply([.participant(bank(next))]).failures.map(\.fault) == [.tooManyParticipants])
        // A change of one that is there is no addition.
        #expect(driver.apply([.participant(bank(5, limit: 3)), .participant(bank(6))]).failures.isEmpty)
        var made = 0
        for instructing in UInt32(1)...200 {
            let changes = (0..<1_000).map { mandate(instructing, .one(ParticipantID(1_000 + $0))) }
            made += driver.apply(changes).failures.isEmpty ? 1_000 : 0
        }
        #expect(made == Limits.maximumMandates && driver.ledger.mandateCount == made)
        #expect(driver.apply([mandate(300, .every(.bank))]).failures.map(\.fault) == [.tooManyMandates])
    }

    @Test("checkpoint and restore", arguments: [UInt64(1), 2])
    func checkpoint(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let driver = DirectoryDriver()
        driver.apply([(1...50).map { .participant(bank($0)) }])
        for _ in 0..<100 {
            let change: DirectoryChange =
                random.chance(50)
                ? .participant(bank(UInt32(1 + random.below(60)), limit: random.below(1_000)))
                : mandate(UInt32(1 + random.below(70)), .one(ParticipantID(UInt32(1 + random.below(70)))))
            driver.apply([[change]])
        }
        let content = driver.ledger.encodeCheckpoint()
        let restored = try DirectoryLedger(restoring: content.state, cluster: testCluster)
        #expect(restored.stateHash == driver.ledger.stateHash)
        #expect(restored.participantList == driver.ledger.participantList)
        #expect(restored.mandateList == driver.ledger.mandateList)
        #expect(restored.sequence == driver.ledger.sequence)
        driver.apply([[.participant(bank(99))]])
        driver.ledger = restored
        driver.index = restored.appliedIndex
        driver.sequence = restored.sequence
        #expect(driver.apply([.participant(bank(99))]).failures.isEmpty)
        #expect(throws: CheckpointError.foreign) {
            try DirectoryLedger(restoring: content.state, cluster: ClusterID(high: 1, low: 1))
        }
        let bytes = Array(content.state.bytes)
        for _ in 0..<2_000 {
            var damaged = bytes
            damaged[Int(random.below(UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: random.next())
            _ = try? DirectoryLedger(restoring: Slab(damaged), cluster: testCluster)
        }
        #expect(throws: CheckpointError.self) {
            try DirectoryLedger(restoring: Slab(Array(bytes.dropLast())), cluster: testCluster)
        }
    }

    @Test("pages reach every shard while the directory goes on changing", arguments: [UInt64(1), 2, 3])
    func paging(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let driver = DirectoryDriver()
        let shard = ShardDriver()
        // An empty directory still has a calendar to tell.
        let first = try #require(driver.ledger.update(after: .zero, maxBytes: 1_000))
        #expect(first.isComplete && first.participants.isEmpty)
        driver.apply([(1...200).map { .participant(bank($0)) }])
        var pages = 0
        var incomplete = 0
        for _ in 0..<400 {
            if random.chance(60), driver.ledger.participantCount > 0 {
                let id = UInt32(1 + random.below(220))
                driver.apply([[.participant(bank(id, limit: random.below(1_000_000)))]])
                if random.chance(30) {
                    driver.apply([[mandate(UInt32(1 + random.below(200)), .every(random.pick([.bank, .acquirer])))]])
                }
            }
            guard let page = driver.ledger.update(after: shard.ledger.directoryCursor, maxBytes: 700) else { continue }
            var writer = WireWriter()
            page.encode(into: &writer)
            #expect(writer.count <= 700)
            let decoded = try writer.bytes.withUnsafeBytes { bytes throws in try DirectoryUpdate(decoding: bytes) }
            #expect(decoded == page)
            shard.entry { _ = $0.add(page) }
            // The same page again, as a leader's second proposal, changes nothing.
            let state = (shard.ledger.directoryCursor, shard.ledger.directoryVersion)
            shard.entry { _ = $0.add(page) }
            #expect(
                state == (shard.ledger.directoryCursor, shard.ledger.directoryVersion) || page.after == page.through)
            #expect(shard.ledger.directoryCursor == page.through)
            pages += 1
            if page.isComplete {
                #expect(shard.ledger.directoryVersion == driver.ledger.version)
                #expect(shard.ledger.participants == driver.ledger.participantList)
                #expect(shard.ledger.mandateList == driver.ledger.mandateList)
            } else {
                #expect(shard.ledger.directoryVersion < shard.ledger.directoryCursor)
                incomplete += 1
            }
        }
        #expect(pages > 50 && incomplete > 10)
        #expect(shard.ledger.counters.ignoredUpdates > 0)
        while let page = driver.ledger.update(after: shard.ledger.directoryCursor, maxBytes: 700) {
            shard.entry { _ = $0.add(page) }
        }
        #expect(shard.ledger.participants == driver.ledger.participantList)
        #expect(shard.ledger.directoryVersion == driver.ledger.version)
    }
}
