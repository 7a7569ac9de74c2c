import ClearingModel
import Raft
import Wire

/// The oldest segments on their way out: first the shards' logs start above them, durably, then the files go.
struct Expiry {
    var through: UInt64
    /// The log starts are durable when this is.
    var after: LogSequence
    var isRemoving = false
}

extension NodeLog {
    /// Lets the oldest segments go whose records have outlived their retention. → `.logStartMoved` at once, `.expired` later.
    ///
    /// A segment goes only when, for every shard, all its entries lie below `retained` and at or below the shard's second
    /// newest checkpoint (so that the newest may turn out damaged), it is sealed, and a later segment has opened with
    /// every shard's hard state.
    /// - Parameter retained: by shard, the first entry that is still wanted; shards left out keep everything.
    public mutating func expire(
        retained: [(shard: ShardID, from: LogIndex)], ops: inout [DiskOperation], events: inout [LogEvent]
    ) {
        guard isRunning, expiry == nil, roll == .none, active.opening == 0 else { return }
        var keep = shards.map { _ in LogIndex.zero }
        for (shard, from) in retained { keep[slot(shard)] = from }
        var through: UInt64?
        for info in segments.dropLast() {
            let mayGo = shards.indices.allSatisfy { slot in
                let highest = info.highest[slot]
                let whole = checkpoints[slot].filter { chain(slot, from: $0) != nil }
                return highest == .zero
                    || highest < keep[slot] && whole.count >= 2 && highest <= whole[1].index
            }
            guard info.isSealed, mayGo else { break }
            through = info.number
        }
        guard let through else { return }
        for slot in shards.indices {
            let gone = segments.filter { $0.number <= through }.map { $0.highest[slot] }.max() ?? .zero
            guard gone > tails[slot].start.index, let term = tails[slot].term(at: gone) else { continue }
            let membership = tails[slot].membership(at: gone)
            appendLogStart(shard: shards[slot], index: gone, term: term, membership: membership)
            events.append(.logStartMoved(shards[slot], index: gone, term: term))
        }
        expiry = Expiry(through: through, after: stagedThrough)
        flush(&ops)
        advanceExpiry(&ops)
    }

    /// Removes the files once the new starts are durable.
    mutating func advanceExpiry(_ ops: inout [DiskOperation]) {
        guard var expiry, !expiry.isRemoving, durableThrough >= expiry.after, synced.segment == active.number else {
            return
        }
        expiry.isRemoving = true
        self.expiry = expiry
        for slot in shards.indices { indexes[slot].expire(through: expiry.through) }
        // Oldest first, so that a crash in between leaves the newest ones, without a gap.
        for info in segments where info.number <= expiry.through {
            tables[info.number] = nil
            loadedOrder.removeAll { $0 == info.number }
            emit(.remove(.segment(info.number)), .background, .ignore, &ops)
            emit(.syncDirectory, .background, .segmentRemoved(info.number), &ops)
        }
        segments.removeAll { $0.number <= expiry.through }
    }

    mutating func segmentRemoved(_ segment: UInt64, _ events: inout [LogEvent]) {
        Site.segmentExpired.reached()
        events.append(.expired(segment: segment))
        if let expiry, expiry.through == segment { self.expiry = nil }
    }
}
