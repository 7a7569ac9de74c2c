import ClearingModel
import Ledger
import LogFormat
import Raft

/// From a recovered log to running replicas: the newest whole checkpoint of each shard, then its Raft replica on top.
/// What lies between checkpoint and commit is applied as soon as the commit index is known again.
extension Engine {
    func recovered(_ shards: [RecoveredShard]) {
        recovering = shards
        for shard in shards where !shard.checkpoints.isEmpty {
            log.loadCheckpoint(shard: shard.shard, ops: &effects.disk, events: &logEvents)
        }
        for shard in shards where shard.checkpoints.isEmpty { open(shard, from: nil) }
        runIfRecovered()
    }

    func checkpointLoaded(_ shard: ShardID, _ checkpoint: LoadedCheckpoint?) {
        guard let recovered = recovering.first(where: { $0.shard == shard }) else { return }
        open(recovered, from: checkpoint)
        runIfRecovered()
    }

    /// Makes the group of one recovered shard.
    private func open(_ recovered: RecoveredShard, from checkpoint: LoadedCheckpoint?) {
        let shard = recovered.shard
        guard let placement = configuration.topology.placement(of: shard) else {
            return fail(configuration: true, "the log holds shard \(shard), which the topology does not have")
        }
        var state = recovered.raft
        var checkpoint = checkpoint
        if checkpoint?.info.index ?? .zero < state.snapshotIndex {
            loseState(of: shard, &state)
            checkpoint = nil
        }
        let applied = checkpoint?.info.index ?? .zero
        if state.membership == .empty, state.snapshotIndex == .zero {
            // A node that came back with an empty disk is told by the leader what it belongs to.
            let first = Incarnation(1)
            if me.incarnation == first {
                state.membership = Membership(voters: placement.nodes.map { ReplicaID(node: $0, incarnation: first) })
            }
            log.appendLogStart(shard: shard, index: .zero, term: .zero, membership: state.membership)
        }
        if let info = checkpoint?.info {
            startBehind(info, &state, shard)
            findMembership(info, &state, shard)
        }
        let membership =
            state.configurationEntries.last { $0.0 <= applied }?.1
            ?? (applied > state.snapshotIndex ? checkpoint?.info.membership : nil) ?? state.membership
        // What a checkpoint covers was committed, whatever the hint in the hard state says.
        state.hardState.commit = max(state.hardState.commit, applied)
        let raft = RaftReplica(
            group: shard, me: me, recovered: state, preferred: placement.preferredLeader, seed: random.next(), now: now)
        let term = checkpoint?.info.term ?? .zero
        do {
            if shard.isDirectory {
                let directory = try checkpoint.map { loaded in
                    try DirectoryLedger(
                        restoring: loaded.state, cluster: configuration.topology.cluster,
                        options: configuration.ledgerOptions)
                }
                add(
                    DirectoryGroup(
                        shard: shard, placement: placement, raft: raft, applied: applied, appliedTerm: term,
                        appliedMembership: membership,
                        directory: directory
                            ?? DirectoryLedger(
                                cluster: configuration.topology.cluster, calendar: configuration.topology.calendar,
                                options: configuration.ledgerOptions)))
            } else {
                let ledger = try checkpoint.map { loaded in
                    try ShardLedger(
                        restoring: loaded.state, deltas: loaded.deltas, shard: shard,
                        cluster: configuration.topology.cluster, slots: configuration.topology.slots,
                        shardCount: configuration.topology.shardCount, options: configuration.ledgerOptions)
                }
                let fresh = ShardLedger(
                    shard: shard, cluster: configuration.topology.cluster, slots: configuration.topology.slots,
                    shardCount: configuration.topology.shardCount, options: configuration.ledgerOptions)
                let group = ClearingGroup(
                    shard: shard, placement: placement, raft: raft, applied: applied, appliedTerm: term,
                    appliedMembership: membership, ledger: ledger ?? fresh,
                    shardCount: configuration.topology.shardCount)
                clearingHeld.append(group)
                add(group)
            }
        } catch {
            fail(configuration: true, "shard \(shard): the checkpoint at \(applied) cannot be restored: \(error)")
        }
        if !recovered.holes.isEmpty {
            notice(
                .error, "replica fenced",
                [("shard", "\(shard)"), ("holes", recovered.holes.map(\.description).joined(separator: " "))])
        }
    }

    /// A crash came between a snapshot's checkpoint and the log's new start: the log disagrees with what is known to be
    /// committed, and starts behind the checkpoint now.
    private func startBehind(_ info: CheckpointInfo, _ state: inout RecoveredState, _ shard: ShardID) {
        guard info.index > state.snapshotIndex, log.term(of: shard, at: info.index) != info.term else { return }
        notice(.warning, "log replaced by its snapshot", [("shard", "\(shard)"), ("index", "\(info.index)")])
        // Which entries below were committed is not known any more: none of them may be read back as if it was.
        if state.lastIndex > state.snapshotIndex {
            log.appendTruncate(shard: shard, from: state.snapshotIndex.next, term: state.hardState.term)
        }
        log.appendLogStart(shard: shard, index: info.index, term: info.term, membership: info.membership)
        state.snapshotIndex = info.index
        state.snapshotTerm = info.term
        state.membership = info.membership
        state.termRuns = []
        state.lastIndex = info.index
        state.configurationEntries = []
        state.holeIndex = nil
        state.guessed = []
        state.fence.remove(.noCampaign)
    }

    /// The log's start lost its membership: the one that a checkpoint names was in force later, and was committed as well.
    private func findMembership(_ info: CheckpointInfo, _ state: inout RecoveredState, _ shard: ShardID) {
        guard state.membership == .empty, state.snapshotIndex > .zero else { return }
        notice(.warning, "membership taken from the checkpoint", [("shard", "\(shard)"), ("index", "\(info.index)")])
        state.membership = info.membership
        state.configurationEntries.removeAll { $0.0 <= info.index }
        log.appendLogStart(
            shard: shard, index: state.snapshotIndex, term: state.snapshotTerm, membership: state.membership)
    }

    private func add(_ group: Group) {
        if let recovered = recovering.first(where: { $0.shard == group.shard }) {
            group.savedFence = recovered.raft.fence
        }
        saveFence(of: group)
        group.checkpointSegment = log.lastAddress.segment
        groups[Int(group.shard.rawValue)] = group
        group.commit = max(group.applied, group.raft.commit)
        held.append(group)
        held.sort { $0.shard < $1.shard }
        clearingHeld.sort { $0.shard < $1.shard }
    }

    private func runIfRecovered() {
        guard phase == .starting, held.count == configuration.shards.count else { return }
        recovering = []
        phase = .running
        notice(.notice, "recovered", [("replica", "\(me)"), ("groups", "\(held.count)")])
    }
}
