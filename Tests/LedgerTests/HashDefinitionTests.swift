import ClearingModel
import Ledger
import Testing
import Wire

/// docs/ENTRIES.md, "Hashes", written down a second time from the page.
@Suite("Hashes as the page defines them")
struct HashDefinitionTests {
    static func step(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let p = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        return p ^ (p >> 32)
    }

    static func bodyCheck(_ record: Instruction) -> UInt64 {
        record.withBytes { bytes in
            var sum: UInt64 = 0
            for i in 2..<16 {
                var word: UInt64 = 0
                for j in 0..<8 { word |= UInt64(bytes[i * 8 + j]) << UInt64(8 * j) }
                sum = sum &+ word &* UInt64(2 * i + 1)
            }
            return (sum &* 0x9E37_79B9_7F4A_7C15) >> 48
        }
    }

    @Test("running hash: sections, records, batches, place", arguments: [UInt64(1), 2])
    func runningHash(seed: UInt64) {
        var world = RandomWorld(seed: seed)
        var hash = world.driver.ledger.runningHash
        var term = Term(1)
        for _ in 0..<200 {
            let driver = world.driver
            if world.random.chance(10) { term = term.next }
            driver.term = term
            let before = (2...3).map { driver.ledger.lastClosed(to: ShardID(UInt16($0))).number }
            let confirmedBefore = driver.ledger.confirmed(by: ShardID(2))
            let records = (0..<Int(world.random.below(30))).map { _ in world.randomRecord() }
            let unconfirmed = driver.ledger.unconfirmedBatches(to: ShardID(2))
            let ordinal = driver.ledger.nextOrdinal.rawValue
            let decisions = driver.entry(at: WallTime(world.clock), flush: world.random.chance(50)) { builder in
                if let one = unconfirmed.first {
                    _ = builder.add(
                        CreditConfirmation(source: ShardID(1), destination: ShardID(2), cursor: one.cursor))
                }
                for record in records { builder.append(record) }
            }
            let confirmed = driver.ledger.confirmed(by: ShardID(2))
            if confirmed != confirmedBefore { hash = Self.step(hash, confirmed.hash) }
            for (slot, decision) in decisions.enumerated() {
                if decision.answer == .needsComparison {
                    hash = Self.step(hash, decision.index | 255 << 40)
                } else {
                    hash = Self.step(
                        hash,
                        ordinal + UInt64(slot) | UInt64(decision.outcomeCode) << 40
                            | Self.bodyCheck(records[slot]) << 48)
                }
            }
            for other in 2...3 {
                for batch in driver.ledger.unconfirmedBatches(to: ShardID(UInt16(other)))
                where batch.number > before[other - 2] { hash = Self.step(hash, batch.hash) }
            }
            hash = Self.step(hash, driver.index.rawValue)
            hash = Self.step(hash, term.rawValue)
            hash = Self.step(hash, driver.ledger.lastLedgerTime.rawValue)
            hash = Self.step(hash, driver.ledger.directoryCursor.rawValue)
            #expect(driver.ledger.runningHash == hash)
        }
    }

    @Test("the state hash is that of the state's bytes, and the state begins as the page says")
    func state() {
        var world = RandomWorld(seed: 3)
        for _ in 0..<20 { world.step() }
        let ledger = world.driver.ledger
        let state = ledger.encodeState()
        #expect(ledger.stateHash == SipHash(cluster: testCluster).hash(state))
        let bytes = Array(state.bytes)
        let word = { (offset: Int) in (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) } }
        #expect(Array(bytes[0..<8]) == [1, 0, 1, 0, 3, 0, 0, 0])
        #expect(word(8) == testCluster.high && word(16) == testCluster.low)
        #expect(word(24) == world.driver.index.rawValue && word(32) == 1)
        #expect(word(40) == ledger.lastLedgerTime.rawValue && word(48) == ledger.nextOrdinal.rawValue)
        #expect(word(56) == ledger.appliedBytes && word(64) == ledger.runningHash)
    }

    @Test("sums under daily caps end with their day")
    func caps() {
        let sizes = [true, false].map { capped in
            let driver = OutcomeTableTests.driver()
            driver.decide(payment(1, 2, 100, sequence: 1, instructing: capped ? 6 : 1))
            let open = driver.ledger.encodeState().count
            driver.entry { _ = $0.add(Marker.closeDay(testDay)) }
            return (open, driver.ledger.encodeState().count)
        }
        #expect(sizes[0].0 == sizes[1].0 + 24)
        #expect(sizes[0].1 == sizes[1].1)
    }
}
