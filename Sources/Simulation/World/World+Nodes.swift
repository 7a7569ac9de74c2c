import ClearingModel
import Engine
import LogFormat
import Wire

/// Processes: their turns, their disks, their ends.
extension World {
    // MARK: Life

    func start(_ machine: Machine) {
        precondition(machine.engine == nil, "one process a node")
        machine.life += 1
        machine.startedAt = now
        machine.isDraining = false
        machine.turnScheduled = false
        machine.lanes = [DiskLane(), DiskLane(), DiskLane()]
        var configuration = EngineConfiguration(
            replica: machine.replica, topology: topology,
            seed: parameters.seed &* 31 &+ UInt64(machine.position) &* 1_000_003 &+ UInt64(machine.life),
            logOptions: parameters.logOptions, ledgerOptions: parameters.ledgerOptions)
        configuration.snapshotChunkBytes = parameters.snapshotChunk
        configuration.repairReplyBytes = parameters.snapshotChunk
        configuration.checkpointLagSegments = parameters.checkpointLagSegments
        if machine.disk.dropCache(&diskRandom) { checker.powerLost(machine.node) }
        let engine = Engine(configuration: configuration, now: monotonic(machine), wall: wall(machine))
        machine.engine = engine
        trace.add(.started, at: now, node: machine.position, UInt64(machine.incarnation.rawValue), "started")
        checker.started(machine.replica, engine: engine, disk: machine.disk)
        engine.start()
        carryOut(engine.takeEffects(), of: machine)
        queue.push(.tick(node: machine.position, life: machine.life), at: now + parameters.tick)
        for (index, link) in links.enumerated() where link.second == machine.position { redial(index, after: 1_000) }
    }

    /// The process is gone at once; with `power`, so is what the disk had not made durable.
    func crash(_ machine: Machine, power: Bool, downFor: UInt64?) {
        guard machine.isUp else {
            if power { losePower(machine) }
            return
        }
        machine.engine = nil
        machine.crash = nil
        trace.add(.stopped, at: now, node: machine.position, power ? 1 : 0, power ? "power cut" : "killed")
        checker.stopped(machine.node)
        for lane in machine.lanes {
            // What the kernel had begun it may finish.
            if lane.isBusy, let operation = lane.operations.first, diskRandom.oneIn(2) {
                _ = perform(operation, of: machine)
            }
        }
        machine.lanes = [DiskLane(), DiskLane(), DiskLane()]
        if power { losePower(machine) }
        for wire in wires { if let wire { end(of: machine.position, on: wire, silently: power) } }
        machine.wires = [:]
        machine.life += 1
        if let downFor, !machine.isDeadForEver {
            queue.push(.start(node: machine.position, life: machine.life), at: now + max(downFor, 1_000))
        }
    }

    private func losePower(_ machine: Machine) {
        machine.disk.losePower(&diskRandom)
        trace.add(.powerLost, at: now, node: machine.position)
        checker.powerLost(machine.node)
    }

    /// A process that is told to stop: it hands leadership away first.
    func drain(_ machine: Machine, downFor: UInt64) {
        guard let engine = machine.engine, engine.isRunning, !machine.isDraining else {
            return crash(machine, power: false, downFor: downFor)
        }
        machine.isDraining = true
        machine.drain = (deadline: now + 1_000_000, downFor: downFor)
        trace.add(.notice, at: now, node: machine.position, 0, "stopping in order")
        engine.stop(now: monotonic(machine))
        scheduleTurn(machine)
        queue.push(.drained(node: machine.position, life: machine.life), at: now + 10_000)
    }

    func drained(_ machine: Machine, _ life: Int) {
        guard machine.life == life, let engine = machine.engine, machine.isDraining else { return }
        guard engine.isDrained || now >= machine.drain.deadline else {
            return queue.push(.drained(node: machine.position, life: life), at: now + 10_000)
        }
        engine.sayGoodbye()
        carryOut(engine.takeEffects(), of: machine)
        crash(machine, power: false, downFor: machine.drain.downFor)
    }

    // MARK: Turns

    func scheduleTurn(_ machine: Machine) {
        guard !machine.turnScheduled, machine.isUp else { return }
        machine.turnScheduled = true
        let at = max(now + parameters.turn * machine.slowness, machine.pausedUntil)
        queue.push(.turn(node: machine.position, life: machine.life), at: at)
    }

    func tick(_ machine: Machine, _ life: Int) {
        guard machine.life == life, let engine = machine.engine else { return }
        if now < machine.pausedUntil {
            // Sockets are drained before time-outs judge: arrivals at this instant were scheduled before.
            return queue.push(.tick(node: machine.position, life: life), at: machine.pausedUntil + 1)
        }
        let (monotonic, wall) = (monotonic(machine), wall(machine))
        trace.add(.tick, at: now, node: machine.position, wall.rawValue)
        trace.mix(monotonic.rawValue)
        engine.tick(now: monotonic, wall: wall)
        scheduleTurn(machine)
        queue.push(.tick(node: machine.position, life: life), at: now + parameters.tick * machine.slowness)
    }

    func turn(_ machine: Machine, _ life: Int) {
        guard machine.life == life, let engine = machine.engine else { return }
        if now < machine.pausedUntil {
            return queue.push(.turn(node: machine.position, life: life), at: machine.pausedUntil)
        }
        machine.turnScheduled = false
        let wall = wall(machine)
        trace.add(.turn, at: now, node: machine.position, wall.rawValue)
        engine.endOfTurn(now: monotonic(machine), wall: wall)
        checker.turned(machine.node, engine: engine)
        carryOut(engine.takeEffects(), of: machine)
        if strikes(machine, .turn) { return }
    }

    /// Whether an armed crash is due at this point; if so the process is gone when this returns.
    func strikes(_ machine: Machine, _ point: Machine.CrashPoint) -> Bool {
        guard machine.crash?.point == point, !machine.isDraining else { return false }
        machine.crash!.after -= 1
        guard machine.crash!.after <= 0, let crash = machine.crash else { return false }
        strikes(.crashPoint)
        trace.add(.fault, at: now, node: machine.position, 0, "crash at \(point)")
        self.crash(machine, power: crash.power, downFor: crash.downFor)
        return true
    }

    func carryOut(_ effects: EngineEffects, of machine: Machine) {
        guard let engine = machine.engine else { return }
        let life = machine.life
        // Its checkpoint is durable, the log's new start is not written yet.
        if effects.log.contains(where: { $0.event == "snapshot in force" }), strikes(machine, .snapshot) { return }
        for operation in effects.disk {
            trace.mix(operation)
            machine.lanes[DiskLane.index(of: operation.lane)].operations.append(operation)
            if strikes(machine, .diskOperation) { return }
        }
        for lane in 0..<3 { beginDisk(machine, lane) }
        for id in effects.dirty {
            let parts = engine.takeOutput(id)
            trace.mix(id.rawValue)
            trace.mix(parts)
            send(parts, from: machine, on: id)
            if strikes(machine, .output) { return }
        }
        for id in effects.close {
            trace.mix(id.rawValue)
            close(id, of: machine)
        }
        for event in effects.log {
            note(event, of: machine)
            if event.event == "snapshot begins" { maySnapshotLoseItsSender(event) }
        }
        if let failure = effects.fatal, machine.life == life { failed(machine, failure) }
    }

    /// Another leader may have the entries, and be faster than the snapshot.
    private func maySnapshotLoseItsSender(_ event: EngineLog) {
        guard !isHealing, parameters.faultKinds.contains(where: { $0 == .transfer || $0 == .hunt }),
            faultRandom.oneIn(2),
            let shard = event.fields.first(where: { $0.0 == "shard" }).flatMap({ UInt16($0.1) })
        else { return }
        strikes(.transfer)
        orderTransfer(ShardID(shard), to: nil)
    }

    private func note(_ event: EngineLog, of machine: Machine) {
        let fields = event.fields.map { "\($0.0)=\($0.1)" }.joined(separator: " ")
        trace.add(.notice, at: now, node: machine.position, 0, "\(event.event) \(fields)")
    }

    // MARK: Disk

    private func beginDisk(_ machine: Machine, _ lane: Int) {
        guard !machine.lanes[lane].isBusy, let operation = machine.lanes[lane].operations.first else { return }
        machine.lanes[lane].isBusy = true
        var microseconds: UInt64 =
            switch operation.kind {
            case .sync, .syncDirectory: parameters.syncLatency
            case .write(_, _, let slabs): 20 + UInt64(slabs.reduce(0) { $0 + $1.count }) / 1_000
            case .read: 100
            default: 50
            }
        microseconds += diskRandom.below(microseconds / 2 + 1)
        if diskRandom.oneIn(200) { microseconds *= 10 }
        let at = max(now + microseconds * machine.diskSlowness, machine.diskStalledUntil)
        queue.push(.disk(node: machine.position, life: machine.life, lane: lane), at: at)
    }

    func diskDone(_ machine: Machine, _ life: Int, _ lane: Int) {
        guard machine.life == life, let engine = machine.engine,
            let operation = machine.lanes[lane].operations.first
        else { return }
        if now < machine.diskStalledUntil {
            return queue.push(.disk(node: machine.position, life: life, lane: lane), at: machine.diskStalledUntil)
        }
        // The disk goes on while the process is stopped; what it has to say waits.
        if now < machine.pausedUntil {
            return queue.push(.disk(node: machine.position, life: life, lane: lane), at: machine.pausedUntil)
        }
        let point: Machine.CrashPoint? =
            switch operation.kind {
            case .write(.checkpointTemporary, _, _), .rename: .checkpoint
            case .write: .write
            case .sync: .sync
            default: nil
            }
        if let point, strikes(machine, point) { return }
        let told = machine.lanes[lane].end(operation, perform(operation, of: machine))
        if !told.isEmpty {
            for completion in told { engine.completed(completion, now: monotonic(machine)) }
            scheduleTurn(machine)
        }
        beginDisk(machine, lane)
    }

    private func perform(_ operation: DiskOperation, of machine: Machine) -> DiskCompletion.Result {
        if let broken = machine.lanes[DiskLane.index(of: operation.lane)].broken { return .failed(broken) }
        let result = machine.disk.perform(operation.kind)
        trace.mix(operation.id, result)
        switch (operation.kind, result) {
        case (.write(let file, let offset, let slabs), .done):
            trace.add(.diskWrite, at: now, node: machine.position, operation.id)
            checker.wrote(machine.node, file: file, offset: offset, slabs: slabs)
        case (.sync(let file), .done):
            trace.add(.diskSync, at: now, node: machine.position)
            checker.synced(machine.node, file: file)
        case (.rename(let from, let to), .done): checker.renamed(machine.node, from: from, to: to)
        case (.remove(let file), .done): checker.removed(machine.node, file: file)
        case (.syncDirectory, .done): checker.directorySynced(machine.node)
        case (_, .failed(let error)):
            machine.excusedUntil = now + 2_000_000
            switch (error.code, operation.kind) {
            case (DiskError.noSpaceCode, _): strikes(.diskFull)
            case (DiskError.unreadableCode, .write): strikes(.failWrite)
            case (DiskError.unreadableCode, .sync): strikes(.failSync)
            default: break
            }
            trace.add(.diskOther, at: now, node: machine.position, operation.id, "disk: \(error)")
        case (.freeSpace, _) where machine.disk.isFull:
            strikes(.diskFull)
            trace.add(.diskOther, at: now, node: machine.position, operation.id)
        default: trace.add(.diskOther, at: now, node: machine.position, operation.id)
        }
        return result
    }

    // MARK: Ends that a process chose itself

    private func failed(_ machine: Machine, _ failure: EngineFailure) {
        trace.add(.failure, at: now, node: machine.position, 0, failure.text)
        if !machine.isExcused(now) && !parameters.isBeyondBudget || failure.text.contains("hashes to") {
            fail("NodeStands", "a node ends by itself only for damage or a disk that fails", failure.text)
        }
        let again = machine.countFailure(at: now)
        if again >= 3, victims.contains(machine.position), !parameters.isBeyondBudget { machine.needsWipe = true }
        crash(machine, power: false, downFor: machine.needsWipe ? nil : 200_000)
        if machine.needsWipe { wipe(machine, downFor: 200_000) }
    }

    private func incarnation(after last: Incarnation) -> Incarnation {
        #if SUANPAN_MUTATIONS
            if Mutation.active == .keepIncarnation { return last }
        #endif
        return Incarnation(last.rawValue + 1)
    }

    /// An empty disk, as a new incarnation that operators are asked to take in.
    func wipe(_ machine: Machine, downFor: UInt64) {
        crash(machine, power: false, downFor: nil)
        machine.disk = SimulatedDisk()
        machine.incarnation = incarnation(after: machine.incarnation)
        machine.needsWipe = false
        machine.forgiveFailures()
        machine.rejoining = true
        trace.add(.fault, at: now, node: machine.position, 0, "wiped")
        queue.push(.start(node: machine.position, life: machine.life), at: now + downFor)
    }
}
