import ClearingModel
import Wire

// Layout, little endian. Several messages stand behind each other in one frame.
//
//     0   4  length of the whole message, payloads included
//     4   2  group
//     6   1  kind
//     7   1  flags (bit 0: granted, transfer, probe, in doubt or quarantined, by kind; bit 1, heartbeats only: settlement)
//     8  16  from, to: node and incarnation of each
//     24  8  term
//     32  .. fields of the kind; of an append: sequence, previous index and term, commit (8 each), count of entries (4),
//            then per entry term (8), kind (1), zero (3), length (4) and CRC-32C (4) of its payload, then the payloads;
//            of a reply in doubt at the end: the doubt (8); of a heartbeat with a settlement: doubt and index (8 each)
extension RaftMessage {
    /// Bytes of the fixed part of every message.
    static let headerSize = 32
    static let entryHeaderSize = 20
    /// Terms, indexes and sequences beyond this are no number that a cluster reaches; arithmetic on them stays safe.
    static let maximumNumber: UInt64 = 1 << 56

    private enum Kind: UInt8 {
        case preVote = 1
        case preVoteReply = 2
        case vote = 3
        case voteReply = 4
        case append = 5
        case appendReply = 6
        case appendReject = 7
        case heartbeat = 8
        case heartbeatReply = 9
        case timeoutNow = 10
    }

    /// Kind and flag bit 0.
    private var tag: (Kind, Bool) {
        switch body {
        case .preVote(let candidacy): (.preVote, candidacy.transfer)
        case .preVoteReply(let granted): (.preVoteReply, granted)
        case .vote(let candidacy): (.vote, candidacy.transfer)
        case .voteReply(let granted): (.voteReply, granted)
        case .append(let append): (.append, append.probe)
        case .appendReply(_, let followed): (.appendReply, followed.doubt != nil)
        case .appendReject(_, let followed): (.appendReject, followed.doubt != nil)
        case .heartbeat(let heartbeat): (.heartbeat, heartbeat.quarantined)
        case .heartbeatReply(_, _, let followed): (.heartbeatReply, followed.doubt != nil)
        case .timeoutNow: (.timeoutNow, false)
        }
    }

    private var settlement: Settlement? {
        if case .heartbeat(let heartbeat) = body { heartbeat.settlement } else { nil }
    }

    /// Bytes on the wire, payloads included.
    public var encodedSize: Int {
        let fields =
            switch body {
            case .preVote, .vote: 16
            case .preVoteReply, .voteReply, .timeoutNow: 0
            case .append(let append):
                append.entries.reduce(36) { $0 + Self.entryHeaderSize + $1.payload.count }
            case .appendReply(_, let followed): 8 + Self.encodedSize(followed)
            case .appendReject(_, let followed): 24 + Self.encodedSize(followed)
            case .heartbeat(let heartbeat): heartbeat.settlement == nil ? 24 : 40
            case .heartbeatReply(_, _, let followed): 16 + Self.encodedSize(followed)
            }
        return Self.headerSize + fields
    }

    /// Appends the wire form: fields are copied, entry payloads go by reference.
    public func encode(into queue: inout OutputQueue) {
        queue.write { encodeFields(into: &$0) }
        guard case .append(let append) = body else { return }
        for entry in append.entries where entry.payload.count > 0 { queue.write(entry.payload) }
    }

    private func encodeFields(into writer: inout WireWriter) {
        let (kind, flag) = tag
        writer.u32(UInt32(encodedSize))
        writer.id(group)
        writer.u8(kind.rawValue)
        writer.u8((flag ? 1 : 0) | (settlement == nil ? 0 : 2))
        writer.replica(from)
        writer.replica(to)
        writer.id(term)
        switch body {
        case .preVote(let candidacy), .vote(let candidacy):
            writer.id(candidacy.lastIndex)
            writer.id(candidacy.lastTerm)
        case .preVoteReply, .voteReply, .timeoutNow: break
        case .append(let append):
            writer.u64(append.sequence)
            writer.id(append.previousIndex)
            writer.id(append.previousTerm)
            writer.id(append.commit)
            writer.u32(UInt32(append.entries.count))
            for entry in append.entries {
                writer.id(entry.term)
                writer.u8(entry.kind.rawValue)
                writer.u8(0)
                writer.u16(0)
                writer.u32(UInt32(entry.payload.count))
                writer.u32(entry.payload.checksum)
            }
        case .appendReply(let match, let followed):
            writer.id(match)
            Self.encode(followed, into: &writer)
        case .appendReject(let reject, let followed):
            writer.id(reject.previousIndex)
            writer.id(reject.hintIndex)
            writer.id(reject.hintTerm)
            Self.encode(followed, into: &writer)
        case .heartbeat(let heartbeat):
            writer.u64(heartbeat.sequence)
            writer.id(heartbeat.commit)
            writer.id(heartbeat.match)
            guard let settlement = heartbeat.settlement else { break }
            writer.u64(settlement.doubt.rawValue)
            writer.id(settlement.index)
        case .heartbeatReply(let match, let wall, let followed):
            writer.id(match)
            writer.id(wall)
            Self.encode(followed, into: &writer)
        }
    }

    private static func encode(_ followed: Followed, into writer: inout WireWriter) {
        writer.u64(followed.sequence)
        writer.id(followed.matched)
        writer.id(followed.lastIndex)
        if let doubt = followed.doubt { writer.u64(doubt.rawValue) }
    }

    private static func encodedSize(_ followed: Followed) -> Int { followed.doubt == nil ? 24 : 32 }

    // MARK: - Decoding

    /// Reads one message that fills `bytes`; payloads are copied out and checked against the CRC that came with them.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> RaftMessage {
        var reader = WireReader(bytes)
        let message = try decode(&reader)
        try reader.expectEnd()
        return message
    }

    /// Reads the next of several messages.
    public static func decode(_ reader: inout WireReader) throws(WireError) -> RaftMessage {
        let length = Int(try reader.u32())
        guard length >= headerSize, length <= Limits.maximumFrameBytes else {
            throw .invalid(field: "raft message length", value: UInt64(length))
        }
        var body = WireReader(try reader.raw(length - 4))
        let message = try decodeFields(&body)
        try body.expectEnd()
        return message
    }

    private static func decodeFields(_ reader: inout WireReader) throws(WireError) -> RaftMessage {
        let group = try reader.id(ShardID.self)
        let kindValue = try reader.u8()
        guard let kind = Kind(rawValue: kindValue) else {
            throw .invalid(field: "raft message kind", value: UInt64(kindValue))
        }
        let flags = try reader.u8()
        guard flags <= (kind == .heartbeat ? 3 : 1) else {
            throw .invalid(field: "raft message flags", value: UInt64(flags))
        }
        let (from, to) = (try reader.replica(), try reader.replica())
        let term = Term(try number(&reader, "raft term"))
        let body = try decodeBody(kind, flag: flags & 1 == 1, settles: flags & 2 == 2, term: term, &reader)
        return RaftMessage(group: group, from: from, to: to, term: term, body: body)
    }

    private static func decodeBody(
        _ kind: Kind, flag: Bool, settles: Bool, term: Term, _ reader: inout WireReader
    ) throws(WireError) -> Body {
        switch kind {
        case .preVote: return .preVote(try candidacy(&reader, flag))
        case .preVoteReply: return .preVoteReply(granted: flag)
        case .vote: return .vote(try candidacy(&reader, flag))
        case .voteReply: return .voteReply(granted: flag)
        case .append: return .append(try append(&reader, probe: flag, term: term))
        case .appendReply: return .appendReply(match: try index(&reader), try followed(&reader, flag))
        case .appendReject:
            let reject = AppendReject(
                previousIndex: try index(&reader), hintIndex: try index(&reader),
                hintTerm: Term(try number(&reader, "raft hint term")))
            return .appendReject(reject, try followed(&reader, flag))
        case .heartbeat:
            let sequence = try number(&reader, "raft sequence")
            let (commit, match) = (try index(&reader), try index(&reader))
            let settlement =
                settles ? Settlement(doubt: Doubt(rawValue: try reader.u64()), index: try index(&reader)) : nil
            return .heartbeat(
                Heartbeat(sequence: sequence, commit: commit, match: match, quarantined: flag, settlement: settlement))
        case .heartbeatReply:
            let match = try index(&reader)
            let wall = WallTime(try number(&reader, "raft wall clock"))
            return .heartbeatReply(match: match, wall: wall, try followed(&reader, flag))
        case .timeoutNow: return .timeoutNow
        }
    }

    private static func number(_ reader: inout WireReader, _ field: StaticString) throws(WireError) -> UInt64 {
        let value = try reader.u64()
        guard value <= maximumNumber else { throw .invalid(field: field, value: value) }
        return value
    }

    private static func index(_ reader: inout WireReader) throws(WireError) -> LogIndex {
        LogIndex(try number(&reader, "raft log index"))
    }

    private static func candidacy(_ reader: inout WireReader, _ transfer: Bool) throws(WireError) -> Candidacy {
        let lastIndex = try index(&reader)
        return Candidacy(lastIndex: lastIndex, lastTerm: Term(try number(&reader, "raft term")), transfer: transfer)
    }

    private static func followed(_ reader: inout WireReader, _ inDoubt: Bool) throws(WireError) -> Followed {
        let sequence = try number(&reader, "raft sequence")
        return Followed(
            sequence: sequence, matched: try index(&reader), lastIndex: try index(&reader),
            doubt: inDoubt ? Doubt(rawValue: try reader.u64()) : nil)
    }

    private struct EntryHeader {
        var term: Term
        var kind: EntryKind
        var length: Int
        var checksum: UInt32
    }

    private static func append(_ reader: inout WireReader, probe: Bool, term: Term) throws(WireError) -> Append {
        var append = Append(
            sequence: try number(&reader, "raft sequence"), previousIndex: try index(&reader),
            previousTerm: Term(try number(&reader, "raft term")), commit: try index(&reader), probe: probe, entries: [])
        let count = try reader.count("raft entries", atMost: Limits.maximumInflightEntries)
        guard reader.left >= count * entryHeaderSize else {
            throw .truncated(wanted: count * entryHeaderSize, left: reader.left)
        }
        var headers: [EntryHeader] = []
        headers.reserveCapacity(count)
        var lowest = append.previousTerm
        for _ in 0..<count {
            let header = try entryHeader(&reader)
            // Terms in a log never fall, and a leader has nothing from a later term than its own.
            guard header.term >= lowest, header.term <= term else {
                throw .invalid(field: "raft entry term", value: header.term.rawValue)
            }
            lowest = header.term
            headers.append(header)
        }
        append.entries.reserveCapacity(count)
        var index = append.previousIndex
        for header in headers {
            index = index.next
            let payload = Slab(copying: try reader.raw(header.length))
            guard payload.checksum == header.checksum else {
                throw .invalid(field: "raft entry checksum", value: UInt64(header.checksum))
            }
            if header.kind == .configuration { _ = try Membership(decoding: payload) }
            append.entries.append(RaftEntry(index: index, term: header.term, kind: header.kind, payload: payload))
        }
        return append
    }

    private static func entryHeader(_ reader: inout WireReader) throws(WireError) -> EntryHeader {
        let term = Term(try number(&reader, "raft entry term"))
        let kindValue = try reader.u8()
        guard let kind = EntryKind(rawValue: kindValue) else {
            throw .invalid(field: "raft entry kind", value: UInt64(kindValue))
        }
        let padding = (try reader.u8(), try reader.u16())
        guard padding == (0, 0) else { throw .invalid(field: "raft entry padding", value: UInt64(padding.1)) }
        let length = try reader.count("raft entry length", atMost: Limits.maximumEntryBytes)
        return EntryHeader(term: term, kind: kind, length: length, checksum: try reader.u32())
    }
}
