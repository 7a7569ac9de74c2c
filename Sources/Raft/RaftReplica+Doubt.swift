import ClearingModel
import Wire

// What a damaged disk may have forgotten. A replica that starts with `Fence.noVote` may have voted in terms, and acknowledged
// entries, of which it knows nothing any more. Until that is settled it promises nothing: no vote, no acknowledgement; it counts
// neither for a commit, nor for a read, nor for the leader's check of its quorum.
//
//     replica in doubt                     leader of term t                       the other voters
//     reply(doubt)          ------------>  notes the end of its log, `since`
//                                          an entry e above `since`  ---------->  durable
//                                          commits e                 <----------  a majority Q without the replica
//     fence lifted          <------------  heartbeat(settlement: doubt, since + 1)
//
// Why that is enough. Let the forgotten promise be a vote in term v for candidate c, who needs it.
// - v > t: c's majority has a voter x in common with Q, and x is not the replica, which Q does not contain. If x voted for c before
//   it acknowledged e, it was in a later term and would have refused e. If after, c's log had to be as new as e; but c had
//   that log when the replica voted, which was before the doubt, and so before e. So c, and whoever c needed to be elected
//   before it, never leads on that vote: forgetting it changes nothing.
// - v = t: a majority has elected this leader. The replica counts as having voted for it, and gives no other vote in t.
// - v < t: the replica is in t by now and gives no vote in v any more.
// And an acknowledgement of entry f, of term u: u > t would need an elected leader of u, excluded above. u < t: if f was committed
// on it, this leader has f, as ever. u = t: f stood in this leader's log when it heard of the doubt. Either way f is at or below
// `since`, and the replica has it again when its log is the leader's up to `since + 1`.
//
// That a leader commits anything less proves nothing: it may lead an old term, of which it learns nothing because its only
// link is to the replica that forgot. So three voters of which one is dead and one in doubt cannot go on: the dead one may
// have been elected by the vote that the other forgot. When it comes back they can.
//
// A doubt has a name, another one for each start: what settled the last start's doubt must not settle this one's.
extension RaftReplica {
    /// A follower says that it is in doubt: what it acknowledged counts for nothing, and where the logs agree is found out anew.
    mutating func noteDoubt(_ doubt: RaftMessage.Doubt, _ position: Int) {
        let isNews = followers[position].doubt?.name != doubt
        if isNews { followers[position].doubt = (doubt, log.lastIndex) }
        // Acknowledgements of an earlier start may come in late.
        guard isNews || followers[position].match > .zero else { return }
        followers[position].match = .zero
        followers[position].become(.probe, next: log.lastIndex.next)
    }

    /// Where no work brings the entry that settles a doubt, an empty one does.
    mutating func settleDoubts(_ effects: inout [RaftEffect]) {
        let waits = followers.contains { $0.isInDoubt && $0.departing == nil && $0.doubt?.since == log.lastIndex }
        if waits { proposeNothing(&effects) }
    }

    /// What a heartbeat tells a follower whose doubt is over. Whatever it acknowledged itself lies at or below `since`, so a
    /// commit above it was made without it.
    func settlement(for follower: FollowerProgress) -> RaftMessage.Settlement? {
        guard follower.isInDoubt, let doubt = follower.doubt, commit > doubt.since else { return nil }
        return RaftMessage.Settlement(doubt: doubt.name, index: doubt.since.next)
    }

    /// The leader of this term has settled a doubt; if it is this start's, and the log has what it needs, the fence is lifted.
    mutating func settle(_ settlement: RaftMessage.Settlement, _ from: ReplicaID) {
        guard fence.contains(.noVote), settlement.doubt == doubt, matched >= settlement.index else { return }
        fence.remove(.noVote)
        Site.voteFenceLifted.reached()
        // The vote that it may have given in this term is forgotten; another one it must not give.
        if vote == nil {
            vote = from
            hardStateChanged = true
        }
    }
}
