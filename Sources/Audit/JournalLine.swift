import ClearingModel

/// One line of a load's journal: an attempt that ended.
struct JournalLine {
    enum Answer: Equatable {
        /// The log decided this outcome.
        case decided(UInt8)
        /// The id was decided with another body before; the place is that decision's.
        case conflict
        /// Refused before the log: says nothing about the id.
        case refused
        /// No reply came.
        case unknown
    }

    var id = IDWords(parties: 0, dayAndSequence: 0)
    var answer = Answer.unknown
    var shard: UInt64 = 0
    var index: UInt64 = 0
    var slot: UInt64 = 0
    var window: UInt64 = 0
    var ledgerTime: UInt64 = 0

    var transactionID: TransactionID {
        TransactionID(
            debtor: ParticipantID(UInt32(truncatingIfNeeded: id.parties)),
            instructing: ParticipantID(UInt32(truncatingIfNeeded: id.parties >> 32)), dayAndSequence: id.dayAndSequence)
    }
}

/// Reads journal lines by hand: flat JSON objects with known keys in any order, numbers and strings without escapes.
struct JournalParser {
    private let outcomes = Outcome.allCases.map { (name: Array($0.name.utf8), code: $0.rawValue) }
    private let refusals = RefusalCode.allCases.map { Array($0.name.utf8) } + [Array("other".utf8)]
    private let unknown = Array("unknown".utf8)
    private let conflict = Array("idConflict".utf8)
    /// The last date that was read, as digits and as a day.
    private var dateDigits: UInt64 = 0
    private var dateDay: UInt16 = 0

    /// `nil` for what is no journal line.
    mutating func parse(_ line: UnsafeRawBufferPointer) -> JournalLine? {
        var result = JournalLine()
        var seen: UInt8 = 0
        var at = 0
        let end = line.count
        @inline(__always)
        func skip() { while at < end, line[at] == 0x20 || line[at] == 0x09 || line[at] == 0x0D { at += 1 } }
        @inline(__always)
        func take(_ byte: UInt8) -> Bool {
            skip()
            guard at < end, line[at] == byte else { return false }
            at += 1
            return true
        }
        func string() -> Range<Int>? {
            guard take(0x22) else { return nil }
            let start = at
            while at < end, line[at] != 0x22 {
                if line[at] == 0x5C { return nil }
                at += 1
            }
            guard at < end else { return nil }
            at += 1
            return start..<at - 1
        }
        func number() -> UInt64? {
            skip()
            return Self.digits(line, &at)
        }
        guard take(0x7B) else { return nil }
        repeat {
            guard let key = string(), take(0x3A) else { return nil }
            let name = Key(line, key)
            switch name {
            case .id:
                guard let text = string(), let id = id(line, text) else { return nil }
                result.id = id
            case .outcome:
                guard let text = string(), let answer = answer(line, text) else { return nil }
                result.answer = answer
            case .shard, .index, .slot, .window, .ledgerTime:
                guard let value = number() else { return nil }
                switch name {
                case .shard: result.shard = value
                case .index: result.index = value
                case .slot: result.slot = value
                case .window: result.window = value
                default: result.ledgerTime = value
                }
            case nil: return nil
            }
            seen |= 1 << (name?.rawValue ?? 7)
        } while take(0x2C)
        guard take(0x7D) else { return nil }
        skip()
        return at == end && seen == 0x7F ? result : nil
    }

    private enum Key: UInt8 {
        case id, outcome, shard, index, slot, window, ledgerTime

        @inline(__always)
        init?(_ line: UnsafeRawBufferPointer, _ range: Range<Int>) {
            func matches(_ text: StaticString) -> Bool {
                text.utf8CodeUnitCount == range.count
                    && (0..<range.count).allSatisfy { text.utf8Start[$0] == line[range.lowerBound + $0] }
            }
            switch range.count {
            case 2 where matches("id"): self = .id
            case 4 where matches("slot"): self = .slot
            case 5 where matches("shard"): self = .shard
            case 5 where matches("index"): self = .index
            case 6 where matches("window"): self = .window
            case 7 where matches("outcome"): self = .outcome
            case 10 where matches("ledgerTime"): self = .ledgerTime
            default: return nil
            }
        }
    }

    /// Digits up to the first other byte; `nil` where there is none or they do not fit.
    @inline(__always)
    private static func digits(_ line: UnsafeRawBufferPointer, _ at: inout Int) -> UInt64? {
        let start = at
        var value: UInt64 = 0
        while at < line.count, line[at] &- 0x30 < 10 {
            let (product, a) = value.multipliedReportingOverflow(by: 10)
            let (sum, b) = product.addingReportingOverflow(UInt64(line[at] &- 0x30))
            if a || b { return nil }
            value = sum
            at += 1
        }
        return at > start ? value : nil
    }

    /// `DEBTOR-INSTRUCTING-YYYYMMDD-SEQUENCE`.
    private mutating func id(_ line: UnsafeRawBufferPointer, _ range: Range<Int>) -> IDWords? {
        let text = UnsafeRawBufferPointer(rebasing: line[range])
        var at = 0
        func dash() -> Bool {
            guard at < text.count, text[at] == 0x2D else { return false }
            at += 1
            return true
        }
        guard let debtor = Self.digits(text, &at), debtor <= UInt32.max, dash(),
            let instructing = Self.digits(text, &at), instructing <= UInt32.max, dash()
        else { return nil }
        let start = at
        guard let date = Self.digits(text, &at), at - start == 8, dash(), let sequence = Self.digits(text, &at),
            at == text.count, sequence <= TransactionID.maximumSequence
        else { return nil }
        if date != dateDigits {
            let (year, month, day) = (Int(date / 10_000), Int(date / 100 % 100), Int(date % 100))
            guard let found = BusinessDay(year: year, month: month, day: day) else { return nil }
            (dateDigits, dateDay) = (date, found.rawValue)
        }
        return IDWords(parties: debtor | instructing << 32, dayAndSequence: UInt64(dateDay) | sequence << 16)
    }

    private func answer(_ line: UnsafeRawBufferPointer, _ range: Range<Int>) -> JournalLine.Answer? {
        func matches(_ name: [UInt8]) -> Bool {
            name.count == range.count && (0..<name.count).allSatisfy { name[$0] == line[range.lowerBound + $0] }
        }
        for (name, code) in outcomes where matches(name) { return .decided(code) }
        if matches(unknown) { return .unknown }
        if matches(conflict) { return .conflict }
        return refusals.contains(where: matches) ? .refused : nil
    }
}
