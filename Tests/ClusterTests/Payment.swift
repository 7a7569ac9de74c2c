import ClearingModel
import Foundation

/// A payment as `submit` takes it.
struct Payment {
    var id: TransactionID
    var creditor = 1
    var amount = 5_200

    /// Of the current business day of a generated cluster, whose calendar is eight hours ahead of UTC.
    init(debtor: UInt32 = 17, instructing: UInt32 = 1, sequence: UInt64, creditor: Int = 1, amount: Int = 5_200) {
        let now = WallTime(rawValue: UInt64(Date().timeIntervalSince1970 * 1e6))
        id = TransactionID(
            debtor: ParticipantID(debtor), instructing: ParticipantID(instructing),
            day: BusinessDay(at: now, offsetMinutes: 480), sequence: sequence)
        self.creditor = creditor
        self.amount = amount
    }

    var arguments: [String] { ["--id", "\(id)", "--creditor", "\(creditor)", "--amount", "\(amount)"] }

    func altered(amount: Int) -> Payment {
        var copy = self
        copy.amount = amount
        return copy
    }

    /// The first 16 bytes of its record, on the wire and in the log.
    var idBytes: [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
        return bytes(id.debtor.rawValue) + bytes(id.instructing.rawValue) + bytes(id.dayAndSequence)
    }
}

extension LocalCluster {
    /// Submits a payment; the answer as JSON is `json`.
    func submit(_ payment: Payment) throws -> Outcome { try run(["submit", "--json"] + payment.arguments) }

    /// Posted debits and credits of a participant, all windows.
    func position(of participant: Int) throws -> (debits: Int, credits: Int) {
        let windows = try mustRun(["position", "\(participant)", "--json"]).json["windows"] as? [[String: Any]] ?? []
        func sum(_ name: String) -> Int { windows.reduce(0) { $0 + ($1[name] as? Int ?? 0) } }
        return (sum("debits"), sum("credits"))
    }
}
