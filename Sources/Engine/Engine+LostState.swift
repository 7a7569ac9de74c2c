import ClearingModel
import Raft

/// A replica whose log is there and whose state is not: no whole checkpoint covers what its log starts behind.
///
/// ```
///   recovery ──▶ fence noState ──▶ leader: .wanted, once a second ──▶ its newest checkpoint, as to a follower too far behind
///   applied on from the own log ◀── fence lifted ◀── durable here as a checkpoint of its own ◀──┘
/// ```
/// The log is as good as ever, so the replica votes and acknowledges: what it vouched for it still has. It applies nothing,
/// answers nothing and does not campaign, and its neighbours on the node do not notice.
extension Engine {
    /// Marks a replica at its start; `state` is what Raft gets.
    func loseState(of shard: ShardID, _ state: inout RecoveredState) {
        state.fence.insert(.noState)
        log.forgetCheckpoints(of: shard)
        metrics.statesLost += 1
        notice(
            .error, "state lost; a snapshot is fetched",
            [("shard", "\(shard)"), ("log starts after", "\(state.snapshotIndex)")])
    }

    /// Asks leaders for what replicas here lack. Asked again until it is there.
    func askForStates() {
        for group in held where group.lacksState && incoming?.shard != group.shard {
            guard let leader = group.raft.leader, leader.node != me.node else { continue }
            let wanted = SnapshotReply(
                shard: group.shard, status: .wanted, id: 0, received: group.raft.firstIndex.previous.rawValue)
            sendFrame(.snapshotReply, to: leader.node) { wanted.encode(into: &$0) }
        }
    }

    /// Whether a snapshot of this place, which the log reaches, can be the state that the log is applied to.
    func restores(_ head: SnapshotHead, _ group: Group) -> Bool {
        group.lacksState && head.index >= group.raft.firstIndex.previous && head.index <= group.raft.commit
    }

    /// The state is there: `group` has it, and its log goes on from there.
    func stateRestored(_ group: Group) {
        group.raft.applied(through: group.applied)
        group.raft.stateRestored(&raftEffects)
        Site.stateRestored.reached()
        notice(.notice, "state restored", [("shard", "\(group.shard)"), ("index", "\(group.applied)")])
    }
}
