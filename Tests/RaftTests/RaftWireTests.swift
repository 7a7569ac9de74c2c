import ClearingModel
import Raft
import Testing
import Wire

@Suite("Raft messages on the wire")
struct RaftWireTests {
    static func random(_ random: inout SeededRandom) -> RaftMessage {
        func number(_ bits: UInt64 = 40) -> UInt64 { random.below(1 << bits) }
        let followed = RaftMessage.Followed(
            sequence: number(), matched: LogIndex(number()), lastIndex: LogIndex(number()),
            doubt: random.below(2) == 0 ? nil : RaftMessage.Doubt(rawValue: random.next()))
        let candidacy = RaftMessage.Candidacy(
            lastIndex: LogIndex(number()), lastTerm: Term(number()), transfer: random.below(2) == 0)
        let body: RaftMessage.Body
        switch random.below(10) {
        case 0: body = .preVote(candidacy)
        case 1: body = .preVoteReply(granted: random.below(2) == 0)
        case 2: body = .vote(candidacy)
        case 3: body = .voteReply(granted: random.below(2) == 0)
        case 4:
            let previous = LogIndex(number())
            var entries: [RaftEntry] = []
            for offset in 0..<Int(random.below(6)) {
                let kind = EntryKind(rawValue: UInt8(random.below(3)))!
                let bytes = (0..<random.below(500)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                let payload: Slab =
                    switch kind {
                    case .noop: .empty
                    case .data: Slab(bytes)
                    case .configuration:
                        Membership(voters: [replica(1), replica(2, 3)], learners: [replica(9)]).encoded()
                    }
                entries.append(RaftEntry(index: previous + 1 + offset, term: Term(5), kind: kind, payload: payload))
            }
            body = .append(
                .init(
                    sequence: number(), previousIndex: previous, previousTerm: Term(random.below(5)),
                    commit: LogIndex(number()), probe: random.below(2) == 0, entries: entries))
        case 5: body = .appendReply(match: LogIndex(number()), followed)
        case 6:
            body = .appendReject(
                .init(previousIndex: LogIndex(number()), hintIndex: LogIndex(number()), hintTerm: Term(number())),
                followed)
        case 7:
            body = .heartbeat(
                .init(
                    sequence: number(), commit: LogIndex(number()), match: LogIndex(number()),
                    quarantined: random.below(2) == 0,
                    settlement: random.below(2) == 0
                        ? nil : .init(doubt: .init(rawValue: random.next()), index: LogIndex(number()))))
        case 8: body = .heartbeatReply(match: LogIndex(number()), wall: WallTime(rawValue: number(50)), followed)
        default: body = .timeoutNow
        }
        return RaftMessage(
            group: ShardID(UInt16(random.below(256))), from: replica(UInt32(random.below(9)), 2), to: replica(3, 4),
            term: Term(5 + number()), body: body)
    }

    static func bytes(_ messages: [RaftMessage]) -> [UInt8] {
        var queue = OutputQueue()
        for message in messages { message.encode(into: &queue) }
        return queue.drain().flatMap { part -> [UInt8] in
            switch part {
            case .bytes(let bytes): bytes
            case .slab(let slab): Array(slab.bytes)
            }
        }
    }

    @Test("what is written is read back, several messages in one frame", arguments: UInt64(1)...20)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let messages = (0..<50).map { _ in Self.random(&random) }
        let bytes = Self.bytes(messages)
        #expect(bytes.count == messages.reduce(0) { $0 + $1.encodedSize })
        try bytes.withUnsafeBytes { buffer in
            var reader = WireReader(buffer)
            for message in messages { #expect(try RaftMessage.decode(&reader) == message) }
            try reader.expectEnd()
        }
    }

    @Test("payloads are sent by reference")
    func noCopy() {
        let slab = Slab([UInt8](repeating: 7, count: 100_000))
        let entry = RaftEntry(index: LogIndex(1), term: Term(1), kind: .data, payload: slab)
        let message = RaftMessage(
            group: ShardID(1), from: replica(1), to: replica(2), term: Term(1),
            body: .append(
                .init(
                    sequence: 1, previousIndex: .zero, previousTerm: .zero, commit: .zero, probe: false,
                    entries: [entry])))
        var queue = OutputQueue()
        message.encode(into: &queue)
        let shared = queue.drain().contains { if case .slab(let sent) = $0 { sent === slab } else { false } }
        #expect(shared)
    }

    @Test("every truncation and every trailing byte is refused", arguments: UInt64(1)...20)
    func truncation(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = Self.bytes([Self.random(&random)])
        for end in 0..<bytes.count {
            #expect(throws: WireError.self) { try bytes[..<end].withUnsafeBytes { try RaftMessage.decode($0) } }
        }
        #expect(throws: WireError.self) { try (bytes + [0]).withUnsafeBytes { try RaftMessage.decode($0) } }
    }

    @Test(
        "garbage is refused or read, and never traps; a flipped payload bit is always refused",
        arguments: UInt64(1)...20)
    func garbage(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let message = Self.random(&random)
            var bytes = Self.bytes([message])
            let at = Int(random.below(UInt64(bytes.count)))
            bytes[at] ^= UInt8(1 << random.below(8))
            let read = bytes.withUnsafeBytes { try? RaftMessage.decode($0) }
            guard case .append(let append) = message.body else { continue }
            let payloadBytes = append.entries.reduce(0) { $0 + $1.payload.count }
            if at >= bytes.count - payloadBytes { #expect(read == nil) }
        }
        for _ in 0..<2_000 {
            let noise = (0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            noise.withUnsafeBytes { _ = try? RaftMessage.decode($0) }
        }
    }

    @Test("a membership with a node twice, or with too many replicas, is refused")
    func memberships() throws {
        let good = Membership(voters: [replica(1), replica(2)], learners: [replica(3, 2)])
        #expect(try Membership(decoding: good.encoded()) == good)
        let twice = Membership(voters: [replica(1)], learners: [replica(1, 2)])
        #expect(throws: WireError.self) { try Membership(decoding: twice.encoded()) }
        let many = Membership(voters: (1...8).map { replica($0) })
        #expect(throws: WireError.self) { try Membership(decoding: many.encoded()) }
    }
}
