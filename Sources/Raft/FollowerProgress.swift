import ClearingModel
import DequeModule

/// How a leader sends to a follower.
public enum FollowerState: Hashable, Sendable {
    /// Where the logs agree is not known: one message at a time.
    case probe
    /// Pipelined.
    case replicate
    /// The follower lacks entries from before the log's start: it waits for a snapshot.
    case snapshot
    /// Its log went back behind what it had acknowledged: it counts for nothing.
    case quarantined
}

/// What a leader's status shows of one follower.
public struct FollowerStatus: Hashable, Sendable {
    public var replica: ReplicaID
    public var state: FollowerState
    /// Durable at the follower and equal to the leader's log up to here.
    public var match: LogIndex
    /// Entries that it lacks.
    public var lag: Int
    /// Since when nothing was heard from it.
    public var lastHeard: MonotonicTime
    public var isVoter: Bool
}

/// The leader's books on one follower.
struct FollowerProgress: Sendable {
    let replica: ReplicaID
    var state = FollowerState.probe
    /// Durable and equal up to here, as acknowledged in this term.
    var match = LogIndex.zero
    /// The leader's sequence when `match` last moved: a reply to a later message was made by a replica that had it.
    var matchSequence: UInt64 = 0
    var next: LogIndex
    /// Pipelined messages without an acknowledgement.
    var inflight = Deque<Inflight>()
    var inflightEntries = 0
    var inflightBytes = 0
    /// Sequence of the newest append.
    var appendSequence: UInt64 = 0
    /// Nothing more is sent before a reply to `appendSequence` or later: a probe is out, or the connection ended.
    var waitsForReply = false
    var loading = false
    var loadFailedAt: MonotonicTime?
    var snapshotAskedAt: MonotonicTime?
    var lastHeard: MonotonicTime
    /// Highest sequence that the follower has answered.
    var answered: UInt64 = 0
    /// Heartbeats whose answers tell the follower's clock, oldest first: an answer may take longer than the next heartbeat.
    private var clockQuestions = Deque<ClockQuestion>()
    var clock: ClockSample?
    /// It may have forgotten votes and acknowledgements, and counts for nothing until that is settled.
    var isInDoubt = false
    /// When it last said that its state is lost.
    var stateWantedAt: MonotonicTime?
    /// The doubt last heard of, and the end of this leader's log then.
    var doubt: (name: RaftMessage.Doubt, since: LogIndex)?
    /// The follower left the membership with this entry, and is kept only until it has learned so.
    var departing: LogIndex?
    var departBy: MonotonicTime
    /// The first heartbeat that told it so.
    var departSequence: UInt64?

    /// Round trips of up to about a second are told apart.
    private static let maximumClockQuestions = 20

    struct ClockQuestion: Sendable {
        var sequence: UInt64
        var at: MonotonicTime
    }

    struct Inflight: Sendable {
        var lastIndex: LogIndex
        var entries: Int
        var bytes: Int
    }

    /// How far a follower's wall clock was ahead of the leader's.
    struct ClockSample: Sendable {
        var aheadMicros: Int64
        var at: MonotonicTime
    }

    init(replica: ReplicaID, next: LogIndex, now: MonotonicTime) {
        self.replica = replica
        self.next = next
        lastHeard = now
        departBy = now
    }

    var hasRoom: Bool {
        inflightEntries < Limits.maximumInflightEntries && inflightBytes < Limits.maximumInflightBytes
    }

    /// A heartbeat leaves: its answer will tell the follower's clock. Rounds of reads send many; not all of them are noted.
    mutating func askForClock(_ sequence: UInt64, at now: MonotonicTime) {
        if let last = clockQuestions.last, (now - last.at) * 2 < Limits.heartbeatInterval { return }
        if clockQuestions.count == Self.maximumClockQuestions { clockQuestions.removeFirst() }
        clockQuestions.append(ClockQuestion(sequence: sequence, at: now))
    }

    /// When the question left that a reply to this sequence answers; `nil` if it answers none.
    mutating func clockAnswered(_ sequence: UInt64) -> MonotonicTime? {
        var asked: MonotonicTime?
        while let first = clockQuestions.first, first.sequence <= sequence {
            asked = first.at
            clockQuestions.removeFirst()
        }
        return asked
    }

    /// Answers that are still under way count for nothing.
    mutating func forgetClock() {
        clock = nil
        clockQuestions.removeAll()
    }

    mutating func sent(through last: LogIndex, bytes: Int) {
        let entries = last.next - next
        next = last.next
        inflight.append(Inflight(lastIndex: last, entries: entries, bytes: bytes))
        inflightEntries += entries
        inflightBytes += bytes
    }

    mutating func acknowledged(through index: LogIndex) {
        while let first = inflight.first, first.lastIndex <= index {
            inflightEntries -= first.entries
            inflightBytes -= first.bytes
            inflight.removeFirst()
        }
    }

    mutating func become(_ state: FollowerState, next: LogIndex) {
        self.state = state
        self.next = next
        inflight.removeAll()
        inflightEntries = 0
        inflightBytes = 0
        waitsForReply = false
    }
}
