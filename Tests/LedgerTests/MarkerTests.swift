import ClearingModel
import Ledger
import Testing
import Wire

@Suite("Markers are admitted before they are logged")
struct MarkerTests {
    @Test("a window beyond the bound is not, and nothing traps on the way there")
    func windows() {
        let ledger = ShardLedger(
            shard: ShardID(1), cluster: ClusterID(high: 1, low: 2), slots: SlotMap(shardCount: 1), shardCount: 1)
        var sequence = ledger.sequence
        var decisions: [Decision] = []
        var index = LogIndex.zero
        func commit(_ marker: Marker?) {
            var builder = EntryBuilder()
            if let marker {
                let added = builder.add(marker)
                #expect(added)
            }
            index = index.next
            let slab = sequence.seal(&builder, wall: WallTime(milliseconds: 1_795_406_400_000), flush: false)
            ledger.apply(slab.bytes, index: index, term: Term(1), decisions: &decisions)
            withExtendedLifetime(slab) {}
        }
        var opened = 1
        for _ in 0..<100 {
            let next = WindowID(scheme: .domestic, number: ledger.currentWindow.number + 1)
            #expect(ledger.admits(.openWindow(next)) == (ledger.nextWindow(of: .domestic) == next))
            #expect(!ledger.admits(.openWindow(WindowID(scheme: .domestic, number: next.number + 1))))
            #expect(!ledger.admits(.openWindow(ledger.currentWindow)))
            // As a leader does: only what is admitted is logged.
            if ledger.admits(.openWindow(next)) {
                commit(.openWindow(next))
                opened += 1
            }
            commit(nil)
            #expect(ledger.currentWindow.number == UInt32(opened))
        }
        #expect(opened == 64)
    }

    @Test("days in order, no more than may be open at a time")
    func days() {
        let ledger = ShardLedger(
            shard: ShardID(1), cluster: ClusterID(high: 1, low: 2), slots: SlotMap(shardCount: 1), shardCount: 1)
        let wall = WallTime(milliseconds: 1_795_406_400_000)
        let due = ledger.dueMarkers(at: wall)
        #expect(!due.isEmpty && due.allSatisfy { ledger.admits($0) })
        #expect(!ledger.admits(.closeDay(BusinessDay(20_000))))
    }
}
