import ClearingModel
import DequeModule

/// Which of a replica's writes are durable. Writes complete in the order in which they were asked for.
struct Durability: Sendable {
    private(set) var requested = PersistSequence.zero
    private(set) var completed = PersistSequence.zero
    /// The log is durable up to here.
    private(set) var index: LogIndex
    private var pending = Deque<Pending>()

    private struct Pending: Sendable {
        var sequence: PersistSequence
        var lastIndex: LogIndex
    }

    init(index: LogIndex) { self.index = index }

    /// Numbers a write that does not make the log longer.
    mutating func request() -> PersistSequence {
        requested = requested.next
        return requested
    }

    /// Numbers a write of entries up to `lastIndex`.
    mutating func request(through lastIndex: LogIndex) -> PersistSequence {
        let sequence = request()
        pending.append(Pending(sequence: sequence, lastIndex: lastIndex))
        return sequence
    }

    /// Entries from `index` on are void: their durability counts for nothing any more.
    mutating func truncate(from first: LogIndex) {
        index = min(index, first.previous)
        for position in pending.indices {
            pending[position].lastIndex = min(pending[position].lastIndex, first.previous)
        }
    }

    /// A durable snapshot covers the log up to here.
    mutating func covered(through index: LogIndex) { self.index = max(self.index, index) }

    /// Everything up to `sequence` is durable.
    mutating func complete(through sequence: PersistSequence) {
        precondition(sequence <= requested, "a write completed that was never asked for")
        completed = max(completed, sequence)
        while let first = pending.first, first.sequence <= completed {
            index = max(index, first.lastIndex)
            pending.removeFirst()
        }
    }
}
