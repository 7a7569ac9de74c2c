import ClearingModel
import Wire

/// One replica of one Raft group: inputs are method calls, effects are appended to the caller's array, and nothing else
/// happens. No clock, socket, disk or random source inside; the same calls give the same effects.
///
///                 step(message)   tick(now)   propose   read   transferLeadership   peerLost
///                       |             |          |        |            |               |
///                       v             v          v        v            v               v
///     +--------------------------------------------------------------------------------------------+
///     | RaftReplica                                                                                |
///     |   Election    follower -> preCandidate -> candidate -> leader                              |
///     |   Replication RaftLog (terms, newest entries)   FollowerProgress per peer (leader only)     |
///     |   Durability  what is asked of the disk, what is done; held: replies that wait for it       |
///     |   Membership  newest in the log is in force      Reads  one round at a time                 |
///     |   Doubt       what a damaged disk forgot          Clocks the leader's own against its voters'|
///     +--------------------------------------------------------------------------------------------+
///          |                    |                   |                  |                 ^
///          v                    v                   v                  v                 |
///     persist...            send(message)      committed(index)   readReady ...     persisted(through:)
///     to the log, in order  at once            to apply           to the asker      from the log
///
/// Who waits for the disk, and for what:
/// - A vote leaves when it is durable; a candidate asks for votes, and counts its own, when its own vote is durable.
/// - A follower acknowledges entries when they, and the term in which it took them, are durable.
/// - A leader sends entries at once and counts itself for commit when they are durable. Heartbeats wait for nothing.
public struct RaftReplica: Sendable {
    public let group: ShardID
    public let me: ReplicaID
    /// The node that should lead where it can; see `wantsPreferredTransfer`.
    public var preferred: NodeID?

    // What the paper calls state on all servers
    public internal(set) var role = Role.follower
    public internal(set) var term: Term
    var vote: ReplicaID?
    /// The leader of `term`, as far as this replica knows.
    public internal(set) var leader: ReplicaID?
    /// Everything up to here is committed.
    public internal(set) var commit: LogIndex
    var log: RaftLog
    var memberships: MembershipHistory
    var applied: LogIndex

    // Disk
    var durability: Durability
    /// Term or vote changed and no write was asked for yet.
    var hardStateChanged = false
    /// The write that makes the current term and vote durable.
    var hardStateSequence = PersistSequence.zero
    var savedCommit: LogIndex
    var commitSavedAt: MonotonicTime
    /// Grants that leave when the vote is durable.
    var held: [RaftMessage] = []
    /// The log on disk is longer than the log: a truncation has to come before the next entry.
    var staleTailFrom: LogIndex?

    // Time
    var random: SeededRandom
    /// The latest time that an input carried.
    var now: MonotonicTime
    var wall = WallTime.zero
    /// After a stall of the caller's loop peers are not judged before what they sent meanwhile was read.
    var judgeAfter: MonotonicTime
    var electionDeadline: MonotonicTime
    var leaderHeardAt: MonotonicTime?
    /// Quick rounds left of those that follow the loss of a leader's connection.
    var quickRounds = 0
    /// Age of the node's oldest unsynced write.
    var syncAge = MonotonicTime.Span(nanoseconds: 0)

    // Trust
    public internal(set) var fence: Fence
    public internal(set) var holeIndex: LogIndex?
    /// Entries in holes whose terms recovery could only guess: nothing is decided by those (RaftReplica+Holes.swift).
    var guessed: [Range<LogIndex>]
    /// What the doubt is called, as long as `fence` holds `.noVote`: each has a name of its own.
    var doubt: RaftMessage.Doubt
    public internal(set) var halted: HaltReason?
    /// The newest incarnation seen of every node.
    var incarnations: [ReplicaID] = []

    // Follower
    /// The log is known to equal the leader's up to here, in this term.
    var matched: LogIndex
    var lastAcknowledged = LogIndex.zero
    var leaderSequence: UInt64 = 0

    // Candidate
    var granted: [ReplicaID] = []
    var refused: [ReplicaID] = []
    /// The candidate's own vote is durable and the others were asked.
    var askedForVotes = false
    var candidacyIsTransfer = false

    // Leader
    var followers: [FollowerProgress] = []
    var sequence: UInt64 = 0
    var firstIndexOfTerm = LogIndex.zero
    var leaderSince: MonotonicTime
    var heartbeatDue: MonotonicTime
    var transfer: Transfer?
    var nextForcedTransfer: MonotonicTime
    var preferredStableSince: MonotonicTime?
    var reads = ReadRounds()
    var clock = LeaderClock.unknown
    /// Both clocks at the last input that carried them, while this replica leads.
    var clockSeen: (at: MonotonicTime, wall: WallTime)

    private var announced: (leads: Bool, term: Term, leader: ReplicaID?)

    /// Starts a replica from what its node's log recovered.
    /// - Parameters:
    ///   - preferred: the node that should lead this group.
    ///   - seed: of the election time-outs; another one for every replica and start.
    public init(
        group: ShardID, me: ReplicaID, recovered: RecoveredState, preferred: NodeID?, seed: UInt64, now: MonotonicTime
    ) {
        let start = recovered.snapshotIndex
        precondition(recovered.lastIndex >= start, "a recovered log ends before its snapshot")
        self.group = group
        self.me = me
        self.preferred = preferred
        // A snapshot that another leader sent may have replaced a log whose truncation did not reach the disk.
        let atStart = recovered.termRuns.last { $0.firstIndex <= start }?.term
        let differs = atStart != nil && atStart != recovered.snapshotTerm
        let replaced = start > .zero && recovered.lastIndex > start && differs
        log = RaftLog(
            startIndex: start, startTerm: recovered.snapshotTerm, runs: replaced ? [] : recovered.termRuns,
            lastIndex: replaced ? start : recovered.lastIndex)
        staleTailFrom = replaced ? start.next : nil
        memberships = MembershipHistory(
            base: recovered.membership, at: start,
            changes: recovered.configurationEntries.filter { $0.0 > start && $0.0 <= (replaced ? start : $0.0) })
        fence = recovered.fence
        holeIndex = recovered.fence.contains(.noCampaign) ? recovered.holeIndex : nil
        if let holeIndex { precondition(holeIndex > start, "a hole below the snapshot is none") }
        let end = replaced ? start : recovered.lastIndex
        guessed = recovered.guessed.filter { $0.lowerBound > start && $0.upperBound <= end }

        term = max(recovered.hardState.term, log.lastTerm)
        vote = recovered.hardState.vote
        #if SUANPAN_MUTATIONS
            if Mutation.active == .forgetVote { vote = nil }
        #endif
        if term > recovered.hardState.term {
            // Entries of a term are never durable before the term itself: the hard state was lost.
            vote = nil
            fence.insert(.noVote)
        }
        // Not drawn from the time-outs' own random numbers.
        var names = SeededRandom(seed: ~seed)
        doubt = RaftMessage.Doubt(rawValue: names.next())
        let readable = min(log.lastIndex, holeIndex?.previous ?? log.lastIndex)
        commit = max(start, min(recovered.hardState.commit, readable))
        savedCommit = commit
        applied = start
        matched = commit
        durability = Durability(index: log.lastIndex)

        self.now = now
        random = SeededRandom(seed: seed)
        judgeAfter = now
        electionDeadline = now
        commitSavedAt = now
        leaderSince = now
        heartbeatDue = now
        clockSeen = (now, .zero)
        nextForcedTransfer = now
        announced = (false, term, nil)
        for replica in memberships.current.voters + memberships.current.learners { _ = noteIncarnation(replica) }
        _ = noteIncarnation(me)
        resetElectionDeadline()
        // When a whole cluster starts, its processes are not there at one moment, and the preferred leader may be the last.
        if preferred != nil, preferred != me.node {
            electionDeadline = electionDeadline + Limits.electionTimeoutMinimum
        }
    }

    // MARK: - Inputs of every role

    /// Lets time pass; called about every 5 to 10 ms, and never later because a disk is slow.
    public mutating func tick(now: MonotonicTime, wall: WallTime, _ effects: inout [RaftEffect]) {
        guard halted == nil else { return }
        observe(now, wall)
        watchOwnClock()
        if role == .leader { tickLeader(&effects) } else { tickElection(&effects) }
        finish(&effects)
        saveCommit(&effects)
    }

    /// Takes a message of another replica, in whatever order and however often it comes.
    public mutating func step(
        _ message: RaftMessage, now: MonotonicTime, wall: WallTime, _ effects: inout [RaftEffect]
    ) {
        guard halted == nil, message.group == group, message.to == me, message.from.node != me.node else { return }
        guard noteIncarnation(message.from) else { return }
        observe(now, wall)
        watchOwnClock()
        if adoptTerm(of: message, &effects) { handle(message, &effects) }
        finish(&effects)
    }

    private mutating func handle(_ message: RaftMessage, _ effects: inout [RaftEffect]) {
        switch message.body {
        case .preVote(let candidacy): handlePreVote(message, candidacy, &effects)
        case .preVoteReply(let granted): handlePreVoteReply(message, granted: granted, &effects)
        case .vote(let candidacy): handleVote(message, candidacy, &effects)
        case .voteReply(let granted): handleVoteReply(message, granted: granted, &effects)
        case .append(let append): handleAppend(message.from, append, &effects)
        case .heartbeat(let heartbeat): handleHeartbeat(message.from, heartbeat, &effects)
        case .appendReply(let match, let followed):
            handleReply(message.from, match: match, followed, wall: nil, &effects)
        case .heartbeatReply(let match, let wall, let followed):
            handleReply(message.from, match: match, followed, wall: wall, &effects)
        case .appendReject(let reject, let followed): handleReject(message.from, reject, followed, &effects)
        case .timeoutNow: handleTimeoutNow(message.from, &effects)
        }
    }

    /// Everything asked of the disk up to `sequence` is durable: releases what waited for it.
    public mutating func persisted(
        through sequence: PersistSequence, now: MonotonicTime, _ effects: inout [RaftEffect]
    ) {
        durability.complete(through: sequence)
        guard halted == nil else { return }
        observe(now, wall)
        if hardStateIsDurable {
            for message in held { effects.append(.send(message)) }
            held.removeAll()
            if role == .candidate, !askedForVotes { askForVotes(&effects) }
        }
        if role == .leader { advanceCommit(&effects) } else { acknowledgeDurable(&effects) }
        finish(&effects)
    }

    /// Entries up to `index` are applied: memory may let go of them.
    public mutating func applied(through index: LogIndex) {
        precondition(index <= commit, "an entry was applied before it was committed")
        applied = max(applied, index)
        trimCache()
    }

    // MARK: - Shared by the roles

    var hardStateIsDurable: Bool { !hardStateChanged && durability.completed >= hardStateSequence }

    mutating func observe(_ now: MonotonicTime, _ wall: WallTime) {
        self.wall = wall
        guard now > self.now else { return }
        if now - self.now > Limits.heartbeatInterval * 2 { judgeAfter = now + Limits.heartbeatInterval }
        self.now = now
    }

    /// Remembers the newest incarnation of a node; false if this replica is an older one, which nobody listens to.
    mutating func noteIncarnation(_ replica: ReplicaID) -> Bool {
        if let position = incarnations.firstIndex(where: { $0.node == replica.node }) {
            if incarnations[position].incarnation > replica.incarnation { return false }
            incarnations[position] = replica
        } else {
            guard incarnations.count < Limits.maximumNodes else { return false }
            incarnations.append(replica)
        }
        return true
    }

    /// A random span up to `limit`.
    mutating func randomSpan(upTo limit: MonotonicTime.Span) -> MonotonicTime.Span {
        MonotonicTime.Span(nanoseconds: random.below(limit.nanoseconds + 1))
    }

    func send(_ body: RaftMessage.Body, to: ReplicaID, term: Term? = nil, _ effects: inout [RaftEffect]) {
        effects.append(.send(RaftMessage(group: group, from: me, to: to, term: term ?? self.term, body: body)))
    }

    /// Asks for the hard state to be written if it changed. Comes before any entry of the same term.
    mutating func persistHardState(_ effects: inout [RaftEffect]) {
        guard hardStateChanged else { return }
        hardStateChanged = false
        hardStateSequence = durability.request()
        savedCommit = commit
        commitSavedAt = now
        effects.append(.persistHardState(hardState, hardStateSequence))
    }

    /// Saves the commit hint once a second while it moves; nothing waits for it.
    private mutating func saveCommit(_ effects: inout [RaftEffect]) {
        guard commit > savedCommit, now - commitSavedAt >= .seconds(1) else { return }
        savedCommit = commit
        commitSavedAt = now
        effects.append(.persistHardState(hardState, durability.request()))
    }

    mutating func announce(_ effects: inout [RaftEffect]) {
        let current = (leads: role == .leader, term: term, leader: leader)
        guard current != announced else { return }
        announced = current
        effects.append(current.leads ? .becameLeader(term) : .becameFollower(term, leader: leader))
    }

    mutating func finish(_ effects: inout [RaftEffect]) {
        persistHardState(&effects)
        announce(&effects)
    }

    /// Stops taking part: something happened that the algorithm excludes.
    mutating func halt(_ reason: HaltReason, _ effects: inout [RaftEffect]) {
        if role == .leader || leader != nil { becomeFollower(term: term, leader: nil, &effects) }
        halted = reason
        effects.append(.halted(reason))
    }
}
