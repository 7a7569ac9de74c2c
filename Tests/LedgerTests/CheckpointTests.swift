import ClearingModel
import Ledger
import Testing
import Wire

@Suite("Checkpoint and restore")
struct CheckpointTests {
    static func restored(_ driver: ShardDriver, state: Slab, deltas: [Slab]) throws -> ShardLedger {
        let ledger = driver.ledger
        return try ShardLedger(
            restoring: state, deltas: deltas, shard: ledger.shard, cluster: testCluster, slots: ledger.slots,
            shardCount: ledger.shardCount, options: ledger.options)
    }

    @Test(
        "a replica restored at any point goes on byte for byte like one that never stopped",
        arguments: [UInt64(11), 12, 13])
    func equality(seed: UInt64) throws {
        var world = RandomWorld(seed: seed)
        var deltas: [Slab] = []
        var restored: ShardLedger?
        var decisions: [Decision] = []
        var checkpoints = 0
        for _ in 0..<400 {
            let before = world.driver.log.count
            world.step()
            let driver = world.driver
            for position in before..<driver.log.count {
                let index = LogIndex(UInt64(position + 1))
                restored?.apply(driver.log[position], index: index, term: driver.term, decisions: &decisions)
            }
            if let restored {
                if driver.log.count > before, driver.sequence.nextOrdinal == restored.nextOrdinal {
                    #expect(decisions == driver.decisions)
                }
                #expect(restored.runningHash == driver.ledger.runningHash)
            }
            if world.random.chance(10) {
                if let restored {
                    #expect(restored.stateHash == driver.ledger.stateHash)
                    #expect(restored.encodeState() == driver.ledger.encodeState())
                }
                let content = driver.ledger.encodeCheckpoint()
                deltas += content.index
                let one = try Self.restored(driver, state: content.state, deltas: deltas)
                #expect(one.encodeState() == content.state)
                #expect(one.balances() == driver.ledger.balances())
                restored = one
                checkpoints += 1
            }
        }
        #expect(checkpoints > 10)
    }

    @Test("the newest state with any index part missing is refused, and so is another shard's")
    func incomplete() throws {
        var world = RandomWorld(seed: 21)
        var deltas: [Slab] = []
        for _ in 0..<60 { world.records() }
        deltas += world.driver.ledger.encodeCheckpoint().index
        for _ in 0..<60 { world.records() }
        let content = world.driver.ledger.encodeCheckpoint()
        deltas += content.index
        #expect(deltas.count >= 2)
        for missing in deltas.indices {
            var some = deltas
            some.remove(at: missing)
            #expect(throws: CheckpointError.self) {
                try Self.restored(world.driver, state: content.state, deltas: some)
            }
        }
        // Parts that overlap are as good as parts that do not.
        _ = try Self.restored(world.driver, state: content.state, deltas: deltas + deltas)
        #expect(throws: CheckpointError.foreign) {
            try ShardLedger(
                restoring: content.state, deltas: deltas, shard: ShardID(2), cluster: testCluster,
                slots: world.slots, shardCount: 3)
        }
        #expect(throws: CheckpointError.foreign) {
            try ShardLedger(
                restoring: content.state, deltas: deltas, shard: ShardID(1), cluster: ClusterID(high: 1, low: 1),
                slots: world.slots, shardCount: 3)
        }
    }

    @Test("damaged states are refused or restored, never trapped on")
    func damage() {
        var world = RandomWorld(seed: 31)
        for _ in 0..<80 { world.step() }
        let content = world.driver.ledger.encodeCheckpoint()
        let state = Array(content.state.bytes)
        var refused = 0
        for _ in 0..<2_000 {
            var bytes = state
            if world.random.chance(30) {
                bytes.removeLast(Int(world.random.below(UInt64(bytes.count))))
            } else {
                bytes[Int(world.random.below(UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: world.random.next())
            }
            if (try? Self.restored(world.driver, state: Slab(bytes), deltas: content.index)) == nil {
                refused += 1
            }
        }
        #expect(refused > 500)
    }

    @Test("a checkpoint is due where the log crosses a multiple of the interval, on every replica alike")
    func due() throws {
        let options = LedgerOptions(checkpointIntervalBytes: 10_000)
        let driver = ShardDriver(options: options)
        driver.load([bank(1), bank(2)])
        driver.open(testDay)
        var due: [UInt64] = []
        for n in 0..<300 {
            driver.decide(payment(1, 2, 1, sequence: UInt64(n)))
            if driver.ledger.checkpointDue {
                due.append(driver.index.rawValue)
                #expect(driver.ledger.appliedBytes / 10_000 == UInt64(due.count))
                let content = driver.ledger.encodeCheckpoint()
                #expect(!driver.ledger.checkpointDue)
                // The replica that starts here goes on with the same rhythm.
                if due.count == 3 {
                    let deltas = content.index
                    #expect(throws: CheckpointError.self) {
                        try Self.restored(driver, state: content.state, deltas: deltas)
                    }
                }
            }
        }
        #expect(due.count == Int(driver.ledger.appliedBytes / 10_000))
    }

    @Test("a closed day is found until it is out of retention, then expired; older index parts are not needed")
    func retention() throws {
        let driver = ShardDriver(options: LedgerOptions(retainedClosedDays: 1))
        driver.load([bank(1), bank(2)])
        var deltas: [Slab] = []
        let days = (0..<4).map { BusinessDay(testDay.rawValue + $0) }
        for day in days {
            driver.open(day)
            driver.decide(payment(1, 2, 1, sequence: 1, day: day))
            deltas += driver.ledger.encodeCheckpoint().index
            if day > testDay { driver.entry { _ = $0.add(Marker.closeDay(BusinessDay(day.rawValue - 1))) } }
        }
        #expect(driver.ledger.openDays == [days[3]])
        #expect(driver.ledger.retainedDays == [days[2]])
        #expect(driver.ledger.lookup(payment(1, 2, 1, sequence: 1, day: days[2]).id)?.outcome == .accepted)
        #expect(driver.ledger.lookup(payment(1, 2, 1, sequence: 1, day: days[1]).id) == nil)
        #expect(driver.ledger.isExpired(days[1]) && !driver.ledger.isExpired(days[2]))
        #expect(!driver.ledger.isExpired(days[3].next))
        // In a closed day nothing is decided any more, not even a duplicate: that is for the leader to look up.
        #expect(driver.decide(payment(1, 2, 1, sequence: 1, day: days[2])).outcome == .dayNotOpen)
        let content = driver.ledger.encodeCheckpoint()
        let restored = try Self.restored(driver, state: content.state, deltas: Array(deltas[2...]) + content.index)
        #expect(restored.lookup(payment(1, 2, 1, sequence: 1, day: days[2]).id)?.outcome == .accepted)
        #expect(restored.stateHash == driver.ledger.stateHash)
    }
}
