import Audit
import ClearingModel
import Engine

// From harmed to whole, and back where the harm shows late.
extension Checker {
    /// Whether a node's disk was harmed, and not yet found whole again.
    public func isHarmed(_ node: NodeID) -> Bool { track(node)?.isDamaged ?? false }

    /// Judges the node strictly again if nothing is wrong with it any more: its process knows of no hole and no doubt, no harmed
    /// checkpoint is left, and its log, as the audit's decoder reads it, has every entry, and the votes that it was made to remember.
    func lookForRepair(_ track: NodeTrack) {
        guard track.isDamaged, !track.isRolledBack, !track.files.isHarmed, track.engine != nil, track.isAnyGroupSeen,
            track.isFreeOfDoubt,
            shards.allSatisfy({ isWhole($0, track) })
        else { return }
        track.isDamaged = false
        wholeAgain.found()
    }

    private func isWhole(_ shard: ShardID, _ track: NodeTrack) -> Bool {
        let (found, remembered) = (track.log.vote(of: shard), track.durableVotes[Int(shard.rawValue)])
        guard found.term == remembered.term, found.vote == remembered.vote else { return false }
        var index = track.log.start(of: shard).next
        while index <= track.log.last(of: shard) {
            guard let entry = track.log.entry(of: shard, at: index), !entry.isDamaged else { return false }
            index = index.next
        }
        return true
    }

    /// The last committed entry that the node's disk durably holds.
    func heldCommitted(of shard: ShardID, _ track: NodeTrack) -> (index: LogIndex, term: Term)? {
        let reference = references[Int(shard.rawValue)]
        let start = track.log.start(of: shard)
        var index = min(track.log.last(of: shard), reference.committed)
        // Above it there may be entries that never were committed.
        while index > start, track.log.entry(of: shard, at: index)?.term != reference[index].term {
            index = index.previous
        }
        return index > .zero ? (index, reference[index].term) : nil
    }
}

extension NodeTrack {
    var isAnyGroupSeen: Bool { last.contains { $0 != nil } }

    fileprivate var isFreeOfDoubt: Bool {
        last.allSatisfy { group in group.map { $0.raft.fence.isEmpty && $0.raft.hole == nil } ?? true }
    }
}
