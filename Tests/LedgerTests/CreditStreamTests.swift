import ClearingModel
import Ledger
import Testing
import Wire

/// Two shards and a network that loses, repeats, delays and reorders batches and confirmations.
struct TwoShards {
    var random: SeededRandom
    let slots = SlotMap(shardCount: 2)
    let shards: [ShardDriver]
    /// Participants by home.
    let people: [[UInt32]]
    var batches: [CreditBatch] = []
    var confirmations: [CreditConfirmation] = []
    var sequence: UInt64 = 0
    var applied: [String: Int] = [:]

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        let slots = slots
        shards = [1, 2].map { ShardDriver(shard: $0, shardCount: 2, slots: slots) }
        people = [1, 2].map { shard in
            (1...40).filter { slots.home(of: ParticipantID($0)) == ShardID(shard) }
        }
        for shard in shards {
            shard.load((1...40).map { bank($0, limit: 1 << 40) })
            shard.open(testDay)
        }
    }

    mutating func pay(_ shard: Int) {
        let count = Int(random.below(20))
        var records: [Instruction] = []
        for _ in 0..<count {
            sequence += 1
            let debtor = random.pick(people[shard])
            let creditor = random.pick(random.chance(70) ? people[1 - shard] : people[shard])
            records.append(payment(debtor, creditor, 1 + random.below(1_000), sequence: sequence))
        }
        let incoming = batches.filter { $0.destination == shards[shard].ledger.shard }
        let answers = confirmations.filter { $0.source == shards[shard].ledger.shard }
        var taken: [CreditBatch] = []
        if !incoming.isEmpty, random.chance(60) {
            taken = (0...Int(random.below(3))).map { _ in random.pick(incoming) }
        }
        let confirmed = answers.isEmpty || random.chance(50) ? nil : random.pick(answers)
        let flush = random.chance(40)
        let before = shards[shard].ledger.incomingCursor(from: ShardID(UInt16(2 - shard)))
        shards[shard].entry(flush: flush) { builder in
            for record in records { builder.append(record) }
            for batch in taken { _ = builder.add(batch) }
            if let confirmed { _ = builder.add(confirmed) }
        }
        let after = shards[shard].ledger.incomingCursor(from: ShardID(UInt16(2 - shard)))
        for number in before.number.rawValue..<after.number.rawValue {
            applied["\(2 - shard)→\(shard + 1) \(number + 1)", default: 0] += 1
        }
    }

    /// Leaders send; the network keeps, repeats and drops.
    mutating func exchange() {
        for (shard, driver) in shards.enumerated() {
            let other = ShardID(UInt16(2 - shard))
            for batch in driver.ledger.unconfirmedBatches(to: other) where random.chance(50) { batches.append(batch) }
            if let confirmation = driver.ledger.confirmation(for: other), random.chance(50) {
                confirmations.append(confirmation)
            }
        }
        batches.removeAll { _ in random.chance(20) }
        confirmations.removeAll { _ in random.chance(20) }
    }

    /// Σ debits = Σ credits + in flight, at this cut.
    func imbalance() -> Int128 {
        var debits: Int128 = 0
        var credits: Int128 = 0
        for (shard, driver) in shards.enumerated() {
            for balance in driver.ledger.balances() {
                debits += Int128(balance.postedDebits)
                credits += Int128(balance.postedCredits)
            }
            let cursor = shards[1 - shard].ledger.incomingCursor(from: driver.ledger.shard)
            credits += Int128(driver.ledger.creditsInFlight(to: ShardID(UInt16(2 - shard)), after: cursor.number))
        }
        return debits - credits
    }
}

@Suite("Credits between shards")
struct CreditStreamTests {
    @Test(
        "whatever the network does, each batch is applied once and nothing is lost", arguments: [UInt64(1), 2, 3, 4, 5])
    func exchange(seed: UInt64) {
        var world = TwoShards(seed: seed)
        for _ in 0..<500 {
            world.pay(Int(world.random.below(2)))
            world.exchange()
            #expect(world.imbalance() == 0)
        }
        #expect(world.shards.allSatisfy { $0.ledger.counters.ignoredBatches > 0 })
        // The network heals: everything arrives.
        for _ in 0..<40 {
            for (shard, driver) in world.shards.enumerated() {
                let other = world.shards[1 - shard].ledger
                driver.entry(flush: true) { builder in
                    if let confirmation = other.confirmation(for: driver.ledger.shard) { _ = builder.add(confirmation) }
                    var cursor: CreditCursor?
                    for batch in other.unconfirmedBatches(to: driver.ledger.shard)
                    where driver.ledger.admission(of: batch, after: cursor) == .apply {
                        cursor = batch.cursor
                        _ = builder.add(batch)
                    }
                }
            }
        }
        for driver in world.shards {
            #expect(!driver.ledger.hasOpenCredits && !driver.ledger.hasClosableCredits)
            #expect(driver.ledger.haltedStreams.isEmpty)
            #expect(driver.ledger.balances().allSatisfy { $0.creditsInFlight == 0 })
        }
        #expect(world.imbalance() == 0)
        #expect(world.applied.count > 20 && world.applied.values.allSatisfy { $0 == 1 })
        let ledgers = world.shards.map(\.ledger)
        #expect(ledgers[0].lastClosed(to: ShardID(2)) == ledgers[1].incomingCursor(from: ShardID(1)))
        #expect(ledgers[1].lastClosed(to: ShardID(1)) == ledgers[0].incomingCursor(from: ShardID(2)))
    }

    @Test("a dead destination costs eight batches; what comes after merges, and goes out when it is back")
    func deadDestination() {
        var world = TwoShards(seed: 9)
        let source = world.shards[0]
        var amount: UInt64 = 0
        for n in 1...20 {
            amount += UInt64(n)
            source.entry(flush: true) {
                $0.append(payment(world.people[0][0], world.people[1][0], UInt64(n), sequence: UInt64(n)))
            }
        }
        #expect(source.ledger.unconfirmedBatches(to: ShardID(2)).count == Limits.maximumUnconfirmedBatches)
        #expect(source.ledger.hasOpenCredits && !source.ledger.hasClosableCredits)
        #expect(source.ledger.creditsInFlight(to: ShardID(2), after: .zero) == UInt128(amount))
        let first = source.ledger.unconfirmedBatches(to: ShardID(2))[0]
        source.entry(flush: true) {
            _ = $0.add(CreditConfirmation(source: ShardID(1), destination: ShardID(2), cursor: first.cursor))
        }
        let last = source.ledger.unconfirmedBatches(to: ShardID(2)).last!
        #expect(last.number == BatchNumber(9) && last.lineCount == 1 && last[0].count == 12)
        world.confirmations = []
    }

    @Test("a batch waits for the directory version of its sender")
    func directoryVersion() {
        let world = TwoShards(seed: 3)
        let (source, destination) = (world.shards[0], world.shards[1])
        let newcomer = (41...200).first { world.slots.home(of: ParticipantID($0)) == ShardID(2) }!
        source.load([bank(newcomer)])
        source.entry(flush: true) { $0.append(payment(world.people[0][0], newcomer, 5, sequence: 1)) }
        let batch = source.ledger.unconfirmedBatches(to: ShardID(2))[0]
        #expect(destination.ledger.admission(of: batch) == .waitsForDirectory(DirectoryVersion(41)))
        #expect(!destination.ledger.canApply(batch))
        destination.entry { _ = $0.add(batch) }
        #expect(destination.ledger.counters.ignoredBatches == 1)
        destination.load([bank(newcomer)])
        #expect(destination.ledger.canApply(batch))
        destination.entry { _ = $0.add(batch) }
        #expect(destination.ledger.position(of: ParticipantID(newcomer)).rows[0].postedCredits == 5)
        #expect(destination.ledger.admission(of: batch) == .alreadyApplied)
    }

    @Test(
        "in the middle of a transfer a sender stamps what it has been sent, a receiver counts only what it has in full")
    func directoryTransfer() {
        let world = TwoShards(seed: 3)
        let (source, destination) = (world.shards[0], world.shards[1])
        source.load([bank(41)], isComplete: false)
        #expect(source.ledger.directoryVersion == DirectoryVersion(40))
        source.entry(flush: true) { $0.append(payment(world.people[0][0], world.people[1][0], 5, sequence: 1)) }
        let batch = source.ledger.unconfirmedBatches(to: ShardID(2))[0]
        #expect(batch.directoryVersion == DirectoryVersion(41))
        destination.load([bank(42)], isComplete: false)
        #expect(destination.ledger.directoryCursor == DirectoryVersion(41))
        #expect(destination.ledger.admission(of: batch) == .waitsForDirectory(DirectoryVersion(41)))
        destination.load([bank(43)])
        #expect(destination.ledger.canApply(batch))
    }

    @Test("a credit from another shard counts for the sponsor too, and after a restart")
    func sponsored() throws {
        let world = TwoShards(seed: 3)
        let destination = world.shards[1]
        let sponsor = world.people[1][0]
        let indirect = (41...200).first { world.slots.home(of: ParticipantID($0)) == ShardID(2) }!
        destination.load([
            Participant(
                id: ParticipantID(indirect), kind: .indirect, currency: 156, limit: 10, sponsor: ParticipantID(sponsor))
        ])
        let before = destination.ledger.position(of: ParticipantID(sponsor)).available
        destination.entry { _ = $0.add(batch(1, amount: 70, to: indirect)) }
        #expect(destination.ledger.position(of: ParticipantID(indirect)).available == 80)
        #expect(destination.ledger.position(of: ParticipantID(sponsor)).available == before + 70)
        let content = destination.ledger.encodeCheckpoint()
        let restored = try CheckpointTests.restored(destination, state: content.state, deltas: content.index)
        #expect(
            restored.position(of: ParticipantID(sponsor)) == destination.ledger.position(of: ParticipantID(sponsor)))
    }

    func batch(
        _ number: UInt64, previous: UInt64 = 0, amount: UInt64 = 5, to creditor: UInt32, index: UInt64 = 9,
        window: UInt32 = 1
    ) -> CreditBatch {
        CreditBatch(
            source: ShardID(1), destination: ShardID(2), number: BatchNumber(number), sourceIndex: LogIndex(index),
            sourceTerm: Term(1), directoryVersion: DirectoryVersion(1), previousHash: previous,
            lines: [
                CreditLine(
                    participant: ParticipantID(creditor), window: WindowID(scheme: .domestic, number: window),
                    amount: amount, count: 1)
            ], key: SipHash(cluster: testCluster))
    }

    @Test("a stream that forked halts, says so, and stays halted after a restart; the rest of the shard goes on")
    func mismatch() throws {
        let world = TwoShards(seed: 4)
        let destination = world.shards[1]
        let creditor = world.people[1][0]
        let first = batch(1, to: creditor)
        destination.entry { _ = $0.add(first) }
        #expect(destination.ledger.admission(of: batch(3, to: creditor)) == .notYet(next: BatchNumber(2)))
        // Another batch under the cursor's number, and a second that does not name the first.
        #expect(destination.ledger.admission(of: batch(1, amount: 6, to: creditor)) == .mismatch)
        #expect(destination.ledger.admission(of: batch(2, previous: 1, to: creditor)) == .mismatch)
        #expect(destination.ledger.admission(of: batch(2, previous: first.hash, to: creditor, index: 8)) == .mismatch)
        let second = batch(2, previous: first.hash, to: creditor)
        #expect(destination.ledger.admission(of: second) == .apply)
        destination.entry { _ = $0.add(batch(2, previous: 1, to: creditor)) }
        let halted = HaltedStream(source: ShardID(1), destination: ShardID(2), reason: .mismatch)
        #expect(destination.ledger.haltedStreams == [halted])
        #expect(destination.ledger.admission(of: second) == .halted(.mismatch))
        destination.entry { _ = $0.add(second) }
        #expect(destination.ledger.incomingCursor(from: ShardID(1)) == first.cursor)
        #expect(destination.decide(payment(creditor, world.people[1][1], 1, sequence: 1)).outcome == .accepted)
        let content = destination.ledger.encodeCheckpoint()
        let restored = try CheckpointTests.restored(destination, state: content.state, deltas: content.index)
        #expect(restored.haltedStreams == [halted])
    }

    @Test("an unknown creditor, or a window far ahead, halts the stream and books nothing")
    func brokenBatches() {
        for bad in [batch(1, to: 77), batch(1, to: TwoShards(seed: 1).people[0][0])] {
            let destination = TwoShards(seed: 4).shards[1]
            destination.entry { _ = $0.add(bad) }
            #expect(destination.ledger.haltedStreams.map(\.reason) == [.unknownCreditor])
            #expect(destination.ledger.balances().isEmpty)
        }
        let destination = TwoShards(seed: 4).shards[1]
        let creditor = TwoShards(seed: 4).people[1][0]
        var previous: UInt64 = 0
        for n in 1...70 {
            let next = batch(UInt64(n), previous: previous, to: creditor, window: UInt32(n))
            destination.entry { _ = $0.add(next) }
            previous = next.hash
        }
        #expect(destination.ledger.haltedStreams.map(\.reason) == [.unknownWindow])
        #expect(destination.ledger.position(of: ParticipantID(creditor)).rows.count == 64)
    }

    @Test("confirmations trim only what the source closed")
    func confirmations() {
        let make = { () -> (ShardDriver, [CreditBatch]) in
            let world = TwoShards(seed: 5)
            let source = world.shards[0]
            for n in 1...3 {
                source.entry(flush: true) {
                    $0.append(payment(world.people[0][0], world.people[1][0], 1, sequence: UInt64(n)))
                }
            }
            return (source, source.ledger.unconfirmedBatches(to: ShardID(2)))
        }
        let confirm = { (driver: ShardDriver, cursor: CreditCursor) -> [StreamHalt] in
            driver.entry { _ = $0.add(CreditConfirmation(source: ShardID(1), destination: ShardID(2), cursor: cursor)) }
            return driver.ledger.haltedStreams.map(\.reason)
        }
        let (source, batches) = make()
        #expect(confirm(source, batches[1].cursor) == [])
        #expect(source.ledger.unconfirmedBatches(to: ShardID(2)) == [batches[2]])
        #expect(confirm(source, batches[0].cursor) == [])
        #expect(confirm(source, batches[1].cursor) == [])
        #expect(source.ledger.counters.ignoredConfirmations == 2)
        #expect(source.ledger.confirmed(by: ShardID(2)) == batches[1].cursor)

        let (ahead, _) = make()
        var cursor = batches[2].cursor
        cursor.number = BatchNumber(4)
        #expect(confirm(ahead, cursor) == [.cursorAhead])
        #expect(!ahead.ledger.hasClosableCredits)

        let (forked, _) = make()
        cursor = batches[2].cursor
        cursor.hash ^= 1
        #expect(confirm(forked, cursor) == [.confirmationMismatch])
        #expect(forked.ledger.unconfirmedBatches(to: ShardID(2)).count == 3)
    }

    @Test("a batch never spans windows, also where the old window's credits could not leave in time")
    func windows() {
        let world = TwoShards(seed: 6)
        let (source, destination) = (world.shards[0], world.shards[1])
        let (debtor, creditor) = (world.people[0][0], world.people[1][0])
        for n in 1...10 { source.entry(flush: true) { $0.append(payment(debtor, creditor, 1, sequence: UInt64(n))) } }
        let second = source.ledger.nextWindow(of: .domestic)!
        source.entry { builder in
            _ = builder.add(Marker.openWindow(second))
            builder.append(payment(debtor, creditor, 100, sequence: 11))
        }
        #expect(source.decisions[0].windowID == second)
        for _ in 0..<3 {
            destination.entry { builder in
                var cursor: CreditCursor?
                for batch in source.ledger.unconfirmedBatches(to: ShardID(2))
                where destination.ledger.admission(of: batch, after: cursor) == .apply {
                    #expect(Set(batch.lines.map(\.window)).count == 1)
                    cursor = batch.cursor
                    _ = builder.add(batch)
                }
            }
            source.entry(flush: true) { _ = $0.add(destination.ledger.confirmation(for: ShardID(1))!) }
        }
        // The destination's own window 1 is still open: the credit books in window 2 all the same.
        let rows = destination.ledger.position(of: ParticipantID(creditor)).rows
        #expect(rows.map(\.postedCredits) == [10, 100])
        #expect(rows.map(\.window.number) == [1, 2])
        #expect(destination.ledger.currentWindow.number == 1)
    }

    @Test("more creditors than one batch holds: several batches, in order, within the sections of an entry")
    func large() {
        let slots = SlotMap(shardCount: 2)
        let source = ShardDriver(shard: 1, shardCount: 2, slots: slots)
        var random = SeededRandom(seed: 8)
        let people = (1...12_000).map { UInt32($0) }
        for start in stride(from: 0, to: people.count, by: 2_000) {
            source.load(people[start..<start + 2_000].map { bank($0, limit: 1 << 40) })
        }
        source.open(testDay)
        let debtor = people.first { slots.home(of: ParticipantID($0)) == ShardID(1) }!
        let creditors = people.filter { slots.home(of: ParticipantID($0)) == ShardID(2) }.shuffled(using: &random)
        source.entry(flush: true) { builder in
            for (n, creditor) in creditors.enumerated() {
                builder.append(payment(debtor, creditor, 2, sequence: UInt64(n)))
            }
        }
        let batches = source.ledger.unconfirmedBatches(to: ShardID(2))
        #expect(batches.count == (creditors.count + CreditBatch.maximumLines - 1) / CreditBatch.maximumLines)
        #expect(batches.flatMap(\.lines).map(\.participant.rawValue) == creditors.sorted())
        for batch in batches {
            var builder = EntryBuilder()
            let added = builder.add(batch)
            #expect(added)
            let slab = builder.seal(
                ledgerTime: WallTime(1), firstOrdinal: .zero, window: WindowID(scheme: .domestic, number: 1),
                flush: false)
            withExtendedLifetime(slab) { #expect(ShardLedger.validate(slab.bytes) == nil) }
        }
    }

    @Test("an open credit that would overflow is refused, and the payment with it")
    func overflow() throws {
        let world = TwoShards(seed: 7)
        let source = world.shards[0]
        let (debtor, creditor) = (world.people[0][0], world.people[1][0])
        source.load([bank(debtor, limit: 1 << 60)])
        source.entry { $0.append(payment(debtor, creditor, 0x1122_3344, sequence: 1)) }
        // Eighteen million payments of the largest amount, written into the checkpoint instead.
        let content = source.ledger.encodeCheckpoint()
        var state = Array(content.state.bytes)
        let sum = withUnsafeBytes(of: UInt64(0x1122_3344).littleEndian) { Array($0) }
        let places = (0...state.count - 8).filter { Array(state[$0..<$0 + 8]) == sum }
        state.replaceSubrange(
            places.last!..<places.last! + 8, with: withUnsafeBytes(of: (UInt64.max - 10).littleEndian) { Array($0) })
        let ledger = try CheckpointTests.restored(source, state: Slab(state), deltas: content.index)
        let driver = ShardDriver(ledger)
        driver.index = source.index
        #expect(driver.decide(payment(debtor, creditor, 11, sequence: 2)).outcome == .positionOverflow)
        #expect(driver.decide(payment(debtor, creditor, 10, sequence: 3)).outcome == .accepted)
        #expect(driver.decide(payment(debtor, creditor, 1, sequence: 4)).outcome == .positionOverflow)
        #expect(driver.decide(payment(debtor, world.people[0][1], 11, sequence: 5)).outcome == .accepted)
    }
}
