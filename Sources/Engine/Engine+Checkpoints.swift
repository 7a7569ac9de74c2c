import ClearingModel
import Ledger
import LogFormat
import Raft

/// Checkpoints, and the oldest segments that go once checkpoints and retention allow it.
///
/// ```
///  apply ──due──▶ encode ──▶ waits until the own log is durable up to there ──▶ written ──▶ durable ──▶ expire
/// ```
/// A checkpoint never covers more than the own log holds durably. So a checkpoint beyond the end of a recovered log is
/// an installed snapshot, and nothing that this replica has acknowledged is missing from its log for another reason.
extension Engine {
    /// Takes a checkpoint where the log says that one is due: at the same index on all replicas.
    func takeCheckpointIfDue(_ group: Group) {
        if group.checkpointDue { takeCheckpoint(group) }
    }

    /// Takes a checkpoint of what is applied, unless one is on its way already.
    func takeCheckpoint(_ group: Group) {
        let infos = log.checkpoints(of: group.shard)
        guard !group.isCheckpointing, group.waitingCheckpoint == nil, group.applied > infos.first?.index ?? .zero,
            !group.lacksState
        else { return }
        let standsAlone =
            group.alwaysStandsAlone || group.nextStandsAlone || isChainSpent(infos, neededFrom: group.neededFrom)
        let content = group.encodeCheckpoint(standsAlone: standsAlone)
        group.waitingCheckpoint = Checkpoint(
            index: group.applied, term: group.appliedTerm, membership: group.appliedMembership, content: content,
            standsAlone: standsAlone)
        group.nextStandsAlone = false
        group.checkpointSegment = log.lastAddress.segment
        let hash = group.stateHash()
        group.stateHashes.append(.init(shard: group.shard, index: group.applied, hash: hash))
        if group.stateHashes.count > 4 { group.stateHashes.removeFirst() }
        compareStates(of: group.shard, at: group.applied)
        metrics.checkpoints += 1
        notice(
            .info, "checkpoint",
            [
                ("shard", "\(group.shard)"), ("index", "\(group.applied)"), ("hash", String(hash, radix: 16)),
                ("standsAlone", "\(standsAlone)"),
            ])
    }

    /// Whether continuing the newest checkpoint's chain is impossible, or reads mostly what no retained day needs any
    /// more.
    private func isChainSpent(_ infos: [CheckpointInfo], neededFrom: LogIndex) -> Bool {
        guard var info = infos.first else { return true }
        var (length, spent) = (1, 0)
        while let previous = info.previous {
            guard let next = infos.first(where: { $0.index == previous }) else { return true }
            info = next
            length += 1
            if info.index < neededFrom { spent += 1 }
        }
        return length >= 8 && spent * 2 >= length
    }

    /// Hands checkpoints to the disk whose entries are durable in the own log.
    func writeCheckpoints() {
        for group in held {
            guard let checkpoint = group.waitingCheckpoint, !group.isCheckpointing,
                group.raft.durableIndex >= checkpoint.index
            else { continue }
            group.waitingCheckpoint = nil
            group.isCheckpointing = true
            log.writeCheckpoint(
                shard: group.shard, index: checkpoint.index, term: checkpoint.term, membership: checkpoint.membership,
                content: checkpoint.content, standsAlone: checkpoint.standsAlone, ops: &effects.disk)
        }
    }

    func checkpointDurable(_ shard: ShardID, _ index: LogIndex) {
        guard let group = group(shard) else { return }
        group.isCheckpointing = false
        snapshotDurable(group, index)
        expireSegments()
    }

    func checkpointFailed(_ shard: ShardID, _ index: LogIndex, _ error: DiskError) {
        guard let group = group(shard) else { return }
        group.isCheckpointing = false
        // What the index gained was in that file: the next one has to hold all of it.
        group.nextStandsAlone = true
        snapshotFailed(group, index)
        notice(.error, "checkpoint not written", [("shard", "\(shard)"), ("index", "\(index)"), ("error", "\(error)")])
    }

    /// A checkpoint is used no more: the next one cannot continue a chain that it is part of.
    ///
    /// One that is being written when this happens continues it still; it counts for nothing then, as any whose chain is
    /// broken. During the start there is no group yet, and what is restored continues the checkpoint that was chosen.
    func checkpointDamaged(_ shard: ShardID, _ index: LogIndex) {
        metrics.damagedRecords += 1
        notice(.error, "checkpoint damaged; an earlier one is used", [("shard", "\(shard)"), ("index", "\(index)")])
        guard let group = group(shard) else { return }
        group.nextStandsAlone = true
        // It would be written as the continuation of an earlier one, whose index part it does not follow.
        if group.waitingCheckpoint?.standsAlone == false { group.waitingCheckpoint = nil }
    }

    // MARK: Expiry

    /// How long a follower that is not heard keeps the leader's log from going: after that it is brought back by a
    /// snapshot.
    private static let followerPatience = MonotonicTime.Span.seconds(30)

    /// Lets the log's oldest segments go where nobody needs them.
    func expireSegments() {
        guard phase == .running || phase == .stopping else { return }
        log.expire(
            retained: held.map { (shard: $0.shard, from: firstNeeded($0)) }, ops: &effects.disk, events: &logEvents)
    }

    /// The first entry of a group that must stay: for the records of retained days, for followers that replicate, and
    /// for the one that a snapshot is on its way to.
    private func firstNeeded(_ group: Group) -> LogIndex {
        var from = group.neededFrom
        if let outgoing, outgoing.shard == group.shard { from = min(from, outgoing.index.next) }
        for follower in group.raft.followerStatus
        where follower.state == .replicate && now - follower.lastHeard < Self.followerPatience {
            from = min(from, follower.match.next)
        }
        return from
    }

    /// Groups with little work never reach a checkpoint by bytes; theirs is taken before it holds the log back. One
    /// with no work at all gets an empty entry first: a checkpoint needs a new index, and a segment goes only below the
    /// second newest checkpoint.
    func checkpointLaggards() {
        let active = log.lastAddress.segment
        for group in held where active >= group.checkpointSegment + configuration.checkpointLagSegments {
            if group.isReady, group.applied == group.raft.lastIndex,
                group.applied == log.checkpoints(of: group.shard).first?.index
            {
                group.raft.proposeNothing(&raftEffects)
                process(group)
            }
            takeCheckpoint(group)
        }
    }

    // MARK: Fences and the idle log

    /// Writes down what a replica may not do, or may again, so that a restart does not forget it.
    ///
    /// A hole, or a lost state, is found again by recovery for as long as it is there.
    func saveFence(of group: Group) {
        let fence = group.raft.fence.subtracting(.evident)
        guard fence != group.savedFence.subtracting(.evident) else { return }
        group.savedFence = fence
        log.setFence(fence, shard: group.shard)
        notice(.notice, "fence", [("shard", "\(group.shard)"), ("fence", "\(fence.rawValue)")])
    }

    /// Writes one closing mark once nothing was appended for a while: it tells that the last group was durable, so that
    /// damage in it is never taken for a torn tail.
    func closeIdleLog() {
        if log.appendedThrough != idleAfter {
            idleAfter = log.appendedThrough
            idleSince = now
        } else if now - idleSince >= .milliseconds(500) {
            log.closeIdle(&effects.disk)
        }
    }
}
