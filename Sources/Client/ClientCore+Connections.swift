import ClearingModel
import Wire

extension ClientCore {
    /// The connection is open, TLS included.
    public mutating func connectionUp(_ connection: ConnectionID, now: MonotonicTime, _ out: inout ClientOutput) {
        let index = Int(connection.rawValue)
        guard connections[index].phase == .connecting else { return }
        connections[index].phase = .greeting
        connections[index].lastProgress = now
        Hello(cluster: topology.cluster, side: .client, name: configuration.name)
            .encode(request: 0, into: &outputs[index])
        markDirty(index)
    }

    /// The connection ended, or could not be opened.
    public mutating func connectionDown(_ connection: ConnectionID, now: MonotonicTime, _ out: inout ClientOutput) {
        let index = Int(connection.rawValue)
        guard connections[index].phase != .idle else { return }
        forget(index, now, &out)
        pumpAll(now, &out)
    }

    /// Bytes came in.
    public mutating func received(
        _ bytes: UnsafeRawBufferPointer, on connection: ConnectionID, now: MonotonicTime, _ out: inout ClientOutput
    ) {
        let index = Int(connection.rawValue)
        switch connections[index].phase {
        case .idle, .connecting: return
        case .greeting, .ready, .draining: break
        }
        connections[index].lastProgress = now
        connections[index].isSuspect = false
        heard(from: connections[index].node, now)
        // The decoder is taken out while it calls back into this struct.
        var decoder = decoders[index]
        decoders[index] = FrameDecoder()
        let error = decoder.feed(bytes) { header, body in
            if !connections[index].isBroken { handle(header, body, on: index, now, &out) }
        }
        if error != nil || connections[index].isBroken {
            connections[index].isBroken = false
            drop(index, now, &out)
            pumpAll(now, &out)
            return
        }
        decoders[index] = decoder
        if waitingTotal > 0 { pumpAll(now, &out) }
    }

    /// A sign of life of a node.
    @inline(__always)
    private mutating func heard(from node: Int, _ now: MonotonicTime) {
        nodes[node].lastHeard = now
        guard nodes[node].isSuspect else { return }
        nodes[node].isSuspect = false
        for index in connections.indices where connections[index].node == node { connections[index].isSuspect = false }
    }

    /// Asks the owner for a connection that is needed, unless its pause after a failure still runs.
    mutating func want(_ index: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        guard connections[index].phase == .idle, now >= connections[index].retryAt else { return }
        connections[index].phase = .connecting
        out.actions.append(.connect(ConnectionID(UInt32(index))))
    }

    /// Closes a connection that is of no use.
    mutating func drop(_ index: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        out.actions.append(.close(ConnectionID(UInt32(index))))
        forget(index, now, &out)
    }

    /// Makes a connection idle again and takes back what was in flight on it.
    private mutating func forget(_ index: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        let node = connections[index].node
        let wasOpen = connections[index].phase == .ready || connections[index].phase == .draining
        connections[index].phase = .idle
        connections[index].isSuspect = false
        connections[index].failures += 1
        connections[index].retryAt =
            now + pause(connections[index].failures, atMost: configuration.reconnectMaximum)
        decoders[index] = FrameDecoder()
        outputs[index].bytes.removeAll(keepingCapacity: true)
        let isReachable = connections.contains { $0.node == node && $0.phase == .ready && !$0.isSuspect }
        if wasOpen || !isReachable { forgetLeader(node) }
        takeBack(now, &out) { $0.connection == Int32(index) }
        precondition(connections[index].inflight == 0 && connections[index].inflightBytes == 0)
    }

    /// The node is no longer believed to lead anything.
    mutating func forgetLeader(_ node: Int) {
        for route in routes.indices where routes[route].leader == node && !routes[route].isFixed {
            forgetLeader(of: route, node)
        }
    }

    mutating func forgetLeader(of route: Int, _ node: Int) {
        routes[route].leader = Route.unknown
        routes[route].nextReplica = (routes[route].replicas.firstIndex(of: node) ?? 0) + 1
        routes[route].failures = 0
    }

    /// Puts requests in flight back into their lanes, in doubt. A full scan: for rare events only.
    mutating func takeBack(_ now: MonotonicTime, _ out: inout ClientOutput, where belongs: (Pending) -> Bool) {
        // Backwards and to the front, so that a lane keeps roughly its order.
        for slot in slab.entries.indices.reversed() where slab.entries[slot].state == .sent {
            if belongs(slab.entries[slot]) { takeBack(Int32(slot), &out) }
        }
    }

    mutating func takeBack(_ slot: Int32, _ out: inout ClientOutput) {
        unsend(slot)
        slab.entries[Int(slot)].inDoubt = true
        endProbe(slot)
        if slab.entries[Int(slot)].repeatable {
            enqueue(slot, front: true)
        } else {
            end(slot, .unknown, &out)
        }
    }

    mutating func endProbe(_ slot: Int32) {
        let route = Int(slab.entries[Int(slot)].route)
        if routes[route].probe == slot { routes[route].probe = Pending.none }
    }

    /// The pause after `failures` failures in a row: doubling, with a quarter of jitter.
    mutating func pause(_ failures: Int, atMost limit: MonotonicTime.Span? = nil) -> MonotonicTime.Span {
        let longest = (limit ?? configuration.backoffMaximum).nanoseconds
        let doubled = configuration.backoffMinimum.nanoseconds << UInt64(min(max(failures - 1, 0), 10))
        let span = min(doubled, longest)
        return MonotonicTime.Span(nanoseconds: span - span / 8 + random.below(max(span / 4, 1)))
    }

    // MARK: - Out of the lanes

    mutating func pumpAll(_ now: MonotonicTime, _ out: inout ClientOutput) {
        guard waitingTotal > 0 else { return }
        for route in routes.indices where routes[route].waiting > 0 { pump(route, now, &out) }
    }

    /// Sends what a route's lanes hold, as far as its leader is known, reachable and has room.
    mutating func pump(_ route: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        guard routes[route].waiting > 0, now >= routes[route].holdUntil else { return }
        let leader = routes[route].leader
        guard leader != Route.unknown else { return probe(route, now, &out) }
        for identity in 0..<identityCount {
            let lane = laneIndex(Int32(identity), Int32(route))
            while !lanes[lane].isEmpty, routes[route].inflight < configuration.maximumInflightOfShard {
                guard let connection = room(identity: identity, node: leader) else {
                    connect(identity: identity, node: leader, now, &out)
                    break
                }
                let slot = lanes[lane].head
                dequeue(slot)
                send(slot, on: connection, now)
            }
        }
    }

    /// Sends one waiting request to the next replica, to learn from its reply who leads.
    private mutating func probe(_ route: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        guard routes[route].probe == Pending.none else { return }
        for identity in 0..<identityCount {
            let lane = laneIndex(Int32(identity), Int32(route))
            guard !lanes[lane].isEmpty else { continue }
            let replicas = routes[route].replicas
            for step in replicas.indices {
                let node = replicas[(routes[route].nextReplica + step) % replicas.count]
                guard let connection = room(identity: identity, node: node) else {
                    connect(identity: identity, node: node, now, &out)
                    continue
                }
                routes[route].nextReplica = (routes[route].nextReplica + step + 1) % replicas.count
                let slot = lanes[lane].head
                dequeue(slot)
                send(slot, on: connection, now)
                routes[route].probe = slot
                return
            }
        }
    }

    private mutating func connect(identity: Int, node: Int, _ now: MonotonicTime, _ out: inout ClientOutput) {
        for index in bundles[identity * nodes.count + node] { want(index, now, &out) }
    }
}
