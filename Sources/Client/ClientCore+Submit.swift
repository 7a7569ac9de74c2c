import ClearingModel
import Wire

extension ClientCore {
    /// Takes one instruction. It ends as a completion with this token and position 0.
    ///
    /// - Parameters:
    ///   - identity: whose certificate to send it with.
    ///   - deadline: when to give up waiting. Its outcome may be `unknown` then.
    /// - Returns: `false` when `maximumPending` requests are pending: nothing was taken.
    public mutating func submit(
        _ instruction: Instruction, identity: Int = 0, deadline: MonotonicTime, token: UInt64, now: MonotonicTime,
        _ out: inout ClientOutput
    ) -> Bool {
        guard let slot = slab.allocate() else { return false }
        let index = Int(slot)
        slab.records[index] = instruction
        slab.entries[index].bytes = Int32(FrameHeader.size + 8 + Instruction.size)
        let route = Int32(topology.slots.route(instruction.id).rawValue)
        begin(slot, identity: identity, route: route, token: token, deadline: deadline, now)
        dispatch(slot, now, &out)
        return true
    }

    /// Takes many instructions and splits them by shard. Each ends as a completion with this token and its position.
    ///
    /// - Returns: how many were taken, from the first on; fewer than all only when `maximumPending` is reached.
    public mutating func submit(
        _ instructions: UnsafeBufferPointer<Instruction>, identity: Int = 0, deadline: MonotonicTime, token: UInt64,
        now: MonotonicTime, _ out: inout ClientOutput
    ) -> Int {
        var taken = 0
        for position in instructions.indices {
            let route = Int(topology.slots.route(instructions[position].id).rawValue)
            if openBatch[route] == Pending.none {
                guard let slot = slab.allocate() else { break }
                begin(slot, identity: identity, route: Int32(route), token: token, deadline: deadline, now)
                slab.entries[Int(slot)].isBatch = true
                openBatch[route] = slot
                touchedRoutes.append(Int32(route))
            }
            let slot = Int(openBatch[route])
            slab.batches[slot].records.append(instructions[position])
            slab.batches[slot].positions.append(UInt32(position))
            taken += 1
            if slab.batches[slot].records.count == Limits.maximumRecords { close(batchOf: Int32(route), now, &out) }
        }
        for route in touchedRoutes { close(batchOf: route, now, &out) }
        touchedRoutes.removeAll(keepingCapacity: true)
        return taken
    }

    /// Sends a request that is no payment: a query, a position, a change of the directory, an operator's order.
    ///
    /// - Parameter repeatable: whether it may be sent again when nobody knows if it arrived.
    public mutating func call(
        _ type: FrameType, body: [UInt8], to target: CallTarget, identity: Int = 0, repeatable: Bool = true,
        deadline: MonotonicTime, token: UInt64, now: MonotonicTime, _ out: inout ClientOutput
    ) -> Bool {
        precondition(body.count + FrameHeader.size <= Limits.maximumFrameBytes, "frame too long")
        let route: Int
        switch target {
        case .leader(let shard): route = Int(shard.rawValue)
        case .node(let node):
            guard let position = topology.nodes.firstIndex(where: { $0.id == node }) else { return false }
            route = topology.placements.count + position
        }
        guard route < routes.count, let slot = slab.allocate() else { return false }
        slab.entries[Int(slot)].type = type
        slab.entries[Int(slot)].isBatch = true
        slab.entries[Int(slot)].repeatable = repeatable
        slab.entries[Int(slot)].bytes = Int32(FrameHeader.size + body.count)
        slab.batches[Int(slot)].body = body
        begin(slot, identity: identity, route: Int32(route), token: token, deadline: deadline, now)
        dispatch(slot, now, &out)
        return true
    }

    private mutating func begin(
        _ slot: Int32, identity: Int, route: Int32, token: UInt64, deadline: MonotonicTime, _ now: MonotonicTime
    ) {
        precondition(identity >= 0 && identity < identityCount, "an identity of this client")
        let index = Int(slot)
        slab.entries[index].state = .held
        slab.entries[index].identity = Int32(truncatingIfNeeded: identity)
        slab.entries[index].route = route
        slab.entries[index].token = token
        slab.entries[index].deadline = deadline
        wheel.set(slot, due: min(deadline, now + configuration.resendAfter), &slab.entries)
    }

    private mutating func close(batchOf route: Int32, _ now: MonotonicTime, _ out: inout ClientOutput) {
        let slot = openBatch[Int(route)]
        guard slot != Pending.none else { return }
        openBatch[Int(route)] = Pending.none
        let index = Int(slot)
        let count = slab.batches[index].records.count
        slab.entries[index].count = Int32(count)
        slab.entries[index].bytes = Int32(FrameHeader.size + 8 + count * Instruction.size)
        dispatch(slot, now, &out)
    }

    // MARK: - On its way

    /// Sends a new request at once if its lane is free, and queues it otherwise.
    @inline(__always)
    private mutating func dispatch(_ slot: Int32, _ now: MonotonicTime, _ out: inout ClientOutput) {
        let (identity, route) = (slab.entries[Int(slot)].identity, slab.entries[Int(slot)].route)
        let lane = laneIndex(identity, route)
        if lanes[lane].isEmpty, now >= routes[Int(route)].holdUntil, routes[Int(route)].leader != Route.unknown,
            routes[Int(route)].inflight < configuration.maximumInflightOfShard,
            let connection = room(identity: Int(identity), node: routes[Int(route)].leader)
        {
            send(slot, on: connection, now)
            return
        }
        enqueue(slot, front: false)
        if lanes[lane].count == 1 { pump(Int(route), now, &out) }
    }

    mutating func enqueue(_ slot: Int32, front: Bool) {
        let index = Int(slot)
        let lane = laneIndex(slab.entries[index].identity, slab.entries[index].route)
        slab.entries[index].state = .waiting
        slab.entries[index].connection = Pending.none
        if front { lanes[lane].pushFront(slot, &slab.entries) } else { lanes[lane].pushBack(slot, &slab.entries) }
        routes[Int(slab.entries[index].route)].waiting += 1
        waitingTotal += 1
    }

    mutating func dequeue(_ slot: Int32) {
        let lane = laneIndex(slab.entries[Int(slot)].identity, slab.entries[Int(slot)].route)
        lanes[lane].remove(slot, &slab.entries)
        slab.entries[Int(slot)].state = .held
        routes[Int(slab.entries[Int(slot)].route)].waiting -= 1
        waitingTotal -= 1
    }

    /// A ready connection of the identity to the node that may carry a further request.
    ///
    /// Mutating only so that `self` is passed by reference: a plain method, inlined, copies the whole struct.
    @inline(__always)
    mutating func room(identity: Int, node: Int) -> Int? {
        let bundle = bundles[identity &* nodes.count &+ node]
        let width = bundle.count
        for step in 0..<width {
            let index = bundle.lowerBound + (width == 1 ? 0 : (rotation + step) % width)
            if connections[index].phase == .ready, !connections[index].isSuspect,
                connections[index].inflight < configuration.maximumInflightRequests,
                connections[index].inflightBytes < configuration.maximumInflightBytes
            {
                return index
            }
        }
        return nil
    }

    /// Builds the frame in the connection's output.
    @inline(__always)
    mutating func send(_ slot: Int32, on connection: Int, _ now: MonotonicTime) {
        let index = Int(slot)
        let request = slab.requestID(slot)
        let shard = ShardID(UInt16(truncatingIfNeeded: slab.entries[index].route))
        switch slab.entries[index].type {
        case .submit where !slab.entries[index].isBatch:
            Submit.encode(request: request, shard: shard, slab.records[index], into: &outputs[connection])
        case .submit:
            Submit.encode(request: request, shard: shard, slab.batches[index].records, into: &outputs[connection])
        case let type:
            let body = slab.batches[index].body
            outputs[connection].frameHeader(length: FrameHeader.size + body.count, type: type, request: request)
            body.withUnsafeBytes { outputs[connection].raw($0) }
        }
        slab.entries[index].state = .sent
        slab.entries[index].connection = Int32(connection)
        slab.entries[index].sentAt = now
        if connections[connection].inflight == 0 { connections[connection].lastProgress = now }
        connections[connection].inflight += 1
        routes[Int(slab.entries[index].route)].inflight += 1
        connections[connection].inflightBytes += Int(slab.entries[index].bytes)
        rotation &+= 1
        markDirty(connection)
    }

    /// Takes a request off its connection's window.
    @inline(__always)
    mutating func unsend(_ slot: Int32) {
        let connection = Int(slab.entries[Int(slot)].connection)
        slab.entries[Int(slot)].state = .held
        connections[connection].inflight -= 1
        routes[Int(slab.entries[Int(slot)].route)].inflight -= 1
        connections[connection].inflightBytes -= Int(slab.entries[Int(slot)].bytes)
    }
}
