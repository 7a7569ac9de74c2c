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
            askForState(group)
        }
    }

    /// The state has to reach the log's start, and past all holes: inside one the terms are guesses.
    private func askForState(_ group: Group) {
        guard incoming == nil, let leader = group.raft.leader, leader.node != me.node else { return }
        let start = group.raft.firstIndex.previous
        let reaching = max(start, log.holes(of: group.shard).last?.through ?? start)
        let wanted = SnapshotReply(shard: group.shard, status: .wanted, id: 0, received: reaching.rawValue)
        sendFrame(.snapshotReply, to: leader.node) { wanted.encode(into: &$0) }
    }

    /// A peer does not have the entries that fill a hole. Where it is the leader, and apply stands in front of the hole, they are
    /// gone from its log for good, or will be there when it is asked again: only a state from behind them helps in the first case, and
    /// does no harm in the other.
    func notRepaired(_ group: Group, from: LogIndex, by node: NodeID) {
        guard node == group.raft.leader?.node, holeInFront(of: group)?.from == from else { return }
        askForState(group)
    }

    /// The hole that apply waits for. Whether its entries are committed the leader knows, that sends only what it has applied.
    private func holeInFront(of group: Group) -> IndexRange? {
        log.holes(of: group.shard).first.flatMap { $0.from == group.applied.next ? $0 : nil }
    }

    /// A follower says that it needs a state that reaches as far as that.
    func wanted(_ shard: ShardID, reaching: LogIndex, by replica: ReplicaID) {
        guard let group = group(shard), group.isLeader, reaching <= group.applied else { return }
        group.raft.heardOfLostState(at: replica)
        sendSnapshot(of: group, to: replica, reaching: reaching)
    }

    /// Whether a state of this place brings the replica forward, and its log can go on behind it: it is beyond what is known to
    /// be committed, or the log holds the very entry. Inside a hole it does not know.
    func fits(_ head: SnapshotHead, _ group: Group) -> Bool {
        guard !group.isLeader, group.raft.halted == nil, head.index > group.applied,
            !log.holes(of: group.shard).contains(where: { $0.from <= head.index && head.index < $0.through })
        else { return false }
        if head.index > group.raft.commit { return true }
        return log.term(of: group.shard, at: head.index) == head.term
            && (group.lacksState || holeInFront(of: group).map { head.index >= $0.through } ?? false)
    }
}
