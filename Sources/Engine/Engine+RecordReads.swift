import ClearingModel
import Ledger
import LogFormat
import Wire

/// A peer's question for a record, while this node's log reads it.
struct RecordInquiry {
    var node: NodeID
    var shard: ShardID
    /// The asker's own.
    var token: UInt64
}

/// A record as some replica's log holds it.
struct OriginalRecord {
    var index: LogIndex
    var slot: Int
    var ledgerTime: WallTime
    var window: WindowID
    var instruction: Instruction
    /// The checksum of the whole entry was compared.
    var verified: Bool

    init(_ stored: StoredRecord) {
        index = stored.index
        slot = stored.slot
        ledgerTime = stored.ledgerTime
        window = stored.window
        instruction = stored.instruction
        verified = stored.verified
    }

    func encode(into writer: inout WireWriter) {
        writer.id(index)
        writer.u32(UInt32(slot))
        writer.id(ledgerTime)
        writer.id(window.scheme)
        writer.u32(window.number)
        withUnsafeBytes(of: instruction) { writer.raw($0) }
    }

    /// What a peer has read; it compared the checksum.
    init(decoding reader: inout WireReader) throws(WireError) {
        index = try reader.id()
        slot = Int(try reader.u32())
        guard slot < Limits.maximumRecords else { throw .invalid(field: "record slot", value: UInt64(slot)) }
        ledgerTime = try reader.id()
        window = WindowID(scheme: try reader.id(), number: try reader.u32())
        instruction = try reader.raw(Instruction.size).loadUnaligned(as: Instruction.self)
        verified = true
    }
}

/// Records that this replica's log does not hold, or not whole: a snapshot brings outcomes and no bodies. Another
/// replica that has applied them reads them from its log, with the checksum of the entry compared.
extension Engine {
    private static let patience = MonotonicTime.Span.seconds(1)

    /// Asks the next replica of the group for a record; `false` where none is left.
    func askPeer(for read: OriginalRead) -> Bool {
        var read = read
        let group = read.comparison.group
        var left = read.peers ?? group.memberNodes
        while let node = left.popLast() {
            guard peers.contains(where: { $0.node == node && $0.connection != nil }) else { continue }
            let token = token()
            read.peers = left
            read.asked = (node, now)
            read.verified = true
            originalReads[token] = read
            metrics.recordsFetched += 1
            sendFrame(.recordRequest, to: node) {
                $0.id(group.shard)
                $0.u64(token)
                $0.id(read.ordinal)
            }
            return true
        }
        return false
    }

    /// Goes on to the next replica where one was asked and says nothing.
    func watchRecordReads() {
        for token in originalReads.keys.sorted() {
            guard let asked = originalReads[token]?.asked, now - asked.at >= Self.patience else { continue }
            originalUnreadable(token, "node \(asked.node) does not answer")
        }
    }

    /// A peer asks for a record. Only what this replica has applied is told: above that its log may hold what never was
    /// committed.
    func receiveRecordRequest(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let inquiry = RecordInquiry(node: node, shard: try reader.id(), token: try reader.u64())
        let ordinal: Ordinal = try reader.id()
        try reader.expectEnd()
        guard let group = clearing(inquiry.shard), ordinal < group.ledger.nextOrdinal,
            inquiries.count < Limits.connectionWindowRequests
        else { return reply(nil, to: inquiry) }
        let token = token()
        inquiries[token] = inquiry
        log.readRecord(
            shard: inquiry.shard, ordinal: ordinal, verify: true, token: token, ops: &effects.disk, events: &logEvents)
    }

    func reply(_ stored: OriginalRecord?, to inquiry: RecordInquiry) {
        sendFrame(.recordReply, to: inquiry.node) {
            $0.u64(inquiry.token)
            $0.u8(stored == nil ? 0 : 1)
            stored?.encode(into: &$0)
        }
    }

    func receiveRecordReply(_ reader: inout WireReader, from node: NodeID) throws(WireError) {
        let token = try reader.u64()
        let isFound = try reader.u8() == 1
        let stored = isFound ? try OriginalRecord(decoding: &reader) : nil
        try reader.expectEnd()
        guard originalReads[token]?.asked?.node == node else { return }
        if isFound { Site.recordFetchedFromPeer.reached() }
        if let stored { originalRead(token, stored) } else { originalUnreadable(token, "no replica has it") }
    }
}
