import ClearingModel

/// Counters since the engine started. Everything here only grows; gauges are read from the engine itself.
public struct EngineMetrics: Sendable {
    public var connectionsOpened: UInt64 = 0
    public var connectionsClosed: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    public var bytesSent: UInt64 = 0
    public var malformedFrames: UInt64 = 0
    /// Connections that ended inside a frame.
    public var truncatedFrames: UInt64 = 0
    public var submittedRecords: UInt64 = 0
    public var appliedRecords: UInt64 = 0
    public var comparisons: UInt64 = 0
    public var elections: UInt64 = 0
    public var checkpoints: UInt64 = 0
    /// Records asked of another replica, because this one's log does not hold them.
    public var recordsFetched: UInt64 = 0
    public var snapshotsSent: UInt64 = 0
    public var snapshotsInstalled: UInt64 = 0
    public var damagedRecords: UInt64 = 0
    /// Replicas that started with a log and without a whole checkpoint to go with it.
    public var statesLost: UInt64 = 0
    public var repairsAsked: UInt64 = 0
    /// Entries that could not be read back and were written again as a peer had them.
    public var repairedEntries: UInt64 = 0
    public var backfillsAsked: UInt64 = 0
    /// Entries from below the log's start that were fetched from a peer and written.
    public var backfilledEntries: UInt64 = 0
    public var stateHashMismatches: UInt64 = 0
    public var creditBatchesSent: UInt64 = 0
    /// Answers given, by outcome code; duplicates and conflicts count under `answers` too.
    public var outcomes = [UInt64](repeating: 0, count: 256)
    public var answers = [UInt64](repeating: 0, count: 256)
    /// Requests refused before the log, by `RefusalCode`.
    public var refused = [UInt64](repeating: 0, count: 256)

    public init() {}

    mutating func count(_ decisions: ArraySlice<Decision>) {
        for decision in decisions {
            outcomes[Int(decision.outcomeCode)] += 1
            answers[Int(decision.answerCode)] += 1
        }
    }
}
