import ClearingModel
import Ledger
import Raft
import Wire

/// How a leader closes its open entry: when the pipeline has room, with every section that waits.
///
/// Under load entries grow while the pipeline is full, and each carries thousands of records; with one payment in
/// flight the entry closes at the end of the turn that brought it. Sections alone (credits, confirmations, markers)
/// wait for a payment to ride with, but no longer than `Limits.flushInterval`.
extension ClearingGroup {
    /// While leadership is handed over, or the clock is in doubt, nothing is stamped; what waits goes on waiting.
    private func pipelineHasRoom(_ now: MonotonicTime, _ wall: WallTime) -> Bool {
        proposed.count < Limits.pipelineDepth && raft.mayPropose(now: now, wall: wall)
    }

    /// Proposes closed entries, then the open one where it is due. Called at the end of every turn.
    func proposeIfDue(now: MonotonicTime, wall: WallTime, in engine: Engine) {
        // What the disk has not taken yet is bounded over all shards of the node.
        guard isReady, !closed.isEmpty || open.records > 0 || now - lastProposal >= Limits.flushInterval,
            engine.unsyncedBytes < Limits.maximumUnsyncedBytes
        else { return }
        while !closed.isEmpty {
            guard isReady, pipelineHasRoom(now, wall) else { return }
            propose(closed.removeFirst(), now: now, in: engine)
        }
        guard isReady, open.records > 0 || now - lastProposal >= Limits.flushInterval, pipelineHasRoom(now, wall) else {
            return
        }
        // On a full disk what was taken is still decided; credits and markers wait for room, or for another leader.
        if engine.isDiskFull {
            guard open.records > 0 else { return }
            close(now: now, wall: wall)
            return propose(closed.removeFirst(), now: now, in: engine)
        }
        if now - lastFlush >= Limits.flushInterval, ledger.hasClosableCredits {
            open.flush = true
            lastFlush = now
        }
        stageSections()
        guard !open.isEmpty else { return }
        close(now: now, wall: wall)
        propose(closed.removeFirst(), now: now, in: engine)
    }

    /// Ends the filling of the open entry: stamps it and seals it. It is proposed as soon as the pipeline has room.
    func close(now: MonotonicTime, wall: WallTime) {
        let (requests, records) = (open.requests, open.records)
        let payload = open.seal(&sequence, wall: wall)
        closed.append(
            ClosedEntry(
                payload: payload, requests: requests, records: records, window: sequence.window, closedAt: now))
    }

    private func propose(_ entry: ClosedEntry, now: MonotonicTime, in engine: Engine) {
        guard case .accepted(let index, let term) = engine.propose(entry.payload, in: self) else {
            // Leadership is being lost or handed over. The order of stamps and ordinals is broken for what follows:
            // everything is refused, and the next leader starts afresh.
            for request in entry.requests { engine.refuse(request, shard: shard, .notLeader) }
            return refuseUnproposed(.notLeader, in: engine)
        }
        proposed.append(
            ProposedEntry(
                index: index, term: term, requests: entry.requests, records: entry.records, window: entry.window,
                closedAt: entry.closedAt))
        lastProposal = now
    }

    /// Whether a marker may go into the open entry; a window only where none is on its way already.
    private func admits(_ marker: Marker) -> Bool {
        guard case .openWindow = marker else { return true }
        return sequence.window == ledger.currentWindow && open.builder.openedWindow == nil && ledger.admits(marker)
    }

    /// Moves what waits into the open entry, as far as there is room.
    private func stageSections() {
        while let marker = waitingMarkers.first {
            // One that apply would not take must not be stamped: what follows would name a window that never opened.
            if !admits(marker) {
                waitingMarkers.removeFirst()
                continue
            }
            guard open.builder.add(marker) else { break }
            waitingMarkers.removeFirst()
        }
        if let update = waitingUpdate, open.builder.add(update) { waitingUpdate = nil }
        for destination in 1..<outgoing.count {
            guard let confirmation = outgoing[destination].waitingConfirmation else { continue }
            guard open.builder.add(confirmation) else { return }
            outgoing[destination].stagedConfirmation = confirmation.cursor.number
            outgoing[destination].waitingConfirmation = nil
        }
        for source in 1..<incoming.count {
            while let batch = incoming[source].waiting.first, batch.directoryVersion <= ledger.directoryVersion,
                open.builder.add(batch)
            {
                incoming[source].waiting.removeFirst()
            }
        }
    }
}
