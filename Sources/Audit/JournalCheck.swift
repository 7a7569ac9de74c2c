import ClearingModel
import Glibc

/// Holds a load's journal against what the replay decided.
struct JournalCheck {
    private(set) var acknowledged: UInt64 = 0
    private(set) var missing: UInt64 = 0
    private(set) var doubled: UInt64 = 0
    private(set) var refused: UInt64 = 0
    private(set) var unknownAccepted: UInt64 = 0
    private(set) var unknownOther: UInt64 = 0
    private(set) var unknownNeverDecided: UInt64 = 0
    private(set) var lines: UInt64 = 0
    private var beforeStart: UInt64 = 0

    private let replay: Replay
    private let findings: Findings
    private let path: String
    private var parser = JournalParser()

    init(path: String, replay: Replay, findings: Findings) {
        self.path = path
        self.replay = replay
        self.findings = findings
    }

    /// Reads the journal's first `size` bytes: what it held before the logs were read.
    mutating func run(_ file: DataFile, size: Int, progress: (String) -> Void) {
        let chunk = 1 << 20
        var carried: [UInt8] = []
        var offset = 0
        while offset < size {
            guard let bytes = file.bytes(offset, min(chunk, size - offset)) else {
                return findings.unchecked("\(path): \(String(cString: strerror(errno))) at offset \(offset)")
            }
            offset += bytes.count
            bytes.withUnsafeBytes { bytes in
                var start = 0
                while let newline = Self.newline(bytes, from: start) {
                    if carried.isEmpty {
                        check(UnsafeRawBufferPointer(rebasing: bytes[start..<newline]))
                    } else {
                        carried.append(contentsOf: bytes[start..<newline])
                        carried.withUnsafeBytes { check($0) }
                        carried.removeAll(keepingCapacity: true)
                    }
                    start = newline + 1
                }
                if carried.count < chunk { carried.append(contentsOf: bytes[start...]) }
            }
        }
        if beforeStart > 0 {
            findings.unchecked(
                "\(path): \(beforeStart) acknowledged decisions stand in entries that no node has any more")
        }
        // A generator that was killed, or still writes, leaves half a line.
        if !carried.isEmpty { findings.note("\(path): the last line is incomplete and was left out") }
    }

    private static func newline(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < bytes.count, let base = bytes.baseAddress,
            let found = memchr(base + start, 0x0A, bytes.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    private mutating func check(_ text: UnsafeRawBufferPointer) {
        lines += 1
        guard text.count > 0 else { return }
        guard let line = parser.parse(text) else {
            return findings.unchecked("\(path), line \(lines): not a journal line")
        }
        switch line.answer {
        case .decided(let code):
            acknowledged += 1
            confirm(line, code)
        case .conflict:
            acknowledged += 1
            confirm(line, nil)
        case .refused: refused += 1
        case .unknown: resolve(line)
        }
    }

    private func shard(_ number: UInt64) -> ShardReplay? {
        number >= 1 && number <= UInt64(replay.shards.count) ? replay.shards[Int(number) - 1] : nil
    }

    private func name(_ line: JournalLine) -> String { "\(path), line \(lines), \(line.transactionID)" }

    /// An acknowledged decision must be in the committed log, there, under that id, with that outcome.
    private mutating func confirm(_ line: JournalLine, _ code: UInt8?) {
        guard let shard = shard(line.shard), let outcomes = shard.outcomes, line.slot < UInt64(Limits.maximumRecords)
        else {
            return lose(line, "there is no shard \(line.shard)")
        }
        let slot = Int(line.slot)
        guard line.index > shard.start else {
            beforeStart += 1
            return
        }
        guard let ordinal = outcomes.ordinal(index: line.index, slot: slot) else {
            if shard.isComplete { return lose(line, "the log has no such record") }
            return findings.unchecked("\(name(line)): shard \(line.shard) was not replayed up to entry \(line.index)")
        }
        guard let id = outcomes.id(index: line.index, slot: slot), let head = outcomes.head(index: line.index) else {
            return findings.unchecked(
                "\(name(line)): entry \(line.index) of shard \(line.shard) cannot be read any more")
        }
        guard id == line.id else {
            var other = line
            other.id = id
            return lose(line, "the record there is \(other.transactionID)")
        }
        if head.ledgerTime != line.ledgerTime || UInt64(head.window) != line.window {
            findings.problem(
                "\(name(line)): acknowledged with ledger time \(line.ledgerTime) and window \(line.window), entry "
                    + "\(line.index) of shard \(line.shard) has \(head.ledgerTime) and \(head.window)")
        }
        compare(line, code, outcomes, ordinal, shard.model)
    }

    private mutating func compare(
        _ line: JournalLine, _ code: UInt8?, _ outcomes: OutcomeStore, _ ordinal: UInt64, _ model: ShardModel?
    ) {
        let found = outcomes[ordinal] & 0x7F
        if found == 0 {
            let original = outcomes.find(line.id)
            let place =
                original.flatMap { outcomes.place(of: $0) }.map { "entry \($0.index), slot \($0.slot)" }
                ?? "an entry before the replay's start"
            let first = original.map { outcomes[$0] & 0x7F } ?? model?.restored.find(line.id)?.outcome ?? 0
            let accepted = Outcome.accepted.rawValue
            if code == accepted, first == accepted, outcomes[ordinal] & 0x80 == 0 {
                doubled += 1
                outcomes[ordinal] |= 0x80
            }
            findings.problem(
                "\(name(line)): acknowledged as decided (\(Self.outcome(code))) in entry \(line.index), slot \(line.slot) "
                    + "of shard \(line.shard), but \(place) had decided the id before "
                    + "(\(Self.outcome(first)))")
        } else if let code, code != found {
            findings.problem(
                "\(name(line)): acknowledged as \(Self.outcome(code)), the replay of entry \(line.index), slot "
                    + "\(line.slot) of shard \(line.shard) gives \(Self.outcome(found))")
        }
    }

    private static func outcome(_ code: UInt8?) -> String {
        guard let code else { return "idConflict" }
        return Outcome(rawValue: code)?.name ?? "outcome \(code)"
    }

    private mutating func lose(_ line: JournalLine, _ why: String) {
        missing += 1
        findings.problem(
            "\(name(line)): acknowledged in entry \(line.index), slot \(line.slot) of shard \(line.shard), and \(why): an "
                + "acknowledged decision is lost")
    }

    /// What became of an attempt that got no reply.
    private mutating func resolve(_ line: JournalLine) {
        let owner = replay.topology.slots.route(line.transactionID)
        let shard = shard(UInt64(owner.rawValue))
        guard let outcomes = shard?.outcomes,
            let code = outcomes.find(line.id).map({ outcomes[$0] & 0x7F })
                ?? shard?.model?.restored.find(line.id)?.outcome
        else {
            unknownNeverDecided += 1
            return
        }
        if code == Outcome.accepted.rawValue { unknownAccepted += 1 } else { unknownOther += 1 }
    }
}
