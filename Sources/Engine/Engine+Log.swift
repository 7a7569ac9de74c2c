import ClearingModel
import Ledger
import LogFormat
import Raft

/// What the log tells: recovery, durability, reads, damage.
extension Engine {
    /// Handles events until there are none; what the log still holds in memory it answers at once, by an event of the
    /// same call.
    func drainLogEvents() {
        while !logEvents.isEmpty {
            var events: [LogEvent] = []
            swap(&events, &spareLogEvents)
            swap(&events, &logEvents)
            for event in events { handle(event) }
            events.removeAll(keepingCapacity: true)
            swap(&events, &spareLogEvents)
        }
    }

    private func handle(_ event: LogEvent) {
        switch event {
        case .recovered(let shards): recovered(shards)
        case .recoveryFailed(let error): fail(configuration: true, "\(error)")
        case .durable(let place): durable(through: place)
        case .entries(let token, let entries): entriesRead(token, entries)
        case .record(let token, let stored): originalRead(token, OriginalRecord(stored))
        case .readFailed(let token, let reason): readFailed(token, "\(reason)")
        case .checkpointLoaded(let shard, let checkpoint): checkpointLoaded(shard, checkpoint)
        case .checkpointOpened(let shard, let checkpoint): snapshotOpened(shard, checkpoint)
        case .checkpointPiece(let token, let piece): snapshotPiece(token, piece)
        case .snapshotWritten(let shard, let index, let bytes): snapshotWritten(shard, index, bytes)
        case .snapshotFailed(let shard, let index, let error): snapshotUnwritten(shard, index, error)
        case .checkpointDurable(let shard, let index): checkpointDurable(shard, index)
        case .checkpointFailed(let shard, let index, let error): checkpointFailed(shard, index, error)
        case .checkpointDamaged(let shard, let index):
            checkpointDamaged(shard, index)
        case .damaged(let shard, let from, let through, let file, let offset):
            foundDamage(shard, from: from, through: through, file: file, offset: offset)
        case .holesFilled(let shard): holesFilled(shard)
        case .logStartMoved(let shard, let index, _): group(shard)?.raft.compact(through: index)
        case .expired(let segment): notice(.info, "segment expired", [("segment", "\(segment)")])
        case .freeSpace(let bytes): freeBytes = bytes
        case .diskFull(let bytes):
            freeBytes = bytes
            isDiskFull = true
            notice(.error, "disk full: no new work is taken; free space or move the node", [("freeBytes", "\(bytes)")])
            sendNotices()
            leaveFullDisk()
        case .diskRecovered(let bytes):
            freeBytes = bytes
            isDiskFull = false
            notice(.notice, "disk has room again", [("freeBytes", "\(bytes)")])
            sendNotices()
        case .failed(let error):
            fail(
                "the log cannot be written: \(error). What the page cache holds is unknown; the process ends. "
                    + "Check the disk, then start the node again"
            )
        }
    }

    private func entriesRead(_ token: UInt64, _ entries: [RaftEntry]) {
        switch logReads.removeValue(forKey: token) {
        case .apply(let shard):
            guard let group = group(shard) else { return }
            applyRead(entries, group)
        case .follower(let shard, let follower):
            guard let group = group(shard) else { return }
            group.raft.entriesLoaded(for: follower, entries, now: now, &raftEffects)
            process(group)
        case .repair(let inquiry): answer(inquiry, entries)
        case nil: break
        }
    }

    private func readFailed(_ token: UInt64, _ reason: String) {
        switch logReads.removeValue(forKey: token) {
        case .apply(let shard):
            guard let group = group(shard) else { return }
            // The group stays where it is: what cannot be read is not applied, and its peers go on.
            group.readFailedAt = now
            guard group.stuckSince == nil else { return }
            group.stuckSince = now
            notice(.error, "committed entry unreadable", [("shard", "\(shard)"), ("reason", reason)])
        case .follower(let shard, let follower):
            guard let group = group(shard) else { return }
            group.raft.entriesLoaded(for: follower, [], now: now, &raftEffects)
            process(group)
        case .repair(let inquiry): answer(inquiry, [])
        case nil: originalUnreadable(token, reason)
        }
    }

    /// Gives every led group to another replica.
    public func handLeadershipAway() {
        for group in held where group.isLeader {
            group.raft.transferLeadership(to: nil, now: now, &raftEffects)
            process(group)
        }
    }

    /// Gives every led group to a replica that keeps up and has room; where none has, leadership stays.
    private func leaveFullDisk() {
        for group in held where group.isLeader {
            let fit = group.raft.followerStatus.filter {
                $0.isVoter && $0.state == .replicate && !isDiskFull(on: $0.replica.node)
                    && now - $0.lastHeard < Limits.electionTimeoutMinimum
            }
            guard let target = fit.max(by: { $0.match < $1.match })?.replica else { continue }
            group.raft.transferLeadership(to: target, now: now, &raftEffects)
            process(group)
        }
    }

    // MARK: Housekeeping

    /// A log that found no room for its first segment is opened as soon as there is some.
    func awaitRoom() {
        guard isDiskFull, now - lastHousekeeping >= .seconds(1) else { return }
        lastHousekeeping = now
        log.checkFreeSpace(&effects.disk)
    }

    func housekeeping() {
        lastHousekeeping = now
        log.checkFreeSpace(&effects.disk)
        for group in held {
            continueReplacement(of: group)
        }
        if isDiskFull { leaveFullDisk() }
        repairHoles()
        askForStates()
        watchDisputes()
        watchRecordReads()
        watchOutgoingSnapshot()
        watchIncomingSnapshot()
        watchBackfill()
        checkpointLaggards()
        expireSegments()
        drainLogEvents()
        returnPreferredLeaders()
        for connection in connections {
            guard let connection, !connection.isClosing else { continue }
            if case .greeting = connection.kind, now - connection.openedAt >= .seconds(5) {
                refuseAndClose(connection, .malformed, "no hello within 5 s")
            }
            if connection.output.byteCount > Limits.connectionWindowBytes * 4 {
                refuseAndClose(connection, .overloaded, "the other side does not read")
            }
        }
    }

    /// Hands shards back to their preferred leaders, one a second, each only after 10 stable seconds.
    private func returnPreferredLeaders() {
        for group in held where group.isLeader && group.placement.preferredLeader != me.node {
            guard now - group.lastPreferredTry >= group.preferredBackOff,
                let target = group.raft.wantsPreferredTransfer, !isDiskFull(on: target.node)
            else { continue }
            group.lastPreferredTry = now
            group.preferredBackOff = group.preferredBackOff * 2
            notice(
                .info, "shard returns to its preferred leader",
                [("shard", "\(group.shard)"), ("node", "\(target.node)")])
            group.raft.transferLeadership(to: target, now: now, &raftEffects)
            process(group)
            return
        }
    }

    /// Stops taking work, hands leadership away and says goodbye to peers. `isDrained` tells when nothing is left to
    /// answer.
    public func stop(now: MonotonicTime) {
        guard phase == .running else { return }
        phase = .stopping
        handLeadershipAway()
    }

    public var isDrained: Bool {
        phase != .stopping
            || held.allSatisfy { !$0.isLeader || $0.raft.membership.voters.count == 1 } && log.unsyncedBytes == 0
    }

    /// Tells every connection that its end is meant.
    public func sayGoodbye() {
        for connection in connections {
            guard let connection, !connection.isClosing else { continue }
            connection.output.write { $0.frame(.goodbye, request: 0) { _ in } }
            markDirty(connection)
            effects.close.append(connection.id)
        }
    }
}
