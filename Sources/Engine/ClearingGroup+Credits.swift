import ClearingModel
import Ledger
import Wire

/// The leader's half of DESIGN's numbered credit batches: send, resend, accept once, confirm from applied state.
extension ClearingGroup {
    /// Sends closed batches that the destination has not been sent yet, and the confirmations this shard owes. What
    /// cannot be sent now is tried again after the next tick.
    func sendCredits(now: MonotonicTime, in engine: Engine) {
        guard mayOweCredits, isReady else { return }
        mayOweCredits = false
        for destination in 1..<outgoing.count { sendBatches(to: ShardID(UInt16(destination)), now: now, in: engine) }
        for source in 1..<incoming.count where incoming[source].owesConfirmation {
            let shard = ShardID(UInt16(source))
            guard let confirmation = ledger.confirmation(for: shard) else { continue }
            if engine.deliver(.confirmation(confirmation), to: shard) {
                incoming[source].owesConfirmation = false
            }
        }
    }

    private func sendBatches(to destination: ShardID, now: MonotonicTime, in engine: Engine) {
        let slot = Int(destination.rawValue)
        let last = ledger.lastClosed(to: destination).number
        guard last > ledger.confirmed(by: destination).number else { return }
        let target = engine.leaders[slot]?.node
        if target != outgoing[slot].target || now - outgoing[slot].lastSent >= Limits.creditResendInterval {
            outgoing[slot].target = target
            outgoing[slot].sent = .zero
        }
        guard last > outgoing[slot].sent, target != nil else { return }
        for batch in ledger.unconfirmedBatches(to: destination) where batch.number > outgoing[slot].sent {
            guard engine.deliver(.batch(batch), to: destination) else { return }
            outgoing[slot].sent = batch.number
            engine.metrics.creditBatchesSent += 1
        }
        outgoing[slot].lastSent = now
    }

    /// A batch from another shard's leader. Only what continues the stream is taken; what was applied is confirmed
    /// again, and what skips a number is sent again later. A mismatch is logged too, so that every replica halts the
    /// stream and says so.
    func receive(_ batch: CreditBatch, in engine: Engine) {
        guard isReady else { return }
        let slot = Int(batch.source.rawValue)
        switch ledger.admission(of: batch, after: incoming[slot].staged) {
        case .alreadyApplied:
            // Staged is not applied yet, and not confirmed before it is.
            guard batch.number <= ledger.incomingCursor(from: batch.source).number else { return }
            Site.creditBatchRepeated.reached()
            if batch.number <= incoming[slot].inherited, let leader = engine.leaders[slot],
                leader.term > batch.sourceTerm
            {
                Site.creditBatchRepeatedAfterFailovers.reached()
            }
            incoming[slot].owesConfirmation = true
            mayOweCredits = true
        case .apply, .waitsForDirectory, .mismatch:
            guard incoming[slot].waiting.count < Limits.maximumUnconfirmedBatches else { return }
            incoming[slot].staged = batch.cursor
            incoming[slot].waiting.append(batch)
        case .notYet, .halted, .wrongDestination: break
        }
    }

    /// A confirmation from the destination's leader; it trims nothing until it has gone through this shard's log.
    func receive(_ confirmation: CreditConfirmation, in engine: Engine) {
        guard isReady, confirmation.source == shard else { return }
        let slot = Int(confirmation.destination.rawValue)
        let number = confirmation.cursor.number
        guard number > ledger.confirmed(by: confirmation.destination).number,
            number > outgoing[slot].stagedConfirmation
        else { return }
        if let waiting = outgoing[slot].waitingConfirmation, waiting.cursor.number >= number { return }
        #if SUANPAN_MUTATIONS
            if Mutation.active == .trimUncommitted { ledger.trim(confirmation) }
        #endif
        outgoing[slot].waitingConfirmation = confirmation
    }

    /// A directory update that this leader asked for.
    func receive(_ update: DirectoryUpdate, in engine: Engine) {
        guard isReady, waitingUpdate == nil, update.after == ledger.directoryCursor else { return }
        waitingUpdate = update
    }

    /// Timed work of a leader: directory changes to fetch, day markers to log.
    func tick(now: MonotonicTime, wall: WallTime, in engine: Engine) {
        guard isReady else { return }
        mayOweCredits = true
        pullDirectory(now: now, in: engine)
        // What a clock in doubt asks for must not be logged later, when it is trusted again.
        guard raft.mayStamp(now: now, wall: wall) else { return waitingMarkers = [] }
        guard markersCheckedAt.map({ now - $0 >= .seconds(1) }) ?? true, waitingMarkers.isEmpty else { return }
        markersCheckedAt = now
        waitingMarkers = ledger.dueMarkers(at: wall)
    }

    private func pullDirectory(now: MonotonicTime, in engine: Engine) {
        let newest = engine.newestDirectory
        if ledger.directoryVersion >= newest.version { return directoryPull = nil }
        if let pull = directoryPull, pull.cursor == ledger.directoryCursor, now - pull.sentAt < .milliseconds(500) {
            return
        }
        directoryPull = (now, ledger.directoryCursor)
        engine.requestDirectory(ledger.directoryCursor, for: shard, from: newest.node)
    }
}
