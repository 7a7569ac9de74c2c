import Audit
import ClearingModel
import Engine

// Now and then, and at the end.
extension Checker {
    /// About once per simulated second: the money of all shards, one shard's whole states, one node's files, every node's
    /// memory.
    public func interval() {
        guard violation == nil else { return }
        report(CreditConservation.self, creditConservation.balance(replay))
        let running = tracks.compactMap { $0?.engine == nil ? nil : $0 }
        for track in running {
            report(BoundedMemory.self, boundedMemory.holds(track.replica, track.engine!.inspectResources()))
        }
        if !shards.isEmpty { compareStates(of: shards[intervals % shards.count], running) }
        let present = tracks.compactMap { $0 }
        if !present.isEmpty { scan(present[intervals % present.count]) }
        for track in running { lookForRepair(track) }
        intervals += 1
    }

    /// The end of the run, after the liveness phase: everything once more, and every acknowledged outcome.
    public func finished() {
        guard violation == nil else { return }
        isOver = true
        report(CreditConservation.self, creditConservation.balance(replay))
        let running = tracks.compactMap { $0?.engine == nil ? nil : $0 }
        for track in running {
            report(BoundedMemory.self, boundedMemory.holds(track.replica, track.engine!.inspectResources()))
        }
        for shard in shards { compareStates(of: shard, running) }
        for track in tracks.compactMap({ $0 }) {
            track.log.forgetScan()
            scan(track)
        }
        report(RefusedForGood.self, refusedForGood.finished(replay))
        for id in realTimeOrder.ids where violation == nil { find(id, running) }
    }

    /// Streams of credits on which something is still to be done, for people. At rest there are none: whatever is debited is
    /// credited, and both sides know it.
    var creditsUnderWay: [String] {
        let clearing = shards.filter { !$0.isDirectory }
        return clearing.flatMap { source -> [String] in
            var list = replay.hasBatchedAll(source) ? [] : ["shard \(source) owes credits"]
            for destination in clearing {
                let (closed, applied, confirmed) = replay.stream(from: source, to: destination)
                guard closed != applied || closed != confirmed else { continue }
                list.append(
                    "credits from shard \(source) to \(destination): closed \(closed), applied \(applied), confirmed "
                        + "\(confirmed)")
            }
            return list
        }
    }

    // MARK: States

    /// Compares whole states of one shard: with the model where a replica has applied everything committed, and among
    /// replicas at the index where the first of them stands, now or when they come by.
    private func compareStates(of shard: ShardID, _ running: [NodeTrack]) {
        let held = running.compactMap { track in
            track.engine?.applied(in: shard).map { (track: track, applied: $0) }
        }
        guard let newest = held.map(\.applied).max(), newest > .zero else { return }
        var isCompared = false
        for (track, applied) in held where applied == newest {
            guard let engine = track.engine, let hash = engine.stateHash(of: shard) else { continue }
            report(EqualStates.self, equalStates.whole(track.replica, shard, at: applied, hash: hash))
            guard !shard.isDirectory, !isCompared, applied == references[Int(shard.rawValue)].committed,
                let state = engine.encodedState(of: shard)
            else { continue }
            isCompared = true
            report(LedgerModel.self, ledgerModel.whole(track.replica, shard, applied, state.bytes, replay))
            engine.forEachAvailable(in: shard) { participant, available in
                report(
                    PositionLimits.self,
                    positionLimits.available(
                        track.replica, shard, participant, available,
                        wasLowered: available < 0 && replay.wasLowered(participant, in: shard)))
            }
        }
    }

    // MARK: Files

    /// Reads a node's files with the audit's decoder: every entry in them must have been written, and what their own hints
    /// call committed must be what was.
    private func scan(_ track: NodeTrack) {
        track.files.refresh()
        let hints = shards.map { track.log.vote(of: $0).hint }
        let found = track.log.scan(track.files) { shard, index, entry in
            let slot = Int(shard.rawValue)
            guard violation == nil else { return }
            let isReference = index <= references[slot].committed && references[slot][index].term == entry.term
            let reference = isReference ? references[slot][index] : nil
            let known =
                reference.map {
                    KnownEntry(
                        term: $0.term, previousTerm: nil, kind: $0.kind, checksum: $0.checksum, payload: $0.payload)
                } ?? tables[slot].find(index, entry.term)
            report(
                LogMatching.self,
                logMatching.found(
                    entry, shard, index, on: track.replica, known: known, wasHarmed: track.wasDamaged))
            if index <= hints[slot], !entry.isDamaged {
                report(
                    CommittedNeverChanges.self,
                    committedNeverChanges.found(
                        track.replica, shard, index, entry.term, reference: references[slot]))
            }
        }
        guard !track.wasDamaged else { return }
        let isUnreadable = found == nil && track.isAnyGroupSeen
        report(
            DurableRecords.self,
            durableRecords.read(track.replica, fault: isUnreadable ? "no log can be read" : track.log.problem))
    }

    // MARK: Outcomes

    /// Asks the indexes of all replicas that have applied an acknowledged decision.
    private func find(_ id: TransactionID, _ running: [NodeTrack]) {
        guard let known = realTimeOrder[id] else { return }
        var isKnown = false
        for track in running {
            guard let engine = track.engine, let group = track.last[Int(known.shard.rawValue)],
                group.applied >= known.index
            else { continue }
            isKnown = true
            // Where ids share fingerprints the index may speak of another one.
            let hit = engine.indexHit(of: id, in: known.shard)
            report(
                AcknowledgedOutcomes.self,
                acknowledgedOutcomes.kept(
                    id, known.outcome, by: track.replica,
                    indexed: collides && hit != nil ? known.outcome : hit?.outcome,
                    isExpired: hit == nil && engine.isExpired(id, in: known.shard)))
        }
        if !isKnown { acknowledgedOutcomes.nobodyKnows() }
    }
}
