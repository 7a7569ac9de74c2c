import ClearingModel
import Raft
import Wire

/// The replacement of a node's old incarnation by its new one in one group, step by step, each a logged membership
/// change.
struct Replacement {
    var new: ReplicaID
    /// Set once the operator has been answered.
    var startedAt: MonotonicTime
}

/// Orders of operators.
extension Engine {
    func operate(_ request: OperateRequest, _ reply: ReplyAddress, _ connection: Connection) {
        guard connection.authority.operatorName != nil else {
            return refuse(
                reply, shard: .directory, .unauthorised,
                message: "only an operator gives orders; this is \(connection.authority.summary)")
        }
        notice(.notice, "operation", [("operator", connection.authority.summary), ("what", "\(request.operation)")])
        let answer: OperateReply
        switch request.operation {
        case .transferLeadership(let shard, let node):
            guard let group = group(shard), group.isLeader else {
                return refuse(reply, shard: shard, .notLeader)
            }
            let target = node.flatMap { node in group.raft.membership.voters.first { $0.node == node } }
            if node != nil, target == nil {
                answer = OperateReply(.unknownNode, message: "node \(node!) is no voter of shard \(shard)")
            } else {
                group.raft.transferLeadership(to: target, now: now, &raftEffects)
                process(group)
                answer = OperateReply(.started)
            }
        case .replaceReplica(let shard, let replica):
            guard let group = group(shard), group.raft.mayChangeMembership else {
                return refuse(reply, shard: shard, .notLeader)
            }
            guard group.placement.nodes.contains(replica.node) else {
                answer = OperateReply(.unknownNode, message: "node \(replica.node) holds no replica of shard \(shard)")
                break
            }
            // Of one that is not committed the next leader may know nothing.
            if group.raft.committedMembership.voters.contains(replica) {
                answer = OperateReply(.done)
            } else {
                group.replacement = Replacement(new: replica, startedAt: now)
                continueReplacement(of: group)
                answer = OperateReply(.started)
            }
        case .setLink, .offsetClock:
            if configuration.allowFaults {
                effects.faults.append(request.operation)
                answer = OperateReply(.done)
            } else {
                answer = OperateReply(
                    .faultsNotAllowed, message: "start the node with --allow-faults to break it on purpose")
            }
        }
        send(answer, request: reply.request, to: connection)
    }

    /// Takes the next step of a replacement where the last one is committed: remove the old, add the new as learner,
    /// promote it.
    func continueReplacement(of group: Group) {
        guard let replacement = group.replacement, group.raft.mayChangeMembership else { return }
        let membership = group.raft.membership
        let new = replacement.new
        let change: MembershipChange
        if let old = (membership.voters + membership.learners).first(where: {
            $0.node == new.node && $0.incarnation < new.incarnation
        }) {
            change = .remove(old)
        } else if membership.voters.contains(new) {
            guard group.raft.committedMembership.voters.contains(new) else { return }
            group.replacement = nil
            Site.replicaReplaced.reached()
            notice(.notice, "replica replaced", [("shard", "\(group.shard)"), ("replica", "\(new)")])
            return
        } else if membership.learners.contains(new) {
            change = .promote(new)
        } else {
            change = .addLearner(new)
        }
        if case .refused(let refusal) = group.raft.propose(membership: change, &raftEffects) {
            notice(.debug, "membership change waits", [("shard", "\(group.shard)"), ("why", "\(refusal)")])
        }
        process(group)
    }
}
