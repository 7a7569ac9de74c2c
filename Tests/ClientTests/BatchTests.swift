import ClearingModel
import Client
import Testing
import Wire

@Suite("Requests of many records")
struct BatchTests {
    static func submit(_ world: inout World, _ records: [Instruction], token: UInt64) -> Int {
        records.withUnsafeBufferPointer {
            world.core.submit($0, deadline: world.now + .seconds(5), token: token, now: world.now, &world.out)
        }
    }

    @Test("a batch is split by shard and each record ends at its own position", arguments: [1, 7, 1_000, 20_000])
    func split(count: Int) {
        var world = World()
        world.step(3)
        let records = (0..<count).map { World.instruction(UInt64($0), debtor: UInt32(1 + $0 % 61)) }
        #expect(Self.submit(&world, records, token: 9) == count)
        world.step(5)
        #expect(world.completions.count == count)
        let byPosition = world.completions.sorted { $0.position < $1.position }
        #expect(byPosition.map(\.id) == records.map(\.id))
        #expect(byPosition.allSatisfy { $0.token == 9 })
        #expect(world.cluster.decided.count == count)
        let shards = Set(records.map { world.cluster.topology.slots.route($0.id) }).count
        let frames = world.cluster.submits
        #expect(frames >= shards && frames <= shards + count / Limits.maximumRecords)
    }

    @Test("one record that is refused does not take the others with it")
    func spoiled() {
        var world = World()
        world.step(3)
        var records = (0..<50).map { World.instruction(UInt64($0)) }
        records[17].kindCode = 200
        #expect(Self.submit(&world, records, token: 1) == 50)
        world.step(5)
        #expect(world.completions.count == 50)
        for completion in world.completions {
            if completion.position == 17 {
                #expect(completion.result == .refused(.malformed))
            } else if case .decided = completion.result {
            } else {
                #expect(Bool(false), "\(completion)")
            }
        }
    }

    @Test("a batch survives the loss of its leader")
    func lostLeader() {
        var world = World()
        world.step(3)
        let old = world.leader(of: 1)
        world.cluster.nodes[old].losesReplies = true
        _ = Self.submit(&world, (0..<300).map { World.instruction(UInt64($0)) }, token: 1)
        world.step(2)
        world.lead(1, world.follower(of: 1))
        world.kill(old)
        world.step(50)
        #expect(world.completions.count == 300)
        #expect(world.cluster.timesDecided.values.allSatisfy { $0 == 1 })
    }
}
