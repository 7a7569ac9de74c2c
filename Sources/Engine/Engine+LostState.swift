import ClearingModel
import LogFormat
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
        metrics.statesLost += 1
        notice(
            .error, "state lost; a snapshot is fetched",
            [("shard", "\(shard)"), ("log starts after", "\(state.snapshotIndex)")])
    }

    /// Asks leaders for what replicas here lack. Asked again until it is there.
    func askForStates() {
        for group in held where group.lacksState {
            askForState(group, reaching: group.raft.firstIndex.previous)
        }
    }

    private func askForState(_ group: Group, reaching: LogIndex) {
        guard incoming?.shard != group.shard, let leader = group.raft.leader, leader.node != me.node else { return }
        let wanted = SnapshotReply(shard: group.shard, status: .wanted, id: 0, received: reaching.rawValue)
        sendFrame(.snapshotReply, to: leader.node) { wanted.encode(into: &$0) }
    }

    /// A peer does not have the entries that fill a hole. Where it is the leader, and apply stands in front of the hole, they are
    /// gone from its log for good: only a state from behind them helps.
    func notRepaired(_ group: Group, from: LogIndex, by node: NodeID) {
        guard node == group.raft.leader?.node, let hole = holeInFront(of: group), hole.from == from else { return }
        askForState(group, reaching: hole.through)
    }

    /// The hole that apply waits for, whose first entry is known to be committed.
    private func holeInFront(of group: Group) -> IndexRange? {
        log.holes(of: group.shard).first.flatMap {
            $0.from == group.applied.next && $0.from <= group.commit ? $0 : nil
        }
    }

    /// Whether a snapshot of this place, which the log reaches, can be the state that the log is applied to.
    func restores(_ head: SnapshotHead, _ group: Group) -> Bool {
        guard head.index <= group.raft.commit, log.term(of: group.shard, at: head.index) == head.term else {
            return false
        }
        return group.lacksState || holeInFront(of: group).map { head.index >= $0.through } ?? false
    }

    /// The state is there: `group` has it, and its log goes on from there.
    func stateRestored(_ group: Group) {
        group.raft.stateRestored(&raftEffects)
        Site.stateRestored.reached()
        notice(.notice, "state restored", [("shard", "\(group.shard)"), ("index", "\(group.applied)")])
    }
}
