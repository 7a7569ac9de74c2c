import Audit
import ClearingModel

/// An entry as some disk was given it.
struct KnownEntry {
    var term: Term
    /// `nil`: only repairs were seen, which do not name it.
    var previousTerm: Term?
    var kind: UInt8
    var checksum: UInt32
    /// In the arena.
    var payload: UnsafeRawBufferPointer
}

/// Every entry of one shard that was ever written to a disk, by index and term.
struct RecordTable {
    private struct Key: Hashable {
        var index: UInt64
        var term: UInt64
    }

    /// The first term seen at an index, from index 1 on.
    private var first: [KnownEntry?] = []
    /// All others.
    private var others: [Key: KnownEntry] = [:]

    func find(_ index: LogIndex, _ term: Term) -> KnownEntry? {
        let at = Int(index.rawValue) - 1
        guard at >= 0, at < first.count else { return nil }
        if let known = first[at], known.term == term { return known }
        return others.isEmpty ? nil : others[Key(index: index.rawValue, term: term.rawValue)]
    }

    /// Adds an entry, or replaces the one of this index and term.
    mutating func put(_ index: LogIndex, _ entry: KnownEntry) {
        let at = Int(index.rawValue) - 1
        while first.count <= at { first.append(nil) }
        if first[at] == nil || first[at]!.term == entry.term {
            first[at] = entry
        } else {
            others[Key(index: index.rawValue, term: entry.term.rawValue)] = entry
        }
    }
}
