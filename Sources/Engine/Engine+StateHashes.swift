import ClearingModel
import Raft

/// Replicas that applied the same log hold the same state. Where they do not, wrong money is near.
///
/// Each replica hashes its state at every checkpoint and tells its peers. The replica that a majority of the voters
/// contradicts stops; one that agrees with a majority goes on and raises the alarm. While neither is known both wait a
/// little for the others, then stop.
extension Engine {
    private static let patience = MonotonicTime.Span.seconds(5)

    /// Compares what is known of one index of a group; called for every hash of a peer that is new, and every own one.
    func compareStates(of shard: ShardID, at index: LogIndex) {
        guard let group = group(shard), let mine = group.stateHashes.first(where: { $0.index == index }) else { return }
        let voters = group.raft.membership.voters
        let majority = voters.count / 2 + 1
        var agreeing = 1
        var differing: [(node: NodeID, hash: UInt64)] = []
        for peer in peers where voters.contains(where: { $0.node == peer.node }) {
            guard let theirs = peer.notice?.hashes.first(where: { $0.shard == shard && $0.index == index }) else {
                continue
            }
            if theirs.hash == mine.hash { agreeing += 1 } else { differing.append((peer.node, theirs.hash)) }
        }
        guard let other = differing.first else {
            if agreeing >= majority, group.dispute?.index == index { group.dispute = nil }
            return
        }
        metrics.stateHashMismatches += 1
        let isOutvoted = differing.contains { one in differing.filter { $0.hash == one.hash }.count >= majority }
        if agreeing >= majority {
            group.dispute = nil
            notice(
                .error, "a peer holds another state",
                [("shard", "\(shard)"), ("index", "\(index)"), ("node", "\(other.node)")])
        } else if isOutvoted {
            stopForState(group, mine, other)
        } else if group.dispute == nil {
            group.dispute = StateDispute(index: index, mine: mine.hash, other: other, since: now)
            notice(
                .error, "two replicas hold different states",
                [("shard", "\(shard)"), ("index", "\(index)"), ("node", "\(other.node)")])
        }
    }

    /// Nobody has settled a dispute: this replica may be the wrong one.
    func watchDisputes() {
        for group in held {
            guard let dispute = group.dispute, now - dispute.since >= Self.patience else { continue }
            stopForState(
                group, .init(shard: group.shard, index: dispute.index, hash: dispute.mine), dispute.other)
        }
    }

    private func stopForState(
        _ group: Group, _ mine: NodeNotice.StateHash, _ other: (node: NodeID, hash: UInt64)
    ) {
        fail(
            "shard \(group.shard): the state at index \(mine.index) hashes to \(String(mine.hash, radix: 16)) here and "
                + "\(String(other.hash, radix: 16)) on node \(other.node). One of the two replicas is wrong; "
                + "run `suanpan audit` before starting this node again")
    }
}

/// Two replicas of a group differ, and no majority agrees with either yet.
struct StateDispute {
    var index: LogIndex
    var mine: UInt64
    var other: (node: NodeID, hash: UInt64)
    var since: MonotonicTime
}
