import ClearingModel
import Foundation
import Testing
import Wire

/// Holds the examples and tables of docs/PROTOCOL.md against the code.
@Suite("docs/PROTOCOL.md")
struct ProtocolDocumentTests {
    let text: String

    init() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        text = try String(contentsOf: root.appendingPathComponent("docs/PROTOCOL.md"), encoding: .utf8)
    }

    /// The bytes of the block that begins with "```hex NAME".
    func example(_ name: String) throws -> [UInt8] {
        let start = try #require(text.range(of: "```hex \(name)\n"))
        let end = try #require(text.range(of: "```", range: start.upperBound..<text.endIndex))
        return text[start.upperBound..<end.lowerBound].split(whereSeparator: \.isWhitespace).compactMap {
            UInt8($0, radix: 16)
        }
    }

    func frame(_ build: (inout WireWriter) -> Void) -> [UInt8] {
        var writer = WireWriter()
        build(&writer)
        return writer.bytes
    }

    @Test("example frames are what the code writes")
    func examples() throws {
        let cluster = try #require(ClusterID("00112233445566778899aabbccddeeff"))
        let hello = Hello(cluster: cluster, side: .client, name: "example")
        #expect(try example("hello") == frame { hello.encode(request: 0, into: &$0) })
        var payment = Instruction(
            id: try #require(TransactionID("104-7-20261123-42")), kind: .agreementDebit, amount: 2_500, currency: 156,
            creditor: ParticipantID(7))
        payment.reference = 9
        payment.agreement = 77
        #expect(try example("submit") == frame { Submit.encode(request: 5, shard: ShardID(3), payment, into: &$0) })
        let decision = Decision(
            outcome: .accepted, answer: .decided, slot: 0, window: WindowID(scheme: .domestic, number: 1),
            index: LogIndex(1_234), shard: ShardID(3), ledgerTime: WallTime(rawValue: 1_795_420_800_123_456))
        #expect(
            try example("submitReply")
                == frame { SubmitReply.encode(request: 5, shard: ShardID(3), [decision], 0..<1, into: &$0) })
        let refusal = Refusal(
            .notLeader, shard: ShardID(3), leader: NodeID(2), leaderAddress: "127.77.1.2:7402")
        #expect(try example("refusal") == frame { refusal.encode(request: 5, into: &$0) })
        #expect(try example("query") == frame { Query.encode(request: 6, shard: ShardID(3), [payment.id], into: &$0) })
    }

    @Test("the slots of the routing example are the router's")
    func slots() throws {
        let start = try #require(text.range(of: "| debtor | slot |"))
        let rows = text[start.upperBound...].split(separator: "\n").dropFirst().prefix { $0.hasPrefix("|") }
        #expect(rows.count == 7)
        for row in rows {
            let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let debtor = ParticipantID(try #require(UInt32(cells[0])))
            #expect(SlotMap.slot(of: debtor).rawValue == UInt16(cells[1]), "\(debtor)")
        }
    }

    @Test("the golden table and the refusals are complete")
    func tables() {
        for outcome in Outcome.allCases {
            let row = outcome.row
            let line = "| \(outcome.rawValue) | `\(row.name)` | \(row.isoReason ?? "") | \(row.disposition.rawValue) |"
            #expect(text.contains(line), "\(line)")
        }
        for code in RefusalCode.allCases {
            let line = "| \(code.rawValue) | `\(code.name)` | \(code.isTransient ? "yes" : "no") |"
            #expect(text.contains(line), "\(line)")
        }
        for type in FrameType.allCases where type.rawValue < 64 { #expect(text.contains("\(type)"), "\(type)") }
    }
}
