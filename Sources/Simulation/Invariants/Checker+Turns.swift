import ClearingModel
import Engine
import Ledger
import Raft

// After each turn of a node.
extension Checker {
    /// A turn of the node ended (input and `endOfTurn`), and none of its effects is carried out yet.
    ///
    /// Groups that did not change cost a stamp; O(what changed) otherwise.
    public func turned(_ node: NodeID, engine: any EngineView) {
        guard violation == nil, let track = track(node), track.engine != nil else { return }
        for place in 0..<engine.inspectedGroups {
            let stamp = engine.inspectionStamp(place)
            if track.stamps[place] == stamp { continue }
            track.stamps[place] = stamp
            let seen = engine.inspectGroup(place)
            let shard = Int(seen.shard.rawValue)
            let before = track.last[shard]
            if let before, before == seen { continue }
            look(seen, before, track, engine)
            track.last[shard] = seen
            if violation != nil { return }
        }
    }

    private func look(_ now: GroupInspection, _ before: GroupInspection?, _ track: NodeTrack, _ engine: any EngineView)
    {
        let (replica, shard) = (track.replica, Int(now.shard.rawValue))
        report(IndexOrder.self, indexOrder.turned(replica, now))
        if track.wasDamaged, !now.raft.fence.isEmpty { track.isDamaged = true }
        if let before {
            report(NothingGoesBack.self, nothingGoesBack.turned(replica, before: before, now: now))
        } else {
            report(
                KeptOverRestarts.self,
                keptOverRestarts.started(
                    replica, now, held: heldCommitted(of: now.shard, track), wasHarmed: track.wasDamaged,
                    termAt: { engine.term(of: now.shard, at: $0) }))
            report(
                NothingGoesBack.self,
                nothingGoesBack.started(
                    replica, now, durable: track.durableVotes[shard], isDamaged: track.isDamaged))
            // What it forgot it may contradict once that is settled; whether it was worthless by then, others tell
            // (`ElectionSafety`, `LeaderCompleteness`).
            if track.isDamaged, now.raft.fence.contains(.noVote) { track.forgetVote(of: now) }
        }
        if before == nil || before!.raft.term != now.raft.term || before!.raft.vote != now.raft.vote {
            report(
                VoteOnce.self,
                voteOnce.turned(replica, now, known: &track.votes[shard], isDamaged: track.isDamaged))
        }
        guard violation == nil else { return }
        let reaches = max(now.raft.commit, now.commit)
        if reaches > references[shard].committed { commit(through: reaches, now, track, engine) }
        guard violation == nil else { return }
        if now.raft.role == .leader {
            report(
                MembershipAfterCommit.self,
                membershipAfterCommit.leads(track.replica, now, termAt: { engine.term(of: now.shard, at: $0) }))
            lead(now, before, track, engine)
        }
        if track.memberships[shard]?.index != now.raft.membershipIndex { changeMembership(now, before, track, engine) }
        let committedBefore = before?.commit ?? now.raft.start
        if now.commit > committedBefore {
            report(
                CommittedNeverChanges.self,
                committedNeverChanges.learned(
                    replica, now.shard, after: committedBefore, through: now.commit, reference: references[shard],
                    termAt: { engine.term(of: now.shard, at: $0) }))
        }
        if before?.applied != now.applied || before?.runningHash != now.runningHash {
            applied(now, before, track, engine)
        }
    }

    private func lead(_ now: GroupInspection, _ before: GroupInspection?, _ track: NodeTrack, _ engine: any EngineView)
    {
        if let before, before.raft.role == .leader, before.raft.term == now.raft.term {
            if before.raft.lastIndex == now.raft.lastIndex, before.raft.lastTerm == now.raft.lastTerm { return }
            report(
                LeaderAppendOnly.self,
                leaderAppendOnly.leads(
                    track.replica, before: before, now: now,
                    termNow: engine.term(of: now.shard, at: before.raft.lastIndex)))
            return
        }
        report(ElectionSafety.self, electionSafety.leads(now.shard, now.raft.term, track.replica))
        report(
            ElectedByMajority.self,
            electedByMajority.elected(
                track.replica, now.shard, now.raft.term, engine.membership(of: now.shard),
                ballot: { self.ballot(of: $0, now.shard, now.raft.term, for: track.replica) }))
        report(
            LeaderCompleteness.self,
            leaderCompleteness.elected(
                track.replica, now, reference: references[Int(now.shard.rawValue)],
                termAt: { engine.term(of: now.shard, at: $0) }))
    }

    private func changeMembership(
        _ now: GroupInspection, _ before: GroupInspection?, _ track: NodeTrack, _ engine: any EngineView
    ) {
        let shard = Int(now.shard.rawValue)
        let membership = engine.membership(of: now.shard)
        if let known = track.memberships[shard], now.raft.role == .leader, now.raft.membershipIndex > known.index,
            before?.raft.term == now.raft.term, before?.raft.role == .leader,
            engine.term(of: now.shard, at: now.raft.membershipIndex) == now.raft.term
        {
            report(
                MembershipSteps.self,
                membershipSteps.proposed(track.replica, now, membership, before: known))
        }
        track.memberships[shard] = (now.raft.membershipIndex, membership)
    }

    // MARK: Committed

    /// A replica is the first to take entries for committed: they become the reference, and the model applies them.
    private func commit(through index: LogIndex, _ now: GroupInspection, _ track: NodeTrack, _ engine: any EngineView) {
        let shard = Int(now.shard.rawValue)
        let replica = track.replica
        while references[shard].committed < index {
            let next = references[shard].committed.next
            guard let term = engine.term(of: now.shard, at: next) else {
                return report(
                    StateMachineSafety.self,
                    "shard \(now.shard): \(replica) has a state up to entry \(index), of which nobody was seen to "
                        + "commit \(next)")
            }
            guard let entry = tables[shard].find(next, term) else {
                return report(
                    CommittedOnMajority.self,
                    "shard \(now.shard): \(replica) takes entry \(next) of term \(term) for committed, which no disk "
                        + "was given")
            }
            if entry.kind == EntryKind.data.rawValue {
                replay.apply(entry.payload, shard: now.shard, index: next, term: term)
                report(LedgerModel.self, ledgerModel.fed(replay))
            }
            references[shard].append(
                ReferenceLog.Entry(
                    term: term, kind: entry.kind, checksum: entry.checksum, committedIn: now.raft.term,
                    payload: entry.payload, modelHash: replay.runningHash(of: now.shard)))
        }
        let term = references[shard][index].term
        if now.raft.role == .leader {
            report(CommitsOwnTerm.self, commitsOwnTerm.committed(replica, now, index, term))
        }
        report(
            CommittedOnMajority.self,
            committedOnMajority.committed(
                now.shard, index, term, by: replica, engine.membership(of: now.shard),
                holding: { self.holding($0, now.shard, index, term) }))
    }

    // MARK: Applied

    private func applied(
        _ now: GroupInspection, _ before: GroupInspection?, _ track: NodeTrack, _ engine: any EngineView
    ) {
        let (replica, shard) = (track.replica, Int(now.shard.rawValue))
        report(
            StateMachineSafety.self,
            stateMachineSafety.applied(
                replica, now.shard, after: before?.applied ?? now.raft.start, through: now.applied,
                reference: references[shard], termAt: { engine.term(of: now.shard, at: $0) }))
        guard violation == nil, now.applied > .zero else { return }
        if !now.shard.isDirectory {
            report(
                EqualStates.self,
                equalStates.applied(
                    replica, now.shard, now.applied, hash: now.runningHash, reference: &references[shard]))
            report(
                LedgerModel.self,
                ledgerModel.applied(
                    replica, now.shard, now.applied, hash: now.runningHash,
                    model: references[shard][now.applied].modelHash))
            if before?.runningHash != now.runningHash { compareStreams(now.shard, track, engine) }
        }
        if equalStates.wantsWhole(now.shard, at: now.applied), let hash = engine.stateHash(of: now.shard) {
            report(EqualStates.self, equalStates.whole(replica, now.shard, at: now.applied, hash: hash))
        }
    }

    private func compareStreams(_ shard: ShardID, _ track: NodeTrack, _ engine: any EngineView) {
        engine.forEachStream(of: shard) { other, now in
            let (place, at) = (Int(shard.rawValue), Int(other.rawValue))
            let before = track.streams[place][at]
            guard now != before else { return }
            track.streams[place][at] = now
            if now.applied != before.applied {
                report(
                    CreditStreamOrder.self,
                    creditStreamOrder.incoming(
                        track.replica, from: other, to: shard, before: before.applied.number, now: now.applied,
                        model: replay.stream(from: other, to: shard)))
            }
            if now.closed != before.closed || now.confirmed != before.confirmed {
                report(
                    CreditStreamOrder.self,
                    creditStreamOrder.outgoing(
                        track.replica, from: shard, to: other, before: before, now: now,
                        model: replay.stream(from: shard, to: other)))
            }
        }
    }
}
