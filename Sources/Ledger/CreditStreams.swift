import ClearingModel
import Wire

/// Why a credit stream stands still. It is state, reported, and only people end it.
public enum StreamHalt: UInt8, Sendable, CaseIterable {
    case running = 0
    /// At the destination: a batch does not continue what was applied before (hash, source index or term).
    case mismatch = 1
    /// At the source: the destination confirms a batch that the source never closed.
    case cursorAhead = 2
    /// At the source: the destination applied another batch under the number that it confirms.
    case confirmationMismatch = 3
    /// At the destination: a line credits a participant that is unknown, or not at home here.
    case unknownCreditor = 4
    /// At the destination: a line books in a window further ahead than any shard may be.
    case unknownWindow = 5
}

/// A halted stream, for status and alarms.
public struct HaltedStream: Hashable, Sendable {
    public var source: ShardID
    public var destination: ShardID
    public var reason: StreamHalt

    public init(source: ShardID, destination: ShardID, reason: StreamHalt) {
        self.source = source
        self.destination = destination
        self.reason = reason
    }
}

/// Where the two credit streams between a shard and another one stand, for checks from outside.
public struct StreamInspection: Hashable, Sendable {
    /// The other shard's batches: the last one applied here.
    public var applied = CreditCursor.start
    /// Batches for the other shard: the last one closed, the last one that it confirmed.
    public var closed = BatchNumber.zero
    public var confirmed = BatchNumber.zero

    public init() {}

    init(applied: CreditCursor, closed: BatchNumber, confirmed: BatchNumber) {
        self.applied = applied
        self.closed = closed
        self.confirmed = confirmed
    }
}

/// What a destination does with a batch that a peer sent.
public enum BatchAdmission: Hashable, Sendable {
    /// Log it.
    case apply
    /// Already applied: confirm again with the cursor.
    case alreadyApplied
    /// Batches before it are missing: keep it or let the source send again.
    case notYet(next: BatchNumber)
    /// The directory here has to reach this version first.
    case waitsForDirectory(DirectoryVersion)
    /// It does not continue the stream: log it, so that every replica halts the stream and says so.
    case mismatch
    case halted(StreamHalt)
    /// Meant for another shard.
    case wrongDestination
}

/// Credits to one destination.
struct OutgoingStream {
    /// The last closed batch.
    var last = CreditCursor.start
    /// The last batch that the destination confirmed.
    var confirmed = CreditCursor.start
    /// Closed and not confirmed, oldest first, at most `Limits.maximumUnconfirmedBatches`.
    var unconfirmed: [CreditBatch] = []
    /// Lines of windows that ended before a batch could be closed, oldest window first.
    var waiting: [[CreditLine]] = []
    var halt = StreamHalt.running

    /// Whether a flush may close a batch.
    var hasRoom: Bool { halt == .running && unconfirmed.count < Limits.maximumUnconfirmedBatches }
}

/// Credits from one source.
struct IncomingStream {
    var cursor = CreditCursor.start
    var halt = StreamHalt.running

    /// Whether `batch` continues this stream from `cursor`; `nil` where its number says nothing about that.
    static func continues(_ batch: CreditBatch, from cursor: CreditCursor) -> Bool? {
        if batch.number == cursor.number { return batch.hash == cursor.hash }
        if batch.number < cursor.number {
            // An old batch sent again is fine; one closed after the cursor's under a smaller number is another history.
            return batch.sourceIndex <= cursor.sourceIndex && batch.sourceTerm <= cursor.sourceTerm
        }
        if batch.number > cursor.number.next { return nil }
        return batch.previousHash == cursor.hash && batch.sourceIndex >= cursor.sourceIndex
            && batch.sourceTerm >= cursor.sourceTerm
    }
}
