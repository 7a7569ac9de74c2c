import ClearingModel
import Wire

extension ClientCore {
    /// One whole frame from a node.
    @inline(__always)
    mutating func handle(
        _ header: FrameHeader, _ body: UnsafeRawBufferPointer, on connection: Int, _ now: MonotonicTime,
        _ out: inout ClientOutput
    ) {
        if header.type == .submitReply, connections[connection].phase != .greeting {
            decided(header.request, body, on: connection, now, &out)
        } else {
            handleOther(header, body, on: connection, now, &out)
        }
    }

    private mutating func handleOther(
        _ header: FrameHeader, _ body: UnsafeRawBufferPointer, on connection: Int, _ now: MonotonicTime,
        _ out: inout ClientOutput
    ) {
        switch header.type {
        case .hello: greeted(body, on: connection, now, &out)
        case .refusal:
            guard let refusal = try? Refusal.decode(body) else { return fail(connection) }
            if let slot = slab.slot(of: header.request) {
                refused(slot, refusal, on: connection, now, &out)
            } else if header.request == 0 {
                out.actions.append(.connectionRefused(ConnectionID(UInt32(connection)), refusal))
            }
        case .goodbye:
            connections[connection].phase = .draining
            forgetLeader(connections[connection].node)
        case .queryReply, .positionReply, .clusterReply, .directoryChangeReply, .directoryListReply, .operateReply:
            guard let slot = slab.slot(of: header.request) else { return }
            guard slab.entries[Int(slot)].type.reply == header.type else { return fail(connection) }
            answered(slot, by: connection, now, &out)
            end(slot, call: .reply(header.type, Array(body)), &out)
        default: fail(connection)
        }
    }

    private mutating func fail(_ connection: Int) { connections[connection].isBroken = true }

    private mutating func greeted(
        _ body: UnsafeRawBufferPointer, on connection: Int, _ now: MonotonicTime, _ out: inout ClientOutput
    ) {
        guard connections[connection].phase == .greeting, let hello = try? Hello.decode(body) else {
            return fail(connection)
        }
        let node = topology.nodes[connections[connection].node].id
        if hello.cluster != topology.cluster || hello.replica?.node != node || !hello.speaksOurVersion {
            let code = hello.speaksOurVersion ? RefusalCode.wrongCluster : .unsupportedVersion
            let message =
                "node \(hello.replica?.description ?? "?") of cluster \(hello.cluster) answers for node \(node)"
            out.actions.append(
                .connectionRefused(ConnectionID(UInt32(connection)), Refusal(code, message: message)))
            return fail(connection)
        }
        connections[connection].phase = .ready
        connections[connection].failures = 0
        pumpAll(now, &out)
    }

    /// A `submitReply`. Duplicates need no case of their own: their decision is the original's.
    @inline(__always)
    private mutating func decided(
        _ request: UInt64, _ body: UnsafeRawBufferPointer, on connection: Int, _ now: MonotonicTime,
        _ out: inout ClientOutput
    ) {
        // Ended by its deadline, or answered by another node before.
        guard let slot = slab.slot(of: request) else { return }
        let index = Int(slot)
        guard slab.entries[index].type == .submit, let decisions = try? Decisions.decode(body),
            decisions.count == Int(slab.entries[index].count)
        else { return fail(connection) }
        if slab.entries[index].inDoubt || slab.entries[index].mayBeLogged,
            !areLastWords(decisions, of: slot, on: connection, now, &out)
        {
            return
        }
        answered(slot, by: connection, now, &out)
        let token = slab.entries[index].token
        if slab.entries[index].isBatch {
            for record in 0..<decisions.count {
                out.completions.append(
                    Completion(
                        token: token, position: slab.batches[index].positions[record],
                        id: slab.batches[index].records[record].id, result: RecordResult(decisions[record])))
            }
        } else {
            out.completions.append(
                Completion(
                    token: token, position: 0, id: slab.records[index].id, result: RecordResult(decisions[0])))
        }
        release(slot)
    }

    /// A node answered for a route: it leads, or did until now.
    @inline(__always)
    mutating func answered(_ slot: Int32, by connection: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        let route = Int(slab.entries[Int(slot)].route)
        if routes[route].probe == slot { routes[route].probe = Pending.none }
        if routes[route].leader == Route.unknown { setLeader(route, connections[connection].node, now, &out) }
        routes[route].failures = 0
    }

    /// From here the route's requests go to `node`; what a silent connection still owes is sent there again.
    mutating func setLeader(_ route: Int, _ node: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        routes[route].leader = node
        routes[route].holdUntil = now
        if connections.contains(where: { $0.isSuspect && $0.node != node && $0.inflight > 0 }) {
            let suspects = connections.map { $0.isSuspect && $0.node != node }
            takeBack(now, &out) { $0.route == Int32(route) && suspects[Int($0.connection)] }
        }
    }

    // MARK: - Refusals

    private mutating func refused(
        _ slot: Int32, _ refusal: Refusal, on connection: Int, _ now: MonotonicTime, _ out: inout ClientOutput
    ) {
        // A refusal of an earlier try says nothing about the one that is under way.
        guard slab.entries[Int(slot)].state == .sent, slab.entries[Int(slot)].connection == Int32(connection) else {
            return
        }
        let route = Int(slab.entries[Int(slot)].route)
        endProbe(slot)
        guard refusal.code.isTransient, !(routes[route].isFixed && refusal.code == .notLeader) else {
            return refusedForGood(slot, refusal, now, &out)
        }
        unsend(slot)
        slab.entries[Int(slot)].lastRefusal = refusal.code
        if refusal.inDoubt { slab.entries[Int(slot)].mayBeLogged = true }
        enqueue(slot, front: true)
        let asked = Int(refusal.retryAfterMilliseconds)
        if refusal.code == .overloaded || routes[route].isFixed {
            let wait = asked > 0 ? MonotonicTime.Span.milliseconds(UInt64(min(asked, 10_000))) : pause(1)
            routes[route].holdUntil = max(routes[route].holdUntil, now + wait)
        } else if routes[route].leader == Route.unknown || routes[route].leader == connections[connection].node {
            follow(refusal, route, from: connections[connection].node, now, &out)
        }
    }

    /// The node that we took for the leader is none, or cannot serve: to its hint at once, otherwise to the next replica
    /// after a pause.
    private mutating func follow(
        _ refusal: Refusal, _ route: Int, from node: Int, _ now: MonotonicTime, _ out: inout ClientOutput
    ) {
        routes[route].leader = Route.unknown
        routes[route].failures += 1
        let hint = refusal.leader.flatMap { id in topology.nodes.firstIndex { $0.id == id } }
        if refusal.code == .notLeader, let hint, hint != node, routes[route].replicas.contains(hint),
            !isUnreachable(hint)
        {
            setLeader(route, hint, now, &out)
            // Two nodes that point at each other must not keep a request going round without a pause.
            if routes[route].failures > 2 { routes[route].holdUntil = now + pause(routes[route].failures - 2) }
        } else {
            let asked = MonotonicTime.Span.milliseconds(UInt64(min(refusal.retryAfterMilliseconds, 10_000)))
            let wait = pause(routes[route].failures)
            // A replica's own pause counts only until the others have been asked once.
            let isFirstRound = routes[route].failures < routes[route].replicas.count
            routes[route].holdUntil = now + (isFirstRound ? wait : max(wait, min(asked, configuration.silence)))
        }
    }

    /// The node is suspected, or no connection to it is usable and one is failing.
    private func isUnreachable(_ node: Int) -> Bool {
        if nodes[node].isSuspect { return true }
        var failing = false
        for connection in connections where connection.node == node {
            if connection.phase == .ready && !connection.isSuspect { return false }
            if connection.failures > 0 || connection.phase == .draining { failing = true }
        }
        return failing
    }

    private mutating func refusedForGood(
        _ slot: Int32, _ refusal: Refusal, _ now: MonotonicTime, _ out: inout ClientOutput
    ) {
        let index = Int(slot)
        unsend(slot)
        // What an earlier try left in some leader's log is not undone by a refusal of this one.
        let inDoubt = slab.entries[index].inDoubt || slab.entries[index].mayBeLogged || refusal.inDoubt
        guard slab.entries[index].type == .submit else {
            return end(slot, call: inDoubt ? .unknown : .refused(refusal), &out)
        }
        let result: RecordResult = inDoubt ? .unknown : .refused(refusal.code)
        guard slab.entries[index].isBatch, let record = refusal.record,
            record < slab.batches[index].records.count, slab.batches[index].records.count > 1
        else {
            return end(slot, result, &out)
        }
        // One record spoils a request: it ends, the others go again.
        out.completions.append(
            Completion(
                token: slab.entries[index].token, position: slab.batches[index].positions[record],
                id: slab.batches[index].records[record].id, result: result))
        slab.batches[index].records.remove(at: record)
        slab.batches[index].positions.remove(at: record)
        slab.entries[index].count -= 1
        slab.entries[index].bytes -= Int32(Instruction.size)
        slab.renew(slot)
        enqueue(slot, front: true)
        pump(Int(slab.entries[index].route), now, &out)
    }
}
