import ClearingModel
import Engine
import LogFormat
import Wire

/// The connection that the second node of a pair, the one with the larger id, keeps to the first.
struct PeerLink {
    var first: Int
    var second: Int
    /// The wire that the caller believes to stand.
    var wire: Int?
    var attempt = 0
    var failures: UInt64 = 0
    var upSince: UInt64 = 0
    var isWaiting = false
}

/// Connections and what travels on them.
extension World {
    // MARK: Peers

    func redial(_ index: Int, after pause: UInt64) {
        guard !links[index].isWaiting else { return }
        links[index].isWaiting = true
        queue.push(.dial(link: index), at: now + pause)
    }

    private func redialLater(_ index: Int) {
        let full = min(UInt64(10_000) << min(links[index].failures, 16), 500_000)
        links[index].failures += 1
        redial(index, after: full / 2 + networkRandom.below(full / 2 + 1))
    }

    func dial(_ index: Int) {
        links[index].isWaiting = false
        let link = links[index]
        guard machines[link.second].isUp, link.wire == nil else { return }
        links[index].attempt += 1
        if network.isBlocked(link.second, link.first) || network.isBlocked(link.first, link.second) {
            // Nobody answers: the attempt times out.
            links[index].isWaiting = true
            return queue.push(.dial(link: index), at: now + 1_000_000)
        }
        guard machines[link.first].isUp else { return redialLater(index) }
        let at = now + 3 * latency(link.second, link.first)
        queue.push(.established(link: index, attempt: links[index].attempt), at: at)
    }

    func established(_ index: Int, _ attempt: Int) {
        let link = links[index]
        guard link.attempt == attempt, link.wire == nil, let caller = machines[link.second].engine else { return }
        guard let called = machines[link.first].engine, now >= machines[link.first].pausedUntil,
            !network.isBlocked(link.second, link.first), !network.isBlocked(link.first, link.second)
        else { return redialLater(index) }
        let (first, second) = (machines[link.first], machines[link.second])
        let atFirst = called.opened(
            authority: Authority(roles: [.node(second.node)]), dialled: nil, now: monotonic(first))
        let atSecond = caller.opened(
            authority: Authority(roles: [.node(first.node)]), dialled: first.node, now: monotonic(second))
        links[index].wire = addWire(
            .node(link.first, life: first.life, atFirst), .node(link.second, life: second.life, atSecond))
        links[index].upSince = now
        trace.add(.opened, at: now, node: link.second, UInt64(link.first))
        scheduleTurn(first)
        scheduleTurn(second)
    }

    // MARK: Wires

    func addWire(_ first: WireEnd, _ second: WireEnd) -> Int {
        wires.append(SimulatedWire(number: wires.count, first: first, second: second))
        for case .node(let position, _, let id) in [first, second] {
            machines[position].wires[id] = wires.count - 1
            trace.mix(UInt64(position))
            trace.mix(id.rawValue)
        }
        return wires.count - 1
    }

    /// Position in the network of an end: clients stand behind the nodes.
    func place(_ end: WireEnd) -> Int {
        switch end {
        case .node(let position, _, _): position
        case .client(let number, _): machines.count + number
        }
    }

    func latency(_ from: Int, _ to: Int) -> UInt64 {
        var microseconds = parameters.latency + networkRandom.below(parameters.jitter + 1)
        // A lost packet is a stall: TCP sends it again after at least 200 ms.
        if networkRandom.oneIn(20_000) { microseconds += 200_000 }
        return microseconds + network.delay(from, to)
    }

    func send(_ parts: [OutputQueue.Part], from machine: Machine, on id: ConnectionID) {
        guard !parts.isEmpty, let (wire, fromFirst) = wire(of: machine, id) else { return }
        push(.parts(parts), on: wire, toSecond: fromFirst)
    }

    /// The node closes a connection once its output has left.
    func close(_ id: ConnectionID, of machine: Machine) {
        guard let engine = machine.engine else { return }
        if let (wire, isFirst) = wire(of: machine, id) { endSide(of: wire, first: isFirst) }
        engine.closed(id, now: monotonic(machine))
        scheduleTurn(machine)
    }

    private func wire(of machine: Machine, _ id: ConnectionID) -> (SimulatedWire, isFirst: Bool)? {
        guard let number = machine.wires[id], let wire = wires[number] else { return nil }
        if case .node(machine.position, machine.life, id) = wire.first { return (wire, true) }
        return (wire, false)
    }

    func push(_ packet: SimulatedWire.Packet, on wire: SimulatedWire, toSecond: Bool) {
        let (from, to) = toSecond ? (place(wire.first), place(wire.second)) : (place(wire.second), place(wire.first))
        let delay = latency(from, to)
        func append(_ direction: inout SimulatedWire.Direction) {
            direction.last = max(direction.last + 1, now + delay)
            direction.packets.append((direction.last, packet))
        }
        if toSecond { append(&wire.toSecond) } else { append(&wire.toFirst) }
        if toSecond, wire.second.isClient, case .parts(let parts) = packet { waits(parts, for: to, on: wire) }
        scheduleArrival(wire, toSecond: toSecond)
    }

    /// Answers are on their way to a client. One that does not read them is not read from any more, and gets only what it
    /// asked for before.
    private func waits(_ parts: [OutputQueue.Part], for client: Int, on wire: SimulatedWire) {
        let count = parts.reduce(0) { $0 + $1.count }
        wire.toSecond.bytes += count
        guard network.isDeaf(client), wire.secondIsOpen, let engine = machines[place(wire.first)].engine else { return }
        if wire.isLimited {
            wire.owedBytes -= count
            if wire.owedBytes < 0 {
                fail(
                    "BoundedMemory", BoundedMemory.rule,
                    "\(wire.toSecond.bytes) bytes wait for a client that does not read, more than it asked for before")
            }
        } else if wire.toSecond.bytes > SimulatedWire.queueLimit {
            wire.isLimited = true
            // What nobody asked for is a goodbye at most.
            wire.owedBytes = (engine.inspectResources().connectionRequests + 1) * SimulatedWire.answerBytes
            strikes(.slowReader)
            trace.add(
                .notice, at: now, node: place(wire.first), 0, "reads no more from client \(client - machines.count)")
        }
    }

    /// A client has read something: half of the limit makes its node read on.
    private func read(_ packet: SimulatedWire.Packet, on wire: SimulatedWire) {
        guard case .parts(let parts) = packet else { return }
        wire.toSecond.bytes -= parts.reduce(0) { $0 + $1.count }
        guard wire.isLimited, wire.toSecond.bytes <= SimulatedWire.queueLimit / 2 else { return }
        wire.isLimited = false
        scheduleArrival(wire, toSecond: false)
    }

    private func scheduleArrival(_ wire: SimulatedWire, toSecond: Bool) {
        let direction = toSecond ? wire.toSecond : wire.toFirst
        guard !direction.isScheduled, let first = direction.packets.first else { return }
        if toSecond { wire.toSecond.isScheduled = true } else { wire.toFirst.isScheduled = true }
        queue.push(.arrival(wire: wire.number, toSecond: toSecond), at: max(now, first.time))
    }

    /// One side ends its part: the other is told, if the network lets it know.
    func endSide(of wire: SimulatedWire, first: Bool, silently: Bool = false) {
        guard first ? wire.firstIsOpen : wire.secondIsOpen else { return }
        if first { wire.firstIsOpen = false } else { wire.secondIsOpen = false }
        for index in links.indices where links[index].wire == wire.number && !first {
            links[index].wire = nil
            if now >= links[index].upSince + 2_000_000 { links[index].failures = 0 }
            redialLater(index)
        }
        if !silently { push(.end, on: wire, toSecond: first) }
        if wire.isGone { wires[wire.number] = nil }
    }

    /// A process is gone, and with it its end of a wire. Only a kernel that still runs tells the other side.
    func end(of position: Int, on wire: SimulatedWire, silently: Bool) {
        if case .node(position, _, _) = wire.first { endSide(of: wire, first: true, silently: silently) }
        if case .node(position, _, _) = wire.second { endSide(of: wire, first: false, silently: silently) }
    }

    // MARK: Arrival

    func arrived(_ number: Int, toSecond: Bool) {
        guard let wire = wires[number] else { return }
        if toSecond { wire.toSecond.isScheduled = false } else { wire.toFirst.isScheduled = false }
        let (from, to) = toSecond ? (place(wire.first), place(wire.second)) : (place(wire.second), place(wire.first))
        // What is blocked waits, and is kicked on when the way is free again.
        if network.isBlocked(from, to) { return }
        // So does what nobody reads, at either end of a wire that still has both.
        if wire.firstIsOpen, wire.secondIsOpen, toSecond ? network.isDeaf(to) : wire.isLimited { return }
        if to < machines.count, now < machines[to].pausedUntil {
            if toSecond { wire.toSecond.isScheduled = true } else { wire.toFirst.isScheduled = true }
            return queue.push(.arrival(wire: number, toSecond: toSecond), at: machines[to].pausedUntil)
        }
        while wires[number] != nil {
            guard let next = toSecond ? wire.toSecond.packets.first : wire.toFirst.packets.first, next.time <= now
            else {
                break
            }
            if toSecond { _ = wire.toSecond.packets.popFirst() } else { _ = wire.toFirst.packets.popFirst() }
            if toSecond, wire.second.isClient { read(next.packet, on: wire) }
            deliver(next.packet, on: wire, toSecond: toSecond)
        }
        if wires[number] != nil { scheduleArrival(wire, toSecond: toSecond) }
    }

    private func deliver(_ packet: SimulatedWire.Packet, on wire: SimulatedWire, toSecond: Bool) {
        guard toSecond ? wire.secondIsOpen : wire.firstIsOpen else {
            // A kernel that does not know the connection answers with a reset.
            let to = place(toSecond ? wire.second : wire.first)
            if case .parts = packet, to >= machines.count || machines[to].isUp {
                push(.end, on: wire, toSecond: !toSecond)
            }
            return
        }
        switch (toSecond ? wire.second : wire.first, packet) {
        case (.node(let position, let life, let id), .parts(let parts)):
            let machine = machines[position]
            guard machine.life == life, let engine = machine.engine else { return }
            for part in parts {
                trace.add(.received, at: now, node: position, part.checksum)
                feed(part) { engine.received($0, on: id, now: monotonic(machine)) }
            }
            scheduleTurn(machine)
        case (.node(let position, let life, let id), .end):
            let machine = machines[position]
            trace.add(.closed, at: now, node: position)
            endSide(of: wire, first: !toSecond, silently: true)
            guard machine.life == life, let engine = machine.engine else { return }
            engine.closed(id, now: monotonic(machine))
            scheduleTurn(machine)
        case (.client(let number, let connection), .parts(let parts)):
            for part in parts {
                trace.add(.clientReceived, at: now, node: number, part.checksum)
                feed(part) { clients[number].received($0, on: connection, in: self) }
            }
        case (.client(let number, let connection), .end):
            endSide(of: wire, first: !toSecond, silently: true)
            clients[number].closed(connection, wire: wire.number, in: self)
        }
    }

    /// Hands bytes over whole, or now and then in two pieces.
    private func feed(_ part: OutputQueue.Part, _ body: (UnsafeRawBufferPointer) -> Void) {
        func split(_ raw: UnsafeRawBufferPointer) {
            guard raw.count > 1, networkRandom.oneIn(16) else { return body(raw) }
            let cut = 1 + Int(networkRandom.below(UInt64(raw.count - 1)))
            body(UnsafeRawBufferPointer(rebasing: raw[..<cut]))
            body(UnsafeRawBufferPointer(rebasing: raw[cut...]))
        }
        switch part {
        case .slab(let slab): split(slab.bytes)
        case .bytes(let bytes): bytes.withUnsafeBytes(split)
        }
    }

    // MARK: Faults

    /// Lets what was blocked move again.
    func kickWires() {
        for case let wire? in wires {
            scheduleArrival(wire, toSecond: true)
            scheduleArrival(wire, toSecond: false)
        }
    }

    /// Both ends of a connection see a reset, or with `halfOpen` only one of them: the other learns it when it sends.
    /// - Returns: whether an end was open and saw it.
    @discardableResult
    func reset(_ wire: SimulatedWire, halfOpen: Bool) -> Bool {
        guard wires[wire.number] != nil else { return false }
        let both = halfOpen ? [networkRandom.oneIn(2)] : [true, false]
        var isSeen = false
        for first in both {
            guard first ? wire.firstIsOpen : wire.secondIsOpen else { continue }
            isSeen = true
            switch first ? wire.first : wire.second {
            case .node(let position, let life, let id):
                endSide(of: wire, first: first, silently: true)
                let machine = machines[position]
                guard machine.life == life, let engine = machine.engine else { continue }
                trace.add(.closed, at: now, node: position, 1)
                engine.closed(id, now: monotonic(machine))
                scheduleTurn(machine)
            case .client(let number, let connection):
                endSide(of: wire, first: first, silently: true)
                clients[number].closed(connection, wire: wire.number, in: self)
            }
        }
        return isSeen
    }
}
