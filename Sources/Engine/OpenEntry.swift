import ClearingModel
import Ledger
import Wire

/// One request whose records stand in an entry: where the answer goes, and how many decisions are its.
struct PendingRequest {
    var reply: ReplyAddress
    var count: Int
    /// Bytes that count against the connection's window.
    var bytes: Int
}

/// The entry that a leader is filling. Records are copied into it straight from the connection's bytes; whatever else
/// the shard has to log (credit batches, confirmations, directory changes, markers) rides along as sections.
struct OpenEntry: ~Copyable {
    var builder = EntryBuilder()
    private(set) var requests: [PendingRequest] = []
    /// Close the open credit batches after this entry's records.
    var flush = false

    var records: Int { builder.recordCount }
    var isEmpty: Bool { builder.isEmpty && !flush }

    /// Whether `count` more records fit.
    func hasRoom(records count: Int) -> Bool { count <= builder.recordRoom }

    mutating func add(_ request: PendingRequest, records: UnsafeRawBufferPointer) {
        builder.append(records: records)
        requests.append(request)
    }

    /// Seals what is in it and is empty after, in the same memory: a new megabyte for each entry would be touched page
    /// by page anew.
    mutating func seal(_ sequence: inout EntrySequence, wall: WallTime) -> Slab {
        defer { (requests, flush) = ([], false) }
        return sequence.seal(&builder, wall: wall, flush: flush)
    }
}
