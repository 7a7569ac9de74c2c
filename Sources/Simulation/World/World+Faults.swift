import ClearingModel
import Engine
import Wire

/// What goes wrong on purpose, and how it gets well again.
extension World {
    func begin(_ fault: PlannedFault) {
        guard !omitted.contains(fault.number) else { return }
        trace.add(.fault, at: now, node: fault.node, UInt64(fault.number), "\(fault)")
        var random = SeededRandom(seed: fault.seed)
        let machine = machines[fault.node]
        let before = timesStruck(fault.kind)
        if strikesAnyhow(fault, machine) { strikes(fault.kind) }
        carryOut(fault, on: machine, &random)
        let strikesLater: [FaultKind] = [.crashPoint, .hunt, .failWrite, .failSync, .diskFull, .slowReader]
        if timesStruck(fault.kind) == before, !strikesLater.contains(fault.kind) {
            trace.add(.notice, at: now, node: fault.node, 0, "#\(fault.number) finds nothing to break")
        }
    }

    /// Whether a fault strikes whatever it meets, as long as the processes that it is meant for run. The others are counted
    /// where they find what they break.
    private func strikesAnyhow(_ fault: PlannedFault, _ machine: Machine) -> Bool {
        switch fault.kind {
        case .kill, .powerCut, .slowNode, .clockJump, .clockDrift, .slowDisk, .garbage: machine.isUp
        case .pause: machine.isUp && now + fault.lasts > machine.pausedUntil
        case .killAll, .powerCutAll, .restartAll: machines.contains(where: \.isUp)
        case .burst, .days: true
        default: false
        }
    }

    private func carryOut(_ fault: PlannedFault, on machine: Machine, _ random: inout SeededRandom) {
        switch fault.kind {
        case .kill: crash(machine, power: false, downFor: fault.lasts)
        case .powerCut: crash(machine, power: true, downFor: fault.lasts)
        case .killAll: for one in machines { crash(one, power: false, downFor: fault.lasts + random.below(50_000)) }
        case .powerCutAll: for one in machines { crash(one, power: true, downFor: fault.lasts + random.below(50_000)) }
        case .crashPoint:
            machine.crash = (
                // What is written and not synced is where disks differ most.
                random.pick(Machine.CrashPoint.allCases + [.sync, .sync]), 1 + Int(random.below(20)), random.oneIn(2),
                fault.lasts
            )
        case .pause:
            machine.pausedUntil = max(machine.pausedUntil, now + fault.lasts)
        case .slowNode:
            machine.slowness = random.pick([3, 10])
            heal(fault) { machine.slowness = 1 }
        case .isolate, .split, .ring, .oneWay, .pair, .dataCentre: partition(fault, &random)
        case .hunt: hunt(fault, cutOff: nil, SeededRandom(seed: fault.seed))
        case .resetLinks, .halfOpen:
            var isBroken = false
            for case let wire? in wires where random.oneIn(2) {
                if reset(wire, halfOpen: fault.kind == .halfOpen) { isBroken = true }
            }
            if isBroken { strikes(fault.kind) }
        case .slowLink:
            let (other, delay) = (Int(random.below(UInt64(network.ends))), random.pick([20_000, 400_000, 3_000_000]))
            if other != fault.node, isUp(fault.node), isUp(other) { strikes(.slowLink) }
            // Both ways: a request may be as late as an answer.
            let ways = [(fault.node, other), (other, fault.node)]
            for (from, to) in ways { network.slow(from, to, by: UInt64(delay)) }
            heal(fault) { for (from, to) in ways { self.network.slow(from, to, by: 0) } }
        case .clockJump:
            let size = random.pick([5_000, 100_000, 700_000, 5_000_000, 60_000_000])
            let jump = random.oneIn(2) ? Int64(size) : -Int64(size)
            machine.wallOffset += jump
            heal(fault) { machine.wallOffset -= jump }
        case .clockDrift:
            machine.setDrift(random.pick([-100, -10, 10, 100]), at: now)
            heal(fault) { machine.setDrift(0, at: self.now) }
        case .diskStall:
            // Now and then all disks are one.
            let stalled = random.oneIn(4) ? machines : [machine]
            if stalled.contains(where: \.isUp) { strikes(.diskStall) }
            for one in stalled { one.diskStalledUntil = max(one.diskStalledUntil, now + fault.lasts) }
        case .slowDisk:
            machine.diskSlowness = random.pick([5, 20, 100])
            heal(fault) { machine.diskSlowness = 1 }
        case .failWrite: machine.disk.failsNextWrite = true
        case .failSync: machine.disk.failsNextSync = true
        case .diskFull:
            machine.disk.isFull = true
            heal(fault) { machine.disk.isFull = false }
        case .damage:
            moveVictims(fault)
            damage(fault, &random)
        case .wipe:
            moveVictims(fault)
            guard let victim = victims.randomElement(using: &random), !machines[victim].rejoining else { return }
            strikes(.wipe)
            wipe(machines[victim], downFor: fault.lasts)
            // Leaders fall while the membership changes.
            if random.oneIn(3) {
                var chase = fault
                chase.lasts = max(fault.lasts, 6_000_000)
                hunt(chase, cutOff: nil, random)
            }
            if random.oneIn(4) { machines[victim].crash = (.snapshot, 1, random.oneIn(2), fault.lasts) }
        case .restartAll: for one in machines { rollingRestart(one, fault, &random) }
        case .transfer:
            let shard = ShardID(UInt16(random.below(UInt64(parameters.shards + 1))))
            if let leader = leader(of: shard), machines[leader].engine!.membership(of: shard).voters.count > 1 {
                strikes(.transfer)
            }
            // A minority is corrupted and then asked to lead (FAULTS).
            let heir = random.oneIn(3) ? victims.randomElement(using: &random).map { machines[$0].node } : nil
            orderTransfer(shard, to: heir)
        case .burst:
            for client in clients { client.workload.surge = 4 }
            heal(fault) { for client in self.clients { client.workload.surge = 1 } }
        case .slowReader:
            let reader = machines.count + Int(random.below(UInt64(parameters.clients)))
            network.deafen(reader, by: 1)
            heal(fault) {
                self.network.deafen(reader, by: -1)
                self.kickWires()
            }
        case .garbage: sendGarbage(fault, &random)
        case .days:
            wallStart = WallTime(wallStart.rawValue + (1 + random.below(3)) * 86_400_000_000)
        }
    }

    /// Has `body` end the fault after its time, or at the end of the safety phase.
    private func heal(_ fault: PlannedFault, _ body: @escaping () -> Void) {
        healing[fault.number] = body
        queue.push(.heal(fault.number), at: now + fault.lasts)
    }

    func heal(_ number: Int) {
        guard let body = healing.removeValue(forKey: number) else { return }
        trace.add(.healed, at: now, node: 0, UInt64(number), "healed #\(number % Self.numbersOfRestarts)")
        body()
    }

    private func partition(_ fault: PlannedFault, _ random: inout SeededRandom) {
        let nodes = machines.count
        var ways: [(Int, Int)] = []
        func cut(_ a: Int, _ b: Int) { ways += [(a, b), (b, a)] }
        switch fault.kind {
        case .isolate: for other in 0..<nodes where other != fault.node { cut(fault.node, other) }
        case .split:
            let side = (0..<nodes).map { _ in random.oneIn(2) }
            for a in 0..<nodes { for b in 0..<a where side[a] != side[b] { cut(a, b) } }
        case .ring:
            // Each node sees its neighbours only: every majority is another one.
            for a in 0..<nodes { for b in 0..<a where min(a - b, nodes - (a - b)) > 1 { cut(a, b) } }
        case .oneWay:
            for other in 0..<nodes where other != fault.node && random.oneIn(2) { ways.append((fault.node, other)) }
        case .pair:
            let other = Int(random.below(UInt64(network.ends)))
            if other != fault.node { cut(fault.node, other) }
        case .dataCentre:
            let place = topology.nodes[fault.node]
            for a in 0..<nodes where topology.nodes[a].city == place.city {
                for b in 0..<network.ends where b >= nodes || topology.nodes[b].city != place.city { cut(a, b) }
            }
        default: break
        }
        if ways.contains(where: { isUp($0) && isUp($1) }) { strikes(fault.kind) }
        for (from, to) in ways { network.block(from, to, by: 1) }
        // Connections over a cut link sometimes break rather than stall.
        if random.oneIn(3) {
            for case let wire? in wires where ways.contains(where: { $0 == (place(wire.first), place(wire.second)) }) {
                reset(wire, halfOpen: false)
            }
        }
        heal(fault) {
            for (from, to) in ways { self.network.block(from, to, by: -1) }
            self.kickWires()
        }
    }

    /// Cuts off whoever leads one group, again and again: each leader falls with work in flight, and is back before the next
    /// but one is elected.
    private func hunt(_ fault: PlannedFault, cutOff last: Int?, _ random: SeededRandom) {
        var random = random
        let others = { (node: Int) in self.machines.indices.filter { $0 != node } }
        func cut(_ node: Int, by count: Int) {
            for other in others(node) {
                network.block(node, other, by: count)
                network.block(other, node, by: count)
            }
        }
        let shard = ShardID(UInt16(fault.seed % UInt64(parameters.shards + 1)))
        let leader = leader(of: shard, except: last)
        if let leader {
            if machines.count > 1 { strikes(.hunt) }
            cut(leader, by: 1)
        }
        let pause = random.pick([20_000, 400_000, 800_000]) + random.below(400_000)
        healing[fault.number] = { [unowned self] in
            if let last { cut(last, by: -1) }
            kickWires()
            if now + pause < fault.at + safetyStart + fault.lasts, !isHealing {
                hunt(fault, cutOff: leader, random)
            } else if let leader {
                cut(leader, by: -1)
                kickWires()
            }
        }
        queue.push(.heal(fault.number), at: now + pause)
    }

    /// The first node that takes itself for the leader of a group.
    private func leader(of shard: ShardID, except other: Int? = nil) -> Int? {
        machines.indices.first { node in
            node != other
                && machines[node].engine?.groupStatuses().contains { $0.shard == shard && $0.part == .leader } ?? false
        }
    }

    /// Whether somebody is at this end of the network: clients always are.
    private func isUp(_ end: Int) -> Bool { end >= machines.count || machines[end].isUp }

    /// At any instant the replicas that are wiped, damaged or not yet repaired are a minority (FAULTS, fault budget): others get their
    /// turn when those before are as if nothing had been.
    private func moveVictims(_ fault: PlannedFault) {
        var random = SeededRandom(seed: fault.seed ^ 0x71C7_1A50)
        guard !parameters.isBeyondBudget, random.oneIn(2),
            victims.allSatisfy({ isWhole(machines[$0]) })
        else { return }
        victims = Self.victims(parameters, &random)
        trace.add(.notice, at: now, node: fault.node, 0, "victims \(victims.map { $0 + 1 })")
    }

    private func damage(_ fault: PlannedFault, _ random: inout SeededRandom) {
        guard let victim = victims.randomElement(using: &random) else { return }
        let machine = machines[victim]
        let kind = random.pick(DiskDamage.allCases)
        for _ in 0...random.below(3) {
            guard let what = machine.disk.damage(kind, &random) else { continue }
            machine.isDamaged = true
            strikes(.damage)
            trace.add(.fault, at: now, node: victim, 0, what)
            checker.damaged(machine.node, beyondBudget: parameters.isBeyondBudget)
        }
        // Damage shows when it is read: at the next start at the latest.
        if machine.isDamaged, random.below(4) > 0 { crash(machine, power: random.oneIn(2), downFor: fault.lasts) }
    }

    /// One node after the other, each a little later.
    private func rollingRestart(_ machine: Machine, _ fault: PlannedFault, _ random: inout SeededRandom) {
        let number = Self.numbersOfRestarts * (machine.position + 1) + fault.number
        healing[number] = { [unowned self] in drain(machine, downFor: 100_000 + fault.lasts / 10) }
        queue.push(.heal(number), at: now + UInt64(machine.position) * (500_000 + fault.lasts / 4) + 1)
    }

    /// Steps of a rolling restart heal under numbers of their own.
    private static let numbersOfRestarts = 1_000_000

    private func sendGarbage(_ fault: PlannedFault, _ random: inout SeededRandom) {
        let machine = machines[fault.node]
        guard let engine = machine.engine else { return }
        let id = engine.opened(
            authority: Authority(roles: [.participant(ParticipantID(1))]), dialled: nil, now: monotonic(machine))
        // Nobody is at the other end: whatever is answered goes nowhere.
        var bytes: [UInt8] = []
        if random.oneIn(2) {
            var writer = WireWriter()
            Hello(cluster: topology.cluster, side: .client, name: "garbage").encode(request: 0, into: &writer)
            bytes = writer.bytes
        }
        for _ in 0..<1 + random.below(300) { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
        bytes.withUnsafeBytes { raw in
            trace.mix(UInt64(crc32c(raw)))
            engine.received(raw, on: id, now: monotonic(machine))
        }
        engine.closed(id, now: monotonic(machine))
        scheduleTurn(machine)
    }
}
