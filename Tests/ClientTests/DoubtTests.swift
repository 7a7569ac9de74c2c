import ClearingModel
import Client
import Testing
import Wire

@Suite("An id whose day is not open yet, and that was sent more than once")
struct DoubtTests {
    private func outcome(_ token: UInt64, _ world: World) -> Outcome? {
        if case .decided(let decision)? = world.result(token) { decision.outcome } else { nil }
    }

    @Test("asked once: the answer is told")
    func certain() {
        var world = World()
        world.cluster.outcome = { _ in .dayNotOpen }
        world.submit(1)
        world.step(5)
        #expect(outcome(1, world) == .dayNotOpen)
    }

    @Test("a late answer from before the day opened does not hide that another try was accepted")
    func late() {
        var world = World()
        world.step(3)
        let (old, next) = (world.leader(of: 1), world.follower(of: 1))
        world.cluster.outcome = { _ in .dayNotOpen }
        world.cluster.nodes[old].holdsReplies = true
        world.submit(1)
        world.step(2)
        world.cluster.outcome = { _ in .accepted }
        world.cluster.nodes[next].holdsReplies = true
        world.lead(1, next)
        world.step(700)
        #expect(world.cluster.timesDecided[World.instruction(1).id] == 1)
        world.cluster.release(old)
        world.step(5)
        #expect(world.completions.isEmpty)
        world.cluster.release(next)
        world.step(5)
        #expect(world.isAccepted(1) && world.completions.count == 1)
    }

    @Test("the next answer is no proof either: asked on until the day opens, or unknown", arguments: [false, true])
    func next(opens: Bool) {
        var world = World()
        world.step(3)
        let (old, next) = (world.leader(of: 1), world.follower(of: 1))
        world.cluster.outcome = { _ in .dayNotOpen }
        world.cluster.nodes[old].losesReplies = true
        world.submit(1, within: .seconds(3))
        world.step(2)
        world.lead(1, next)
        world.kill(old)
        world.step(1_500)
        #expect(world.completions.isEmpty && world.core.pendingRequests == 1)
        if opens { world.cluster.outcome = { _ in .accepted } }
        world.step(1_550)
        if opens { #expect(world.isAccepted(1)) } else { #expect(world.result(1) == .unknown) }
        #expect(world.completions.count == 1 && world.core.pendingRequests == 0)
        // Once a second, not as fast as answers come.
        #expect((2...5).contains(world.cluster.nodes[next].submits))
    }

    @Test("of many records those that are decided are told, and the others are asked for again")
    func batch() {
        var world = World()
        world.step(3)
        let (old, next) = (world.leader(of: 1), world.follower(of: 1))
        world.cluster.outcome = { $0.id.sequence % 2 == 0 ? .accepted : .dayNotOpen }
        world.cluster.nodes[old].losesReplies = true
        let records = (0..<10).map { World.instruction(UInt64($0)) }
        #expect(BatchTests.submit(&world, records, token: 9) == 10)
        world.step(2)
        world.lead(1, next)
        world.kill(old)
        world.step(500)
        #expect(world.completions.map(\.position).sorted() == [0, 2, 4, 6, 8])
        world.cluster.outcome = { _ in .accepted }
        world.step(1_500)
        #expect(world.completions.map(\.position).sorted() == Array(0..<10))
        #expect(world.completions.allSatisfy { $0.id == records[Int($0.position)].id && $0.token == 9 })
        for completion in world.completions {
            guard case .decided(let decision) = completion.result else { return #expect(Bool(false), "undecided") }
            #expect(decision.outcome == .accepted)
        }
        #expect(world.cluster.timesDecided.values.allSatisfy { $0 == 1 })
    }

    @Test("a late answer to all of a batch does not break the connection once the batch has lost a record")
    func shrunk() {
        var world = World()
        world.step(3)
        let (old, next) = (world.leader(of: 1), world.follower(of: 1))
        world.cluster.nodes[old].holdsReplies = true
        let records = (0..<10).map { World.instruction(UInt64($0)) }
        #expect(BatchTests.submit(&world, records, token: 9) == 10)
        world.step(2)
        world.lead(1, next)
        world.cluster.nodes[next].refusal = Refusal(.malformed, shard: world.shard(of: 1), record: 3)
        for _ in 0..<1_000 where world.completions.isEmpty { world.step() }
        #expect(world.completions.count == 1)
        world.cluster.nodes[next].refusal = nil
        world.cluster.nodes[next].holdsReplies = true
        world.step(2)
        let connections = world.open
        world.cluster.release(old)
        world.step()
        #expect(world.open == connections && world.completions.count == 1)
        world.cluster.release(next)
        world.step(5)
        #expect(world.completions.map(\.position).sorted() == Array(0..<10))
    }
}
