import ClearingModel
import Wire

/// One row of a participants file and the meaning of its fields.
struct RowReader {
    let names: [String]
    let fields: [CSVTable.Field]

    private func field(_ name: String) -> CSVTable.Field? {
        names.firstIndex(of: name).map { fields[$0] }.flatMap { $0.text.isEmpty ? nil : $0 }
    }

    private func fault(_ name: String, _ reason: String) -> CSVTable.Fault {
        let place = names.firstIndex(of: name).map { fields[$0] } ?? fields[0]
        return CSVTable.Fault(line: place.line, column: place.column, field: name, reason: reason)
    }

    private func required(_ name: String) throws(CSVTable.Fault) -> String {
        guard let field = field(name) else { throw fault(name, "the field is empty") }
        return field.text
    }

    private func number(_ name: String, atLeast: UInt64, atMost: UInt64) throws(CSVTable.Fault) -> UInt64 {
        let text = try required(name)
        guard let value = UInt64(text) else {
            throw fault(name, "'\(text)' is no whole number" + (text.contains(".") ? "; money is in minor units" : ""))
        }
        guard (atLeast...atMost).contains(value) else {
            throw fault(name, "\(value) is not within \(atLeast) to \(atMost)")
        }
        return value
    }

    private func optional(_ name: String, atMost: UInt64) throws(CSVTable.Fault) -> UInt64 {
        field(name) == nil ? 0 : try number(name, atLeast: 0, atMost: atMost)
    }

    private func name<E: CaseIterable>(_ column: String, of _: E.Type) throws(CSVTable.Fault) -> E {
        let text = try required(column)
        guard let value = E.allCases.first(where: { "\($0)" == text }) else {
            let known = E.allCases.map { "\($0)" }.joined(separator: ", ")
            throw fault(column, "'\(text)' is none of \(known)")
        }
        return value
    }

    func participant() throws(CSVTable.Fault) -> Participant {
        let id = ParticipantID(UInt32(try number("id", atLeast: 1, atMost: UInt64(UInt32.max))))
        let participant = Participant(
            id: id, kind: try name("kind", of: ParticipantKind.self),
            status: field("status") == nil ? .active : try name("status", of: ParticipantStatus.self),
            currency: UInt16(try number("currency", atLeast: 1, atMost: 999)),
            limit: try number("limit", atLeast: 0, atMost: Limits.maximumParticipantLimit),
            funding: try optional("funding", atMost: Limits.maximumParticipantLimit),
            sponsor: ParticipantID(UInt32(try optional("sponsor", atMost: UInt64(UInt32.max)))))
        if participant.kind == .indirect, participant.sponsor == .none {
            throw fault("sponsor", "an indirect participant needs a sponsor")
        }
        if participant.kind != .indirect, participant.sponsor != .none {
            throw fault("sponsor", "only an indirect participant has a sponsor")
        }
        if participant.sponsor == id { throw fault("sponsor", "a participant cannot sponsor itself") }
        return participant
    }

    func mandate() throws(CSVTable.Fault) -> Mandate {
        let instructing = ParticipantID(UInt32(try number("instructing", atLeast: 1, atMost: UInt64(UInt32.max))))
        let text = try required("debtors")
        let debtors: Mandate.Debtors
        if let id = UInt32(text), id > 0 {
            debtors = .one(ParticipantID(id))
        } else if text.hasPrefix("every "),
            let kind = ParticipantKind.allCases.first(where: { "\($0)" == String(text.dropFirst(6)) })
        {
            debtors = .every(kind)
        } else {
            throw fault("debtors", "'\(text)' is neither a participant nor 'every KIND' (as in 'every bank')")
        }
        var revoked = false
        if let field = field("revoked") {
            guard ["true", "false"].contains(field.text) else {
                throw fault("revoked", "'\(field.text)' is neither true nor false")
            }
            revoked = field.text == "true"
        }
        return Mandate(
            instructing: instructing, debtors: debtors, kinds: try kinds(),
            maximumAmount: try number("maximumAmount", atLeast: 1, atMost: Limits.maximumAmount),
            dailyCap: try optional("dailyCap", atMost: Limits.maximumParticipantLimit), revoked: revoked)
    }

    private func kinds() throws(CSVTable.Fault) -> InstructionKinds {
        let text = try required("kinds")
        if text == "payments" { return .payments }
        var kinds: InstructionKinds = []
        for word in text.split(separator: "+") {
            guard let kind = InstructionKind.allCases.first(where: { "\($0)" == word && $0.isPayment }) else {
                let known = InstructionKind.allCases.filter(\.isPayment).map { "\($0)" }.joined(separator: ", ")
                throw fault("kinds", "'\(word)' is none of payments, \(known)")
            }
            kinds.insert(InstructionKinds(kind))
        }
        return kinds
    }

    static func text(_ debtors: Mandate.Debtors) -> String {
        switch debtors {
        case .one(let id): id.description
        case .every(let kind): "every \(kind)"
        }
    }
}

extension DirectoryFile {
    /// Participants as CSV that can be imported again.
    public static func csv(_ participants: [Participant]) -> String {
        participants.reduce(into: participantColumns.joined(separator: ",") + "\n") { text, one in
            let sponsor = one.sponsor == .none ? "" : one.sponsor.description
            text += "\(one.id),\(one.kind),\(one.status),\(one.currency),\(one.limit),\(one.funding),\(sponsor)\n"
        }
    }

    /// Mandates as CSV that can be imported again.
    public static func csv(_ mandates: [Mandate]) -> String {
        mandates.reduce(into: mandateColumns.joined(separator: ",") + "\n") { text, one in
            let names = InstructionKind.allCases.filter { one.kinds.contains(InstructionKinds($0)) }.map { "\($0)" }
            let kinds = one.kinds == .payments ? "payments" : names.joined(separator: "+")
            text += "\(one.instructing),\(RowReader.text(one.debtors)),\(kinds),\(one.maximumAmount)"
            text += ",\(one.dailyCap),\(one.revoked)\n"
        }
    }
}
