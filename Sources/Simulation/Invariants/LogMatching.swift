import Audit
import ClearingModel

/// Raft figure 3, by induction over the previous term that every entry names.
struct LogMatching: Invariant {
    static let rule =
        "two entries with one index and term are the same entry, and the logs before them are the same (Raft §5.3; "
        + "FAULTS, log matching)"
    private(set) var tally = Tally()

    /// An entry is on its way to a disk.
    ///
    /// - Parameter known: the entry of this index and term that was seen before.
    mutating func wrote(_ record: WrittenRecord, by replica: ReplicaID, known: KnownEntry?) -> String? {
        guard let known else { return nil }
        tally.checks += 1
        var place: String { "shard \(record.shard), entry \(record.index) of term \(record.term)" }
        if known.checksum != record.checksum || known.payload.count != record.length || known.kind != record.detail {
            return "\(place): \(replica) writes kind \(record.detail), \(record.length) bytes, checksum "
                + "\(record.checksum); written before was kind \(known.kind), \(known.payload.count) bytes, checksum "
                + "\(known.checksum)"
        }
        if record.kind == .entry, let before = known.previousTerm, before != record.previousTerm {
            return "\(place): \(replica) has term \(record.previousTerm) before it, another log term \(before)"
        }
        return nil
    }

    /// A full scan found an entry in a node's files.
    ///
    /// - Parameter wasHarmed: the files were damaged on purpose at some time.
    mutating func found(
        _ entry: HeldEntry, _ shard: ShardID, _ index: LogIndex, on replica: ReplicaID, known: KnownEntry?,
        wasHarmed: Bool
    ) -> String? {
        var place: String { "shard \(shard), entry \(index) of term \(entry.term)" }
        if entry.isDamaged {
            tally.unknown += 1
            return wasHarmed ? nil : "\(place) is damaged in the files of \(replica), to which nobody did any harm"
        }
        tally.checks += 1
        guard let known else { return "\(place) stands in the files of \(replica), and nobody was seen to write it" }
        guard known.checksum == entry.checksum, known.payload.count == entry.length else {
            return "\(place): the files of \(replica) have \(entry.length) bytes, checksum \(entry.checksum); written "
                + "were \(known.payload.count), checksum \(known.checksum)"
        }
        return nil
    }
}
