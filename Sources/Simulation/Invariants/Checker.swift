import Audit
import ClearingModel
import Engine
import LogFormat
import Raft
import Wire

/// Checks every invariant of the simulated world: what a turn changed after each turn, everything at intervals and at the end.
///
/// ```
///  writes, syncs ──▶ LogFollower per node: what is durable ──▶ RecordTable: every entry ever written
///                                │                                    │
///  turns ──▶ GroupInspection ──▶ who committed first? ────────▶ ReferenceLog per shard ──▶ LiveReplay: the audit's model
///                                │                                    │                         │
///                        one file per invariant ◀─────────────────────┴─────────────────────────┤
///  clients ──▶ sent, answered, queried ─────────────────────────────────────────────────────────┘
/// ```
/// The world tells it what happened, in the order in which it happened; it changes nothing.
public final class Checker {
    public let topology: ClusterTopology
    /// The first violation found; nothing is looked for after it.
    @exclusivity(unchecked) public internal(set) var violation: Violation?
    /// Virtual time of the event that is being told.
    @exclusivity(unchecked) public var now = MonotonicTime(0)

    let shards: [ShardID]
    let replay: LiveReplay
    let arena = Arena()
    let collides: Bool
    /// By shard.
    @exclusivity(unchecked) var tables: [RecordTable]
    @exclusivity(unchecked) var references: [ReferenceLog]
    /// By node.
    @exclusivity(unchecked) var tracks: [NodeTrack?]
    /// Replicas whose disks were emptied, as they were last.
    var former: [NodeTrack] = []
    var intervals = 0
    var isOver = false

    @exclusivity(unchecked) var electionSafety: ElectionSafety
    @exclusivity(unchecked) var electedByMajority = ElectedByMajority()
    @exclusivity(unchecked) var leaderAppendOnly = LeaderAppendOnly()
    @exclusivity(unchecked) var logMatching = LogMatching()
    @exclusivity(unchecked) var leaderCompleteness = LeaderCompleteness()
    @exclusivity(unchecked) var membershipAfterCommit = MembershipAfterCommit()
    @exclusivity(unchecked) var stateMachineSafety = StateMachineSafety()
    @exclusivity(unchecked) var committedOnMajority = CommittedOnMajority()
    @exclusivity(unchecked) var commitsOwnTerm = CommitsOwnTerm()
    @exclusivity(unchecked) var membershipSteps = MembershipSteps()
    @exclusivity(unchecked) var committedNeverChanges = CommittedNeverChanges()
    @exclusivity(unchecked) var indexOrder = IndexOrder()
    @exclusivity(unchecked) var nothingGoesBack = NothingGoesBack()
    @exclusivity(unchecked) var voteOnce = VoteOnce()
    @exclusivity(unchecked) var durableRecords = DurableRecords()
    @exclusivity(unchecked) var keptOverRestarts = KeptOverRestarts()
    @exclusivity(unchecked) var wholeAgain = WholeAgain()
    @exclusivity(unchecked) var equalStates: EqualStates
    @exclusivity(unchecked) var ledgerModel = LedgerModel()
    @exclusivity(unchecked) var creditConservation = CreditConservation()
    @exclusivity(unchecked) var positionLimits = PositionLimits()
    @exclusivity(unchecked) var creditStreamOrder: CreditStreamOrder
    @exclusivity(unchecked) var acknowledgedOutcomes = AcknowledgedOutcomes()
    @exclusivity(unchecked) var refusedForGood = RefusedForGood()
    @exclusivity(unchecked) var realTimeOrder: RealTimeOrder
    @exclusivity(unchecked) var boundedMemory = BoundedMemory()

    /// - Parameter fingerprintMask: as in the `LedgerOptions` of the cluster.
    public init(topology: ClusterTopology, fingerprintMask: UInt64 = .max) {
        self.topology = topology
        collides = fingerprintMask != .max
        shards = topology.placements.map(\.shard)
        let count = shards.count
        replay = LiveReplay(topology: topology, fingerprintMask: fingerprintMask)
        tables = Array(repeating: RecordTable(), count: count)
        references = Array(repeating: ReferenceLog(), count: count)
        tracks = Array(repeating: nil, count: Int(topology.nodes.map(\.id.rawValue).max() ?? 0) + 1)
        electionSafety = ElectionSafety(shards: count)
        equalStates = EqualStates(shards: count)
        creditStreamOrder = CreditStreamOrder(shards: count)
        realTimeOrder = RealTimeOrder(shards: count)
    }

    /// What was checked how often.
    public var coverage: Coverage {
        Coverage(rows: [
            electionSafety.coverage, electedByMajority.coverage, leaderAppendOnly.coverage, logMatching.coverage,
            leaderCompleteness.coverage,
            membershipAfterCommit.coverage, stateMachineSafety.coverage, committedOnMajority.coverage,
            commitsOwnTerm.coverage, membershipSteps.coverage,
            committedNeverChanges.coverage, indexOrder.coverage, nothingGoesBack.coverage, voteOnce.coverage,
            durableRecords.coverage, keptOverRestarts.coverage, wholeAgain.coverage, equalStates.coverage,
            ledgerModel.coverage, creditConservation.coverage,
            positionLimits.coverage, creditStreamOrder.coverage, acknowledgedOutcomes.coverage, refusedForGood.coverage,
            realTimeOrder.coverage, boundedMemory.coverage,
        ])
    }

    /// What the run proves so far. After `finished` it is unknown where nobody was left to ask about something acknowledged, or
    /// nothing was acknowledged at all.
    public var verdict: Verdict {
        if violation != nil { return .invalid }
        guard isOver else { return .valid }
        return acknowledgedOutcomes.tally.unknown > 0 || acknowledgedOutcomes.decided == 0 ? .unknown : .valid
    }

    /// Takes what a check found.
    func report<I: Invariant>(_ invariant: I.Type, _ details: String?) {
        guard let details, violation == nil else { return }
        violation = Violation(invariant: I.name, rule: I.rule, details: details, at: now)
    }

    func track(_ node: NodeID) -> NodeTrack? {
        Int(node.rawValue) < tracks.count ? tracks[Int(node.rawValue)] : nil
    }

    // MARK: Life of processes

    /// An engine was made and is about to recover. A wiped disk comes with a higher incarnation.
    public func started(_ replica: ReplicaID, engine: any EngineView, disk: any DiskView) {
        let known = track(replica.node)
        let track = known?.replica == replica ? known! : NodeTrack(replica, disk: disk, topology: topology)
        if let known, known !== track { former.append(known) }
        tracks[Int(replica.node.rawValue)] = track
        track.begin(engine)
    }

    /// The process crashed or was killed; what it had written stays with the operating system.
    public func stopped(_ node: NodeID) { track(node)?.engine = nil }

    /// The simulated disk has dropped what it drops when the power goes.
    public func powerLost(_ node: NodeID) {
        guard let track = track(node) else { return }
        track.engine = nil
        track.namedCheckpoints = []
        track.files.refresh()
        track.log.restart(from: track.files, isIntact: !track.isDamaged)
        track.rememberVotes()
    }

    /// The node's disk was harmed: its knowledge does not count until it is found whole again (Checker+Repair.swift).
    ///
    /// - Parameters:
    ///   - beyondBudget: no majority of undamaged replicas may be left. Then too nothing wrong may be told to anybody.
    ///   - rolledBack: an older image of the disk was put back, which the node itself cannot see.
    public func damaged(_ node: NodeID, beyondBudget: Bool, rolledBack: Bool = false) {
        guard let track = track(node) else { return }
        track.isDamaged = true
        track.wasDamaged = true
        track.files.refresh()
        track.log.restart(from: track.files, isIntact: false)
        if rolledBack {
            track.isRolledBack = true
            for shard in shards { track.durableVotes[Int(shard.rawValue)] = track.log.vote(of: shard) }
            for shard in track.checkpoints.indices { track.checkpoints[shard] = .zero }
            track.votes = track.durableVotes
        }
    }
}
