import ClearingModel
import Ledger
import Raft

/// One group's figures at this moment, for metrics.
public struct GroupGauges: Sendable {
    public struct Balance: Sendable {
        public var currency: UInt16
        /// Minor units in open and unconfirmed credit batches.
        public var creditsInFlight: UInt128
    }

    public var shard: ShardID
    public var isLeader: Bool
    public var term: Term
    public var commit: LogIndex
    public var applied: LogIndex
    /// Records taken and not yet applied; leaders only.
    public var queuedRecords = 0
    /// Entries that the slowest follower lacks; leaders only.
    public var lag = 0
    public var unconfirmedBatches = 0
    public var haltedStreams = 0
    /// Entries of retained days that this node's log does not hold: to be backfilled, meanwhile read from a peer.
    public var missingEntries = 0
    /// Entries of this node's log that cannot be read back: to be repaired from a peer.
    public var damagedEntries = 0
    /// Whether the state is lost, and a snapshot on its way.
    public var lacksState = false
    public var balances: [Balance] = []
}

/// The hash of a group's whole state after an entry.
public struct StateHash: Hashable, Sendable {
    public var shard: ShardID
    public var index: LogIndex
    public var hash: UInt64
}

extension Engine {
    /// State hashes of this moment, for comparison between replicas. O(state).
    public func stateHashes() -> [StateHash] {
        held.filter { !$0.lacksState }.map { StateHash(shard: $0.shard, index: $0.applied, hash: $0.stateHash()) }
    }

    public var unsyncedBytes: Int { log.unsyncedBytes }

    /// By shard, entries of retained days that this node's log does not hold; shards that miss nothing are left out.
    public var missingEntries: [(shard: ShardID, entries: Int)] {
        clearingHeld.filter { $0.missingEntries > 0 }.map { ($0.shard, $0.missingEntries) }
    }

    /// Replicas that are being repaired: how many entries cannot be read back, and whether the state is lost.
    public var repairs: [(shard: ShardID, entries: Int, lacksState: Bool)] {
        held.map { (shard: $0.shard, entries: damagedEntries($0), lacksState: $0.lacksState) }
            .filter { $0.entries > 0 || $0.lacksState }
    }

    private func damagedEntries(_ group: Group) -> Int {
        log.holes(of: group.shard).reduce(0) { $0 + Int($1.through.rawValue - $1.from.rawValue) + 1 }
    }

    /// Figures of every group on this node. O(participants + shards²): for a scrape, not for a turn.
    public func groupGauges() -> [GroupGauges] {
        held.map { group in
            var gauges = GroupGauges(
                shard: group.shard, isLeader: group.isLeader, term: group.raft.term, commit: group.commit,
                applied: group.applied)
            gauges.damagedEntries = damagedEntries(group)
            gauges.lacksState = group.lacksState
            gauges.lag = group.raft.followerStatus.map(\.lag).max() ?? 0
            guard let clearing = group as? ClearingGroup else { return gauges }
            gauges.queuedRecords = clearing.queuedRecords
            gauges.missingEntries = clearing.missingEntries
            gauges.unconfirmedBatches = (1..<clearing.outgoing.count).reduce(0) {
                $0 + clearing.ledger.unconfirmedBatches(to: ShardID(UInt16($1))).count
            }
            gauges.haltedStreams = clearing.ledger.haltedStreams.count
            gauges.balances = clearing.ledger.balances().map {
                .init(currency: $0.currency, creditsInFlight: $0.creditsInFlight)
            }
            return gauges
        }
    }
}
