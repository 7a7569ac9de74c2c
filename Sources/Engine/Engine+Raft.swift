import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// Carries out what a Raft replica asks for.
extension Engine {
    /// Handles the effects that a call into `group.raft` left behind, and those that handling them causes.
    func process(_ group: Group) {
        guard !raftEffects.isEmpty else { return saveFence(of: group) }
        var effects: [RaftEffect] = []
        swap(&effects, &spareRaftEffects)
        swap(&effects, &raftEffects)
        for effect in effects { handle(effect, of: group) }
        effects.removeAll(keepingCapacity: true)
        swap(&effects, &spareRaftEffects)
        process(group)
    }

    private func handle(_ effect: RaftEffect, of group: Group) {
        switch effect {
        case .persistEntries(let entries, let sequence):
            remember(log.append(entries, shard: group.shard), group, sequence)
        case .persistTruncate(let from, let term, let sequence):
            // What goes may leave the replica in doubt, and that must be durable no later.
            saveFence(of: group)
            remember(log.appendTruncate(shard: group.shard, from: from, term: term), group, sequence)
        case .persistHardState(let state, let sequence):
            remember(log.appendHardState(state, shard: group.shard), group, sequence)
        case .send(let message):
            send(message)
        case .committed(let index):
            group.commit = max(group.commit, index)
        case .becameLeader(let term):
            group.leaderSince = now
            learnLeader(group.shard, me.node, term)
            notice(.notice, "leader", [("shard", "\(group.shard)"), ("term", "\(term)")])
            metrics.elections += 1
            sendNotices()
        case .becameFollower(let term, let leader):
            if group.leaderSince != nil {
                group.leaderSince = nil
                group.lostLeadership(in: self)
                failReads(group)
                notice(.notice, "leadership lost", [("shard", "\(group.shard)"), ("term", "\(term)")])
            }
            if let leader { learnLeader(group.shard, leader.node, term) }
        case .readReady(let token, let index):
            group.reads[token]?.index = index
            // One by one: a round confirms thousands.
            if let group = group as? ClearingGroup { serveRead(token, group) }
        case .readFailed(let token):
            failRead(token, group)
        case .loadEntries(let follower, let from, let maxBytes):
            let token = token()
            logReads[token] = .follower(group.shard, follower)
            log.read(
                shard: group.shard, from: from, maxBytes: maxBytes, token: token, ops: &self.effects.disk,
                events: &logEvents)
        case .needsSnapshot(let follower):
            sendSnapshot(of: group, to: follower)
        case .quarantined(let replica):
            notice(
                .error, "replica lost what it had acknowledged; it no longer counts",
                [
                    ("shard", "\(group.shard)"), ("replica", "\(replica)"),
                    ("do", "suanpan cluster rejoin \(replica.node)"),
                ])
        case .halted(let reason):
            notice(.error, "replica halted", [("shard", "\(group.shard)"), ("reason", "\(reason)")])
        case .membershipCommitted(let membership):
            notice(.notice, "membership", [("shard", "\(group.shard)"), ("members", "\(membership)")])
        }
    }

    private func remember(_ place: LogSequence, _ group: Group, _ sequence: PersistSequence) {
        persists.append(PendingPersist(log: place, group: group, raft: sequence, at: now))
    }

    /// The log is durable up to `place`: releases what waited for that, once per group.
    func durable(through place: LogSequence) {
        while let first = persists.first, first.log <= place {
            first.group.persisted = first.raft
            persists.removeFirst()
        }
        for group in held {
            guard let sequence = group.persisted else { continue }
            group.persisted = nil
            group.raft.persisted(through: sequence, now: now, &raftEffects)
            process(group)
        }
    }

    func propose(_ payload: Slab, in group: Group) -> Proposal {
        let result = group.raft.propose(payload, &raftEffects)
        process(group)
        return result
    }

    func learnLeader(_ shard: ShardID, _ node: NodeID, _ term: Term) {
        let slot = Int(shard.rawValue)
        guard slot < leaders.count else { return }
        if let known = leaders[slot], known.term > term || (known.term == term && known.node == node) { return }
        leaders[slot] = (node, term)
    }
}
