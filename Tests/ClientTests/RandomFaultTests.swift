import ClearingModel
import Client
import Testing
import Wire

@Suite("Random faults")
struct RandomFaultTests {
    /// Every record ends exactly once, by its deadline; what ended as decided is what the cluster decided, and what ended
    /// as refused was not decided.
    @Test("every submitted record ends once and truthfully", arguments: UInt64(1)...100)
    func everyRecordEnds(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var configuration = ClientConfiguration()
        configuration.seed = seed
        configuration.maximumInflightRequests = 5 + Int(random.below(200))
        configuration.keepAllConnected = random.below(2) == 0
        let identities = 1 + Int(random.below(3))
        let nodes = 3 + Int(random.below(3))
        if random.below(2) == 0 { configuration.connections = nodes + Int(random.below(6)) }
        if random.below(4) == 0 { configuration.maximumInflightOfShard = 1 + Int(random.below(10)) }
        var world = World(
            nodes: nodes, shards: 1 + Int(random.below(6)), identities: identities,
            configuration: configuration)
        world.cluster.outcome = { $0.amount % 7 == 0 ? .insufficientFunds : .accepted }
        var deadlines: [UInt64: MonotonicTime] = [:]
        var sizes: [UInt64: Int] = [:]
        var ids: [UInt64: [TransactionID]] = [:]
        var sequence: UInt64 = 0
        for token in UInt64(0)..<1_500 {
            let within = MonotonicTime.Span.milliseconds(20 + random.below(3_000))
            let count = random.below(4) == 0 ? 1 + Int(random.below(40)) : 1
            let records = (0..<count).map { _ in
                sequence += 1
                return World.instruction(sequence, debtor: UInt32(1 + random.below(200)))
            }
            deadlines[token] = world.now + within
            let identity = Int(random.below(UInt64(identities)))
            sizes[token] = count
            ids[token] = records.map(\.id)
            if count == 1 {
                _ = world.core.submit(
                    records[0], identity: identity, deadline: world.now + within, token: token, now: world.now,
                    &world.out)
            } else {
                _ = records.withUnsafeBufferPointer {
                    world.core.submit(
                        $0, identity: identity, deadline: world.now + within, token: token, now: world.now, &world.out)
                }
            }
            if random.below(8) == 0 { Self.fault(&world, &random) }
            world.step(Int(random.below(4)))
        }
        world.step(3_200)
        check(world, deadlines, sizes, ids)
        Self.heal(&world)
        world.step(3_000)
        world.submit(1_000_000, within: .seconds(2))
        world.step(2_000)
        guard case .decided? = world.result(1_000_000) else {
            return #expect(Bool(false), "healed, and yet \(String(describing: world.result(1_000_000)))")
        }
        #expect(world.core.pendingRequests == 0 && world.core.waitingRequests == 0)
        // What frozen nodes held has been read by now: an id that was called undecided still is.
        for completion in world.completions {
            if case .refused = completion.result { #expect(world.cluster.decided[completion.id] == nil) }
        }
    }

    private func check(
        _ world: World, _ deadlines: [UInt64: MonotonicTime], _ sizes: [UInt64: Int], _ ids: [UInt64: [TransactionID]]
    ) {
        var ended: [UInt64: [UInt32]] = [:]
        for completion in world.completions {
            ended[completion.token, default: []].append(completion.position)
            #expect(ids[completion.token]?[Int(completion.position)] == completion.id)
            switch completion.result {
            case .decided(let decision):
                let original = world.cluster.decided[completion.id]
                #expect(original?.outcomeCode == decision.outcomeCode && original?.index == decision.index)
            case .refused: #expect(world.cluster.decided[completion.id] == nil, "refused, but decided")
            case .conflict: #expect(Bool(false), "no id was used twice")
            case .unknown: break
            case .expired: #expect(Bool(false), "no day is that old")
            }
        }
        for (token, size) in sizes {
            #expect(ended[token]?.sorted() == (0..<UInt32(size)).map { $0 }, "token \(token)")
            if let at = world.completedAt[token], let deadline = deadlines[token] {
                #expect(at <= deadline + .milliseconds(10), "token \(token) ended late")
            }
        }
        #expect(world.core.pendingRequests == 0)
    }

    private static func fault(_ world: inout World, _ random: inout SeededRandom) {
        let node = Int(random.below(UInt64(world.cluster.nodes.count)))
        switch random.below(9) {
        case 0: world.kill(node)
        case 1: world.cluster.nodes[node].isUp = true
        case 2: world.cluster.nodes[node].isFrozen = true
        case 3: world.cluster.thaw(node)
        case 4: world.cluster.nodes[node].losesReplies.toggle()
        case 5:
            let codes: [RefusalCode] = [.overloaded, .unavailable, .diskFull, .shuttingDown]
            world.cluster.nodes[node].refusal = Refusal(
                codes[Int(random.below(4))], retryAfterMilliseconds: UInt32(random.below(100)))
        case 6: world.cluster.nodes[node].refusal = nil
        default:
            let group = Int(random.below(UInt64(world.cluster.leaders.count)))
            let placement = world.cluster.topology.placements[group]
            let next = placement.nodes[Int(random.below(UInt64(placement.nodes.count)))]
            world.cluster.leaders[group] = random.below(4) == 0 ? nil : world.position(next)
        }
    }

    private static func heal(_ world: inout World) {
        for node in world.cluster.nodes.indices {
            world.cluster.nodes[node].isUp = true
            world.cluster.nodes[node].losesReplies = false
            world.cluster.nodes[node].refusal = nil
            world.cluster.thaw(node)
        }
        for group in world.cluster.leaders.indices {
            world.cluster.leaders[group] = world.position(world.cluster.topology.placements[group].nodes[0])
        }
    }
}
