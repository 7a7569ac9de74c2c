import ClearingModel
import Engine
import LogFormat

/// One simulated node: a process that comes and goes, a disk that stays, two clocks.
final class Machine {
    /// Where a crash that was armed strikes: between two effects of one kind.
    enum CrashPoint: CaseIterable {
        case diskOperation, write, sync, checkpoint, snapshot, output, turn
    }

    let position: Int
    let node: NodeID
    var incarnation: Incarnation
    @exclusivity(unchecked) var disk = SimulatedDisk()
    @exclusivity(unchecked) var engine: Engine?
    /// Counts processes: what was meant for an earlier one is dropped.
    @exclusivity(unchecked) var life = 0
    var startedAt: UInt64 = 0
    @exclusivity(unchecked) var turnScheduled = false
    /// Wires by the connection of the process that runs now.
    @exclusivity(unchecked) var wires: [ConnectionID: Int] = [:]

    /// Clocks: monotonic time starts anywhere and may run fast or slow; the wall clock may be wrong, in microseconds.
    @exclusivity(unchecked) private var anchor: (simulated: UInt64, value: UInt64)
    /// Parts per thousand that monotonic time runs fast; negative for slow.
    @exclusivity(unchecked) private var drift: Int64 = 0
    @exclusivity(unchecked) var wallOffset: Int64 = 0

    /// Until then the process does nothing (SIGSTOP).
    @exclusivity(unchecked) var pausedUntil: UInt64 = 0
    /// How many times as long its turns take.
    @exclusivity(unchecked) var slowness: UInt64 = 1
    /// How many times as long its disk takes.
    @exclusivity(unchecked) var diskSlowness: UInt64 = 1
    @exclusivity(unchecked) var diskStalledUntil: UInt64 = 0
    /// Waits for a shut-down in order.
    @exclusivity(unchecked) var isDraining = false
    var drain: (deadline: UInt64, downFor: UInt64) = (0, 0)
    @exclusivity(unchecked) var crash: (point: CrashPoint, after: Int, power: Bool, downFor: UInt64)?

    @exclusivity(unchecked) var lanes = [DiskLane(), DiskLane(), DiskLane()]

    /// Incarnation that operators were asked to take in, until it is a voter everywhere.
    var rejoining = false
    /// It cannot start by itself any more: damage that only an empty disk heals.
    var needsWipe = false
    /// Dead for good in the liveness phase.
    var isDeadForEver = false
    private var failureTimes: [UInt64] = []
    /// Until when an end of the process by itself is the doing of a fault.
    var excusedUntil: UInt64 = 0
    /// Its disk holds damage that was made on purpose and may not be repaired yet.
    var isDamaged = false

    init(position: Int, monotonicBase: UInt64) {
        self.position = position
        node = NodeID(UInt32(position + 1))
        incarnation = Incarnation(1)
        anchor = (0, monotonicBase)
    }

    var replica: ReplicaID { ReplicaID(node: node, incarnation: incarnation) }
    /// Monotonic time at a simulated microsecond.
    func monotonic(_ now: UInt64) -> MonotonicTime {
        let passed = Int64(now - anchor.simulated)
        return MonotonicTime(rawValue: anchor.value + UInt64(passed * (1_000 + drift)))
    }

    /// Lets monotonic time run at another speed from now on; it never jumps.
    func setDrift(_ drift: Int64, at now: UInt64) {
        anchor = (now, monotonic(now).rawValue)
        self.drift = drift
    }

    func isExcused(_ now: UInt64) -> Bool { isDamaged || now < excusedUntil }

    /// Counts ends of the process by itself within the last ten seconds, this one included.
    func countFailure(at now: UInt64) -> Int {
        failureTimes = failureTimes.filter { $0 + 10_000_000 > now } + [now]
        return failureTimes.count
    }

    func forgiveFailures() {
        failureTimes = []
        isDamaged = false
    }

    var isUp: Bool { engine != nil }
}
