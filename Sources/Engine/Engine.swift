import ClearingModel
import DequeModule
import Ledger
import LogFormat
import Raft
import Wire

/// All replicas of one node, driven by one event loop. Sans-IO: bytes, clocks and disk completions come in, effects
/// go out.
///
/// ```
///                 received / opened / closed              completed(disk)                tick
///                            │                                  │                         │
///                            ▼                                  ▼                         ▼
///   ┌──────────────────────────────────────────── Engine ──────────────────────────────────────────────┐
///   │  Connection ──▶ frames ──▶ ClearingGroup.open ──▶ Raft.propose ──▶ NodeLog ──▶ disk operations     │
///   │                               ▲      apply ◀── committed ◀── durable acks (own log, followers)      │
///   │  replies ◀── decisions ◀──────┴───── ShardLedger ──▶ credit batches ──▶ other shards' leaders        │
///   └────────────────────────────────────────────────────────────────────────────────────────────────────┘
///                            │                                  │
///                            ▼                                  ▼
///                 output per connection                  log thread, read thread
/// ```
/// A turn: the node hands in what arrived, then calls `endOfTurn`, then carries out `effects`. Nothing here blocks,
/// and nothing is done per payment but validation, one copy, apply, and its reply.
public final class Engine {
    public let configuration: EngineConfiguration
    public let me: ReplicaID
    public internal(set) var effects = EngineEffects()
    public internal(set) var metrics = EngineMetrics()

    /// Key of the hashes that tie credit batches together.
    let hashKey: SipHash
    var log: NodeLog
    var random: SeededRandom
    var now: MonotonicTime
    var wall: WallTime
    var phase = Phase.starting
    /// By shard; `nil` where this node holds no replica.
    var groups: [Group?]
    /// The groups this node holds, in shard order.
    var held: [Group] = []
    /// Those of `held` that clear payments.
    var clearingHeld: [ClearingGroup] = []
    var connections: [Connection?] = []
    var freeSlots: [Int] = []
    var generations: [UInt32] = []
    var peers: [Peer]
    /// By shard: who leads it, as far as this node knows.
    var leaders: [(node: NodeID, term: Term)?]
    /// Persist effects that wait for their place in the log to be durable, oldest first.
    var persists = Deque<PendingPersist>()
    /// Ids that queries and positions are looking up, at most `Limits.maximumReads`.
    var outstandingReads = 0
    var originalReads: [UInt64: OriginalRead] = [:]
    /// Records that are being read for peers.
    var inquiries: [UInt64: RecordInquiry] = [:]
    var nextToken: UInt64 = 1
    /// Shards whose checkpoints are being loaded.
    var recovering: [RecoveredShard] = []
    var logReads: [UInt64: LogRead] = [:]
    /// What the log told and nobody has handled yet.
    var logEvents: [LogEvent] = []
    /// The snapshot being sent, and the one being received: one each per node.
    var outgoing: OutgoingSnapshot?
    var incoming: IncomingSnapshot?
    /// The fetching of old entries: one shard's at a time, the next request not before `backfillDue`.
    var backfill: Backfill?
    var backfillDue = MonotonicTime(0)
    /// Records applied as of the last housekeeping, and whether it were many since the one before.
    var appliedBefore: UInt64 = 0
    var isBusy = false
    /// A checkpoint is being opened for a snapshot, still wanted or not.
    var isOpeningSnapshot = false
    /// The last append seen, and when: an idle log gets a closing mark.
    var idleAfter = LogSequence.zero
    var idleSince = MonotonicTime(0)
    var lastNotice = MonotonicTime(0)
    var lastHousekeeping = MonotonicTime(0)
    var isDiskFull = false
    /// Free bytes of the data directory's file system, as last read.
    public internal(set) var freeBytes: UInt64?
    var raftEffects: [RaftEffect] = []
    /// Empty lists whose memory the next effects and events use.
    var spareRaftEffects: [RaftEffect] = []
    var spareLogEvents: [LogEvent] = []
    /// From closing an entry to applying it, of entries that this node proposed, since the last `takeCommitTimes`.
    var commitTimes: [MonotonicTime.Span] = []
    /// Credit frames for a shard that this very node leads: delivered at the end of the turn, like any other.
    var loopback: [LocalDelivery] = []

    enum Phase { case starting, running, stopping, failed }

    struct PendingPersist {
        var log: LogSequence
        var group: Group
        var raft: PersistSequence
        /// When it was handed to the log.
        var at: MonotonicTime
    }

    /// Why the engine asked the log for entries.
    enum LogRead {
        case apply(ShardID)
        case follower(ShardID, ReplicaID)
        case repair(RepairInquiry)
    }

    public init(configuration: EngineConfiguration, now: MonotonicTime, wall: WallTime) {
        Limits.check()
        self.configuration = configuration
        me = configuration.replica
        hashKey = SipHash(cluster: configuration.topology.cluster)
        self.now = now
        self.wall = wall
        random = SeededRandom(seed: configuration.seed)
        let topology = configuration.topology
        groups = Array(repeating: nil, count: topology.placements.count)
        leaders = Array(repeating: nil, count: topology.placements.count)
        peers = topology.nodes.filter { $0.id != configuration.replica.node }.map { Peer(node: $0.id) }
        log = NodeLog(
            cluster: topology.cluster, me: configuration.replica, shards: configuration.shards,
            options: configuration.logOptions)
    }

    public var isRunning: Bool { phase == .running }

    // MARK: Inputs

    /// Begins recovery of the log; the engine runs once that has completed.
    public func start() {
        log.recover(&effects.disk)
    }

    /// A disk operation ended.
    public func completed(_ completion: DiskCompletion, now: MonotonicTime) {
        self.now = max(self.now, now)
        // A broken invariant ends the process at the end of this turn; until then nothing more comes of anything.
        guard phase != .failed else { return }
        log.complete(completion, ops: &effects.disk, events: &logEvents)
        drainLogEvents()
    }

    /// Time passed. Call every few milliseconds, after the sockets of the turn have been read: time-outs judge peers
    /// by what was read, so a stall of this loop is not held against them.
    public func tick(now: MonotonicTime, wall: WallTime) {
        self.now = max(self.now, now)
        self.wall = wall
        if phase == .starting { return awaitRoom() }
        guard phase == .running || phase == .stopping else { return }
        let syncAge = persists.first.map { now - $0.at } ?? MonotonicTime.Span(nanoseconds: 0)
        for group in held {
            group.raft.tick(now: now, wall: wall, &raftEffects)
            group.raft.logSyncAge(max(syncAge, retryRead(of: group)), now: now, &raftEffects)
            process(group)
        }
        if now - lastNotice >= Limits.heartbeatInterval { sendNotices() }
        for group in clearingHeld { group.tick(now: now, wall: wall, in: self) }
        closeIdleLog()
        if now - lastHousekeeping >= .seconds(1) { housekeeping() }
        continueBackfill()
    }

    /// Ends a turn of the loop: closes and proposes entries, applies what was committed, and hands the log and the
    /// peers what there is.
    public func endOfTurn(now: MonotonicTime, wall: WallTime) {
        self.now = max(self.now, now)
        self.wall = wall
        guard phase == .running || phase == .stopping else { return }
        drainLogEvents()
        applyCommitted()
        for group in clearingHeld { group.proposeIfDue(now: now, wall: wall, in: self) }
        for group in clearingHeld { group.sendCredits(now: now, in: self) }
        deliverLoopback()
        drainLogEvents()
        writeSnapshot()
        writeCheckpoints()
        for index in peers.indices { flush(peer: index) }
        log.flush(&effects.disk)
    }

    /// Takes the times from closing to applying that were measured so far.
    public func takeCommitTimes() -> [MonotonicTime.Span] {
        defer { commitTimes.removeAll(keepingCapacity: true) }
        return commitTimes
    }

    /// Takes the effects collected so far.
    public func takeEffects() -> EngineEffects {
        var taken = EngineEffects()
        swap(&taken, &effects)
        return taken
    }

    // MARK: Shared by the extensions

    func notice(_ severity: EngineLog.Severity, _ event: String, _ fields: [(String, String)] = []) {
        effects.log.append(EngineLog(severity, event, fields))
    }

    func fail(configuration: Bool = false, _ text: String) {
        phase = .failed
        if effects.fatal == nil { effects.fatal = EngineFailure(isConfiguration: configuration, text: text) }
    }

    func token() -> UInt64 {
        defer { nextToken += 1 }
        return nextToken
    }

    func group(_ shard: ShardID) -> Group? {
        Int(shard.rawValue) < groups.count ? groups[Int(shard.rawValue)] : nil
    }

    func clearing(_ shard: ShardID) -> ClearingGroup? { group(shard) as? ClearingGroup }
}
