import ClearingModel
import Wire

extension ClientCore {
    /// Time has passed: call about every millisecond to every few milliseconds, also when nothing else happens.
    public mutating func tick(now: MonotonicTime, _ out: inout ClientOutput) {
        fired.removeAll(keepingCapacity: true)
        wheel.advance(to: now, &slab.entries, &fired)
        for slot in fired { timerFired(slot, now, &out) }
        watchConnections(now, &out)
        probeSilentLeaders(now, &out)
        pumpAll(now, &out)
    }

    private mutating func timerFired(_ slot: Int32, _ now: MonotonicTime, _ out: inout ClientOutput) {
        let index = Int(slot)
        guard now < slab.entries[index].deadline else { return expire(slot, &out) }
        if slab.entries[index].state == .parked { enqueue(slot, front: true) }
        if slab.entries[index].state == .sent {
            if isOverdue(slot, now) { takeBack(slot, &out) }
            guard slab.entries[index].state != .free else { return }
        }
        wheel.set(slot, due: min(slab.entries[index].deadline, now + configuration.resendAfter), &slab.entries)
    }

    /// Whether a request in flight is to be sent again.
    private mutating func isOverdue(_ slot: Int32, _ now: MonotonicTime) -> Bool {
        let entry = slab.entries[Int(slot)]
        let age = now - entry.sentAt
        guard age >= configuration.resendAfter else { return false }
        if age >= configuration.resendAlways { return true }
        let route = Int(entry.route)
        let node = connections[Int(entry.connection)].node
        if routes[route].probe == slot { return true }
        guard routes[route].leader == node, !routes[route].isFixed, routes[route].replicas.count > 1 else {
            return routes[route].leader != Route.unknown && routes[route].leader != node
        }
        // A busy leader is not asked twice, for a repeated request costs it a comparison with the log. But one request
        // at a time goes to another replica: the node may be cut off from its peers, and not from us.
        guard now - routes[route].doubtedAt >= configuration.resendAfter else { return false }
        routes[route].doubtedAt = now
        forgetLeader(of: route, node)
        return true
    }

    private mutating func watchConnections(_ now: MonotonicTime, _ out: inout ClientOutput) {
        for index in connections.indices {
            switch connections[index].phase {
            case .idle:
                if configuration.keepAllConnected { want(index, now, &out) }
            case .connecting: break
            case .greeting:
                if now - connections[index].lastProgress > configuration.giveUpSilent { drop(index, now, &out) }
            case .ready, .draining:
                guard connections[index].inflight > 0 || connections[index].isSuspect else { continue }
                let silent = now - connections[index].lastProgress
                if silent > configuration.giveUpSilent {
                    drop(index, now, &out)
                } else if silent > configuration.silence, !connections[index].isSuspect {
                    suspect(index, now, &out)
                }
            }
        }
    }

    /// The connection owes replies and is silent. What it carries stays there until somebody else turns out to lead.
    private mutating func suspect(_ index: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        connections[index].isSuspect = true
        let node = connections[index].node
        // A node that answers on another connection is alive: only this one is stuck, and is given up if it stays so.
        guard now - nodes[node].lastHeard > configuration.silence, !nodes[node].isSuspect else { return }
        nodes[node].isSuspect = true
        for other in connections.indices where connections[other].node == node && !connections[other].isSuspect {
            connections[other].isSuspect = true
            connections[other].lastProgress = now
        }
        forgetLeader(node)
        let probes = routes.map(\.probe)
        let isLedElsewhere = routes.map { $0.leader != Route.unknown && !$0.isFixed }
        for slot in slab.entries.indices.reversed() where slab.entries[slot].state == .sent {
            guard connections[Int(slab.entries[slot].connection)].node == node else { continue }
            let route = Int(slab.entries[slot].route)
            if probes[route] == Int32(slot) || isLedElsewhere[route] { takeBack(Int32(slot), &out) }
        }
    }

    /// Where all requests of a leaderless route are stuck on suspected connections, one of them becomes the probe.
    private mutating func probeSilentLeaders(_ now: MonotonicTime, _ out: inout ClientOutput) {
        guard connections.contains(where: { $0.isSuspect }) else { return }
        var needsProbe = routes.map {
            $0.leader == Route.unknown && $0.probe == Pending.none && $0.waiting == 0 && now >= $0.holdUntil
        }
        guard needsProbe.contains(true) else { return }
        for slot in slab.entries.indices where slab.entries[slot].state == .sent {
            let route = Int(slab.entries[slot].route)
            guard needsProbe[route], connections[Int(slab.entries[slot].connection)].isSuspect else { continue }
            needsProbe[route] = false
            takeBack(Int32(slot), &out)
        }
    }

    // MARK: - Ends

    /// The deadline has passed. What no leader can have logged is known to be undecided.
    private mutating func expire(_ slot: Int32, _ out: inout ClientOutput) {
        let entry = slab.entries[Int(slot)]
        if entry.state == .sent || entry.inDoubt || entry.mayBeLogged {
            end(slot, .unknown, &out)
        } else {
            let code = entry.lastRefusal ?? .unavailable
            end(slot, .refused(code), &out)
        }
    }

    /// Ends all records of a request alike.
    mutating func end(_ slot: Int32, _ result: RecordResult, _ out: inout ClientOutput) {
        let index = Int(slot)
        let token = slab.entries[index].token
        guard slab.entries[index].type == .submit else {
            if case .refused(let code) = result {
                let shard = ShardID(UInt16(truncatingIfNeeded: slab.entries[index].route))
                let refusal = Refusal(code, shard: shard, message: "no node answered within the time given")
                return end(slot, call: .refused(refusal), &out)
            }
            return end(slot, call: .unknown, &out)
        }
        if slab.entries[index].isBatch {
            for record in slab.batches[index].records.indices {
                out.completions.append(
                    Completion(
                        token: token, position: slab.batches[index].positions[record],
                        id: slab.batches[index].records[record].id, result: result))
            }
        } else {
            out.completions.append(
                Completion(token: token, position: 0, id: slab.records[index].id, result: result))
        }
        release(slot)
    }

    mutating func end(_ slot: Int32, call result: CallResult, _ out: inout ClientOutput) {
        out.calls.append(CallCompletion(token: slab.entries[Int(slot)].token, result: result))
        release(slot)
    }

    /// Takes a request out of every list and frees its slot.
    @inline(__always)
    mutating func release(_ slot: Int32) {
        switch slab.entries[Int(slot)].state {
        case .free: preconditionFailure("a request ends once")
        case .held, .parked: break
        case .sent: unsend(slot)
        case .waiting: dequeue(slot)
        }
        endProbe(slot)
        wheel.clear(slot, &slab.entries)
        slab.release(slot)
    }
}

extension RecordResult {
    /// What a decision on the wire means to the caller.
    @inline(__always)
    init(_ decision: Decision) {
        switch decision.answer {
        case .decided, .duplicate: self = .decided(decision)
        case .idConflict: self = .conflict(decision)
        case .chooseAnotherSequence: self = .refused(.chooseAnotherSequence)
        // Not answers to a submit, or a later version's: the caller asks again.
        case .notFound, .needsComparison, nil: self = .unknown
        case .expired: self = .expired
        }
    }
}

extension FrameType {
    /// The type that answers a call.
    var reply: FrameType? {
        switch self {
        case .query: .queryReply
        case .position: .positionReply
        case .cluster: .clusterReply
        case .directoryChange: .directoryChangeReply
        case .directoryList: .directoryListReply
        case .operate: .operateReply
        default: nil
        }
    }
}
