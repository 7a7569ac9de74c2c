/// The idempotency key of a transaction, 128 bits: debtor, instructing participant, business day, sequence.
///
/// Any node routes it without a look-up. Text form `DEBTOR-INSTRUCTING-YYYYMMDD-SEQUENCE`, for example
/// `104-7-20261123-42`. In memory it is the 16 little-endian bytes of the record (DOMAIN, "Money and identity").
public struct TransactionID: Hashable, Sendable, CustomStringConvertible {
    public var debtor: ParticipantID
    public var instructing: ParticipantID
    /// Business day in the low 16 bits, sequence in the high 48.
    public var dayAndSequence: UInt64

    public static let maximumSequence: UInt64 = (1 << 48) - 1
    public static let none = TransactionID(debtor: .none, instructing: .none, dayAndSequence: 0)

    @inlinable public init(debtor: ParticipantID, instructing: ParticipantID, dayAndSequence: UInt64) {
        self.debtor = debtor
        self.instructing = instructing
        self.dayAndSequence = dayAndSequence
    }

    /// - Precondition: `sequence` fits in 48 bits.
    @inlinable
    public init(debtor: ParticipantID, instructing: ParticipantID, day: BusinessDay, sequence: UInt64) {
        precondition(sequence <= Self.maximumSequence, "a sequence has 48 bits")
        self.init(
            debtor: debtor, instructing: instructing, dayAndSequence: UInt64(day.rawValue) | sequence << 16)
    }

    @inlinable public var day: BusinessDay { BusinessDay(rawValue: UInt16(truncatingIfNeeded: dayAndSequence)) }
    @inlinable public var sequence: UInt64 { dayAndSequence >> 16 }

    public var description: String { "\(debtor)-\(instructing)-\(day.compactText)-\(sequence)" }

    /// Reads the text form; `nil` where a part is missing, out of range or no date.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 4, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }),
            let debtor = UInt32(parts[0]), let instructing = UInt32(parts[1]),
            parts[2].count == 8, let date = Int(parts[2]),
            let day = BusinessDay(year: date / 10_000, month: date / 100 % 100, day: date % 100),
            let sequence = UInt64(parts[3]), sequence <= Self.maximumSequence
        else { return nil }
        self.init(
            debtor: ParticipantID(debtor), instructing: ParticipantID(instructing), day: day, sequence: sequence)
    }
}
