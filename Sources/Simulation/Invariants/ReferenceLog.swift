import ClearingModel

/// The log of one shard as it was committed first: what every replica must come to.
struct ReferenceLog {
    struct Entry {
        var term: Term
        var kind: UInt8
        var checksum: UInt32
        /// The term of the replica that showed it committed: it was committed in this term or an earlier one.
        var committedIn: Term
        var payload: UnsafeRawBufferPointer
        /// The model's running hash after it.
        var modelHash: UInt64
        /// The running hash of the replica that applied it first, and ended a turn there.
        var replicaHash: UInt64?
    }

    private(set) var entries: [Entry] = []
    var committed: LogIndex { LogIndex(UInt64(entries.count)) }

    subscript(index: LogIndex) -> Entry {
        get { entries[Int(index.rawValue) - 1] }
        set { entries[Int(index.rawValue) - 1] = newValue }
    }

    mutating func append(_ entry: Entry) { entries.append(entry) }

    /// The highest entry that was committed in an earlier term than this; zero where there is none.
    func lastCommitted(before term: Term) -> LogIndex {
        var index = committed
        while index > .zero, self[index].committedIn >= term { index = index.previous }
        return index
    }
}
