import ClearingModel
import Engine
import LogFormat
import Raft
import Wire

/// Checks every invariant of the simulated world, incrementally after each turn, by full scans at intervals, and at the end.
///
/// The world tells it what happened, in the order in which it happened; it changes nothing. Plain values, engines and disks
/// come in, so it can be tested without a world.
public final class Checker {
    public let topology: ClusterTopology
    /// The first violation found; later ones are not looked for.
    public private(set) var violation: Violation?
    /// Virtual time of the event that is being told.
    public var now = MonotonicTime(0)

    public init(topology: ClusterTopology) {
        self.topology = topology
    }

    /// What was checked how often.
    public var coverage: Coverage { Coverage(rows: []) }
    /// What the run proves so far; final after `finished`.
    public var verdict: Verdict { violation == nil ? .valid : .invalid }

    // MARK: Life of processes

    /// An engine was made and is about to recover.
    public func started(_ replica: ReplicaID, engine: Engine, disk: DiskView) {}
    /// The process crashed or was killed; what it had written stays with the operating system.
    public func stopped(_ node: NodeID) {}
    /// The simulated disk has dropped what it drops when the power goes.
    public func powerLost(_ node: NodeID) {}
    /// The node's disk was harmed: its knowledge does not count until `repaired`.
    ///
    /// - Parameters:
    ///   - beyondBudget: no majority of undamaged replicas may be left.
    ///   - rolledBack: an older image of the disk was put back, which the node itself cannot see.
    public func damaged(_ node: NodeID, beyondBudget: Bool, rolledBack: Bool = false) {}
    /// Every damage of the node is repaired.
    public func repaired(_ node: NodeID) {}

    /// A turn of the node ended (input and `endOfTurn`), and none of its effects is carried out yet.
    public func turned(_ node: NodeID, engine: Engine) {}

    // MARK: Disk, as carried out

    public func wrote(_ node: NodeID, file: FileName, offset: UInt64, slabs: [Slab]) {}
    /// Everything written to the file before is durable.
    public func synced(_ node: NodeID, file: FileName) {}
    public func renamed(_ node: NodeID, from: FileName, to: FileName) {}
    public func removed(_ node: NodeID, file: FileName) {}
    /// Renames and removals so far are durable.
    public func directorySynced(_ node: NodeID) {}

    // MARK: Clients

    /// A client sends an instruction for the first time.
    public func sent(client: Int, instruction: Instruction, at: MonotonicTime) {}
    /// A client was told what became of its instruction, whatever the answer.
    public func decided(
        client: Int, instruction: Instruction, decision: Decision, shard: ShardID, sentAt: MonotonicTime
    ) {}
    /// A query was answered; `nil`: the id is not known.
    public func queried(
        client: Int, id: TransactionID, decision: Decision?, shard: ShardID, sentAt: MonotonicTime
    ) {}

    // MARK: Now and then

    /// Full scans: about once per simulated second.
    public func interval() {}
    /// The end of the run, after the liveness phase.
    public func finished() {}
}
