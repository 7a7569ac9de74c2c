import Audit
import ClearingModel
import Client
import Engine
import LogFormat
import Wire

/// One program of a participant (or the operator's): the real `ClientCore` on simulated wires, and what it was told.
final class SimulatedClient {
    let number: Int
    let isOperator: Bool
    let authority: Authority
    @exclusivity(unchecked) private(set) var core: ClientCore
    @exclusivity(unchecked) private var out = ClientOutput()
    /// Wires by connection; `nil` where none stands.
    @exclusivity(unchecked) private var wires: [Int?]
    private var attempts: [Int]
    @exclusivity(unchecked) private var turnScheduled = false
    private let monotonicBase: UInt64
    /// Between a deadline and the turn in which the caller hears of it: a tick, the timer wheel's step, a turn.
    private static let grace: UInt64 = 50_000
    @exclusivity(unchecked) var workload: SimulatedWorkload
    /// By token of a position read: how far its shard was told of when it was sent.
    private var readsAfter: [UInt64: LogIndex] = [:]

    init(number: Int, world: World, recent: RecentPayments, seed: UInt64, isOperator: Bool = false) {
        self.number = number
        self.isOperator = isOperator
        let parameters = world.parameters
        // All clients speak for all participants: two may use one id at the same time.
        authority = Authority(
            roles: isOperator
                ? [.operator("office")] : (1...parameters.participants).map { .participant(ParticipantID(UInt32($0))) })
        monotonicBase = seed >> 30
        var configuration = ClientConfiguration()
        configuration.maximumPending = 4_096
        configuration.seed = seed
        core = ClientCore(
            topology: world.topology, configuration: configuration, now: MonotonicTime(rawValue: monotonicBase))
        wires = Array(repeating: nil, count: core.connectionCount)
        attempts = Array(repeating: 0, count: core.connectionCount)
        workload = SimulatedWorkload(parameters: parameters, client: number, recent: recent, seed: seed)
    }

    func monotonic(_ world: World) -> MonotonicTime {
        MonotonicTime(rawValue: monotonicBase + world.now * 1_000)
    }

    func start(in world: World) {
        core.start(now: monotonic(world), &out)
        scheduleTurn(in: world)
        world.queue.push(.clientTick(client: number), at: world.now + 1_000 + UInt64(number) * 100)
    }

    private func scheduleTurn(in world: World) {
        guard !turnScheduled else { return }
        turnScheduled = true
        world.queue.push(.clientTurn(client: number), at: world.now + 50)
    }

    func tick(in world: World) {
        core.tick(now: monotonic(world), &out)
        if !isOperator { submitMore(in: world) }
        scheduleTurn(in: world)
        world.queue.push(.clientTick(client: number), at: world.now + 10_000)
    }

    func turn(in world: World) {
        turnScheduled = false
        while !out.isEmpty {
            var taken = ClientOutput()
            swap(&taken, &out)
            for action in taken.actions { carryOut(action, in: world) }
            for completion in taken.completions { ended(completion, in: world) }
            for call in taken.calls { ended(call, in: world) }
        }
        var sent: [(Client.ConnectionID, [UInt8])] = []
        core.flush { sent.append(($0, $1)) }
        for (connection, bytes) in sent {
            guard let number = wires[Int(connection.rawValue)], let wire = world.wires[number] else { continue }
            bytes.withUnsafeBytes { world.trace.add(.sent, at: world.now, node: self.number, UInt64(crc32c($0))) }
            world.push(.parts([.bytes(bytes)]), on: wire, toSecond: false)
        }
    }

    // MARK: Connections

    private func carryOut(_ action: ClientAction, in world: World) {
        switch action {
        case .connect(let connection):
            let index = Int(connection.rawValue)
            attempts[index] += 1
            let node = Int(core.node(of: connection).id.rawValue) - 1
            let place = world.machines.count + number
            let isBlocked = world.network.isBlocked(place, node) || world.network.isBlocked(node, place)
            let delay = isBlocked ? 1_000_000 : 3 * world.latency(place, node)
            world.queue.push(
                .clientDial(client: number, connection: connection.rawValue, attempt: attempts[index]),
                at: world.now + delay)
        case .close(let connection):
            let index = Int(connection.rawValue)
            attempts[index] += 1
            guard let number = wires[index] else { return }
            wires[index] = nil
            if let wire = world.wires[number] { world.endSide(of: wire, first: false) }
        case .connectionRefused(_, let refusal):
            world.fail("ClientIsWelcome", "a good client's connection is not refused", refusal.message)
        }
    }

    /// An attempt to connect has come to its end. The node is the wire's first end, the client its second.
    func dialled(_ connection: UInt32, _ attempt: Int, in world: World) {
        let index = Int(connection)
        guard attempts[index] == attempt, wires[index] == nil else { return }
        let id = Client.ConnectionID(connection)
        let node = Int(core.node(of: id).id.rawValue) - 1
        let machine = world.machines[node]
        let place = world.machines.count + number
        if let engine = machine.engine, !world.network.isBlocked(place, node), !world.network.isBlocked(node, place),
            world.now >= machine.pausedUntil
        {
            let far = engine.opened(authority: authority, dialled: nil, now: world.monotonic(machine))
            wires[index] = world.addWire(
                .node(node, life: machine.life, far), .client(number, connection: connection))
            core.connectionUp(id, now: monotonic(world), &out)
            world.scheduleTurn(machine)
        } else {
            core.connectionDown(id, now: monotonic(world), &out)
        }
        scheduleTurn(in: world)
    }

    func received(_ bytes: UnsafeRawBufferPointer, on connection: UInt32, in world: World) {
        core.received(bytes, on: Client.ConnectionID(connection), now: monotonic(world), &out)
        scheduleTurn(in: world)
    }

    func closed(_ connection: UInt32, wire: Int, in world: World) {
        guard wires[Int(connection)] == wire else { return }
        wires[Int(connection)] = nil
        core.connectionDown(Client.ConnectionID(connection), now: monotonic(world), &out)
        scheduleTurn(in: world)
    }

    // MARK: Requests

    /// Takes what the workload wants to do in this tick.
    private func submitMore(in world: World) {
        while core.hasRoom, let wish = workload.next(world.now, day: world.day) {
            world.trace.add(.submitted, at: world.now, node: number, wish.token)
            switch wish.kind {
            case .submit(let instruction):
                let deadline = monotonic(world) + MonotonicTime.Span(nanoseconds: wish.patience * 1_000)
                world.checker.sent(client: number, instruction: instruction, at: world.checker.now)
                if world.isHealing, world.checker.attempts(instruction.id) == 1 {
                    world.newWork.sent(to: world.topology.slots.route(instruction.id))
                }
                let taken = core.submit(
                    instruction, deadline: deadline, token: wish.token, now: monotonic(world), &out)
                precondition(taken, "the core said it has room")
            case .query(let id):
                var writer = WireWriter()
                let shard = world.topology.slots.route(id)
                Query.encode(request: 0, shard: shard, [id], into: &writer)
                call(.query, Array(writer.bytes.dropFirst(FrameHeader.size)), shard, wish, in: world)
            case .position(let participant):
                var writer = WireWriter()
                PositionRequest(participant: participant).encodeBody(into: &writer)
                let shard = world.topology.slots.home(of: participant)
                readsAfter[wish.token] = world.checker.told(of: shard)
                call(.position, writer.bytes, shard, wish, in: world)
            }
        }
    }

    private func call(
        _ type: FrameType, _ body: [UInt8], _ shard: ShardID, _ wish: SimulatedWorkload.Wish, in world: World
    ) {
        let deadline = monotonic(world) + MonotonicTime.Span(nanoseconds: wish.patience * 1_000)
        let taken = core.call(
            type, body: body, to: .leader(shard), deadline: deadline, token: wish.token, now: monotonic(world), &out)
        precondition(taken, "the core said it has room")
    }

    private func ended(_ completion: Completion, in world: World) {
        guard let wish = workload.ended(completion.token), case .submit(let instruction) = wish.kind else { return }
        world.heard?(Heard(answer: .submit(instruction, completion.result), sentAt: wish.at, at: world.now))
        // An answer or "unknown" at the deadline: never an endless wait.
        if world.now > wish.at + wish.patience + Self.grace {
            world.fail(
                "DeadlineKept", "every instruction ends at its deadline at the latest (FAULTS, What broke others)",
                "\(instruction.id) ended \(world.now - wish.at) µs after it was sent; the caller waits \(wish.patience)"
            )
        }
        switch completion.result {
        case .decided(let decision), .conflict(let decision):
            world.latencies.append(world.now - wish.at)
            if wish.at >= world.healingStart { world.newWork.answered(decision) }
            world.trace.add(
                .decided, at: world.now, node: number, UInt64(decision.index) << 8 | UInt64(decision.outcomeCode))
            world.checker.decided(
                client: number, instruction: instruction, decision: decision, shard: decision.shard,
                sentAt: MonotonicTime(rawValue: wish.at * 1_000))
        case .refused(let code):
            world.trace.add(.refused, at: world.now, node: number, UInt64(code.rawValue))
            world.checker.refused(instruction)
            workload.refused(instruction, code)
        case .expired: world.checker.expired(instruction)
        case .unknown:
            world.trace.add(.unknown, at: world.now, node: number)
            workload.unknown(instruction)
        }
    }

    private func ended(_ call: CallCompletion, in world: World) {
        if isOperator { return world.officeEnded(call) }
        let after = readsAfter.removeValue(forKey: call.token)
        guard let wish = workload.ended(call.token) else { return }
        switch (wish.kind, call.result) {
        case (.query(let id), .reply(.queryReply, let body)): told(id, body, wish, in: world)
        case (.position(let participant), .reply(.positionReply, let body)):
            guard let reply = body.withUnsafeBytes({ try? PositionReply.decode($0) }), let after else {
                return world.fail("ReplyIsWellFormed", "a reply can be read", "position of \(participant)")
            }
            world.checker.positionRead(participant, reply, after: after)
        default: break
        }
    }

    private func told(_ id: TransactionID, _ body: [UInt8], _ wish: SimulatedWorkload.Wish, in world: World) {
        let decision = body.withUnsafeBytes { raw in
            (try? Decisions.decode(raw)).flatMap { $0.count == 1 ? $0[0] : nil }
        }
        guard let decision else {
            return world.fail("ReplyIsWellFormed", "a reply can be read", "query of \(id)")
        }
        let isFound = decision.answer != .notFound
        world.heard?(Heard(answer: .query(id, isFound: isFound), sentAt: wish.at, at: world.now))
        world.checker.queried(
            client: number, id: id, decision: isFound ? decision : nil,
            shard: world.topology.slots.route(id), sentAt: MonotonicTime(rawValue: wish.at * 1_000))
    }

    /// Sends an operator's request.
    func order<M: ClientMessage>(_ message: M, to target: CallTarget, token: UInt64, in world: World) {
        var writer = WireWriter()
        message.encodeBody(into: &writer)
        let taken = core.call(
            M.frameType, body: writer.bytes, to: target, deadline: monotonic(world) + .seconds(2), token: token,
            now: monotonic(world), &out)
        precondition(taken, "an operator has little to say")
        scheduleTurn(in: world)
    }
}
