/// What an instruction asks for. Raw values stand on the wire and in the log and never change.
///
/// Kinds that are not built yet have no case: a record that names one is refused with `notSupported`.
public enum InstructionKind: UInt8, Sendable, CaseIterable {
    /// A payment that the debtor's standing agreement with the instructing participant allows.
    case agreementDebit = 1
    /// A single payment that the debtor confirmed at its bank's gateway.
    case gatewayPayment = 2
    /// A payment from an institution to an account: withdrawals, salaries.
    case payout = 3
    /// A QR payment, code shown by the merchant.
    case qrMerchantPresented = 4
    /// A QR payment, code shown by the payer.
    case qrConsumerPresented = 5
    /// "What became of this id? If nothing, make that final." Moves no money; all fields but the id are zero.
    case queryOrVoid = 32

    /// Whether an accepted instruction of this kind moves money.
    @inlinable public var isPayment: Bool { self != .queryOrVoid }
}

/// A set of instruction kinds, for mandates: bit `n` stands for the kind with raw value `n`.
public struct InstructionKinds: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ kind: InstructionKind) { self.init(rawValue: 1 << UInt64(kind.rawValue)) }
    /// Every payment kind that is built.
    public static let payments = InstructionKinds(
        InstructionKind.allCases.filter(\.isPayment).map { InstructionKinds($0) })
}

/// One instruction: the fixed record of 128 bytes, little endian, that stands on the wire, in the log and in memory.
///
/// Stored properties are in the order of DOMAIN's table and naturally aligned, so the memory layout *is* the format;
/// `InstructionLayoutTests` pins every offset. Money is in minor units of `currency` (ISO 4217 numeric).
public struct Instruction: Hashable, Sendable {
    /// Bytes of one record.
    public static let size = 128

    public var id: TransactionID
    public var relatedID: TransactionID
    public var amount: UInt64
    public var creditor: ParticipantID
    public var currency: UInt16
    public var kindCode: UInt8
    public var flags: UInt8
    /// Decide by this many milliseconds since midnight of the id's business day; 0 = no limit.
    public var acceptBy: UInt32
    public var purpose: UInt16
    /// In units of 100 ms.
    public var confirmationTimeout: UInt16
    public var debtorAccount: UInt64
    public var creditorAccount: UInt64
    public var merchant: UInt64
    public var reference: UInt64
    public var agreement: UInt64
    /// SHA-256 of the business message kept off the ledger, as four little-endian words.
    public var digest: (UInt64, UInt64, UInt64, UInt64)

    public init(
        id: TransactionID, kind: InstructionKind, amount: UInt64, currency: UInt16, creditor: ParticipantID
    ) {
        self.id = id
        relatedID = .none
        self.amount = amount
        self.creditor = creditor
        self.currency = currency
        kindCode = kind.rawValue
        flags = 0
        acceptBy = 0
        purpose = 0
        confirmationTimeout = 0
        debtorAccount = 0
        creditorAccount = 0
        merchant = 0
        reference = 0
        agreement = 0
        digest = (0, 0, 0, 0)
    }

    /// The record that asks what became of `id` and voids it if it was never seen.
    public static func queryOrVoid(_ id: TransactionID) -> Instruction {
        Instruction(id: id, kind: .queryOrVoid, amount: 0, currency: 0, creditor: .none)
    }

    /// `nil` for a kind that is not built.
    @inlinable public var kind: InstructionKind? { InstructionKind(rawValue: kindCode) }

    /// The record's bytes; valid inside `body` only.
    @inlinable
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeBytes(of: self, body)
    }

    public static func == (a: Instruction, b: Instruction) -> Bool {
        a.withBytes { a in b.withBytes { b in a.elementsEqual(b) } }
    }

    public func hash(into hasher: inout Hasher) { withBytes { hasher.combine(bytes: $0) } }
}

/// Why a record is refused before it reaches the log.
public enum RecordFault: UInt8, Error, Sendable {
    /// A kind, flag or field that this version does not build.
    case notSupported = 1
    /// An id with a zero debtor or instructing participant.
    case malformed = 2
}

extension Instruction {
    /// The checks that need no state: what a leader refuses before the log, and what apply refuses again if it meets
    /// it there.
    ///
    /// Business rules (amounts, dates, participants) are not here: only the log decides those.
    @inlinable
    public var fault: RecordFault? {
        guard let kind else { return .notSupported }
        // No flag and no confirmation is built yet.
        if flags != 0 || confirmationTimeout != 0 || relatedID != .none { return .notSupported }
        if id.debtor == .none || id.instructing == .none { return .malformed }
        if kind == .queryOrVoid, self != Instruction.queryOrVoid(id) { return .malformed }
        return nil
    }
}
