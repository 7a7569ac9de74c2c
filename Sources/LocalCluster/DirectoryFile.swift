import ClearingModel
import Wire

/// Participants and mandates as CSV: what `participants import` reads and `participants list --csv` writes.
///
/// Two headers are known, with their columns in any order:
///
/// ```
/// id,kind,status,currency,limit,funding,sponsor
/// instructing,debtors,kinds,maximumAmount,dailyCap,revoked
/// ```
/// Money is in minor units. `status`, `funding`, `sponsor`, `dailyCap` and `revoked` may be left out. `debtors` is a
/// participant or `every bank`; `kinds` is `payments` or names joined by `+`.
public struct DirectoryFile: Sendable {
    public var changes: [DirectoryChange]
    /// Line of each change in the file.
    public var lines: [Int]

    static let participantColumns = ["id", "kind", "status", "currency", "limit", "funding", "sponsor"]
    static let mandateColumns = ["instructing", "debtors", "kinds", "maximumAmount", "dailyCap", "revoked"]

    /// Everything that is wrong with a file; nothing of it is imported then.
    public struct Faults: Error, Sendable, CustomStringConvertible {
        public var file: String
        public var faults: [CSVTable.Fault]

        public init(file: String, faults: [CSVTable.Fault]) {
            self.file = file
            self.faults = faults
        }

        public var description: String {
            let shown = faults.prefix(20).map { "\(file): \($0)" }
            let rest = faults.count > shown.count ? ["… and \(faults.count - shown.count) more"] : []
            return (shown + rest + ["nothing was imported: mend these lines and import the file again"])
                .joined(separator: "\n")
        }
    }

    /// Reads the file at `path`.
    public init(path: String) throws {
        try self.init(text: try TopologyFile.readText(path, what: "participants file"), file: path)
    }

    /// Reads a text; `file` is what complaints call it.
    public init(text: String, file: String) throws(Faults) {
        changes = []
        lines = []
        var faults: [CSVTable.Fault] = []
        let table = CSVTable(text, faults: &faults)
        let names = table.header.map(\.text)
        let isMandates = names.contains("instructing")
        Self.checkHeader(table.header, isMandates: isMandates, &faults)
        guard faults.isEmpty || !table.rows.isEmpty, !table.header.isEmpty else {
            throw Faults(file: file, faults: faults)
        }
        guard
            Set(
                isMandates
                    ? ["instructing", "debtors", "kinds", "maximumAmount"] : ["id", "kind", "currency", "limit"]
            )
            .isSubset(of: names)
        else { throw Faults(file: file, faults: faults) }
        var seen: [String: Int] = [:]
        for row in table.rows {
            let reader = RowReader(names: names, fields: row)
            do {
                let change: DirectoryChange =
                    isMandates ? .mandate(try reader.mandate()) : .participant(try reader.participant())
                let key = Self.key(change)
                if let earlier = seen[key] {
                    throw CSVTable.Fault(
                        line: row[0].line, column: row[0].column, field: names[0],
                        reason: "\(key) stands in line \(earlier) already")
                }
                seen[key] = row[0].line
                changes.append(change)
                lines.append(row[0].line)
            } catch let fault as CSVTable.Fault {
                faults.append(fault)
            } catch {
                preconditionFailure("a row throws nothing else")
            }
        }
        if table.rows.isEmpty && faults.isEmpty {
            faults.append(CSVTable.Fault(line: table.header[0].line, column: 1, reason: "no line follows the header"))
        }
        guard faults.isEmpty else { throw Faults(file: file, faults: faults.sorted { $0.line < $1.line }) }
    }

    private static func checkHeader(_ header: [CSVTable.Field], isMandates: Bool, _ faults: inout [CSVTable.Fault]) {
        let known = isMandates ? mandateColumns : participantColumns
        let required =
            isMandates ? ["instructing", "debtors", "kinds", "maximumAmount"] : ["id", "kind", "currency", "limit"]
        for (index, field) in header.enumerated() {
            if !known.contains(field.text) {
                faults.append(
                    CSVTable.Fault(
                        line: field.line, column: field.column,
                        reason: "unknown column '\(field.text)'; columns are \(known.joined(separator: ","))"))
            } else if header[..<index].contains(where: { $0.text == field.text }) {
                faults.append(
                    CSVTable.Fault(
                        line: field.line, column: field.column, reason: "column '\(field.text)' stands twice"))
            }
        }
        for name in required where !header.contains(where: { $0.text == name }) {
            faults.append(
                CSVTable.Fault(
                    line: header.first?.line ?? 1, column: 1,
                    reason: "column '\(name)' is missing; the first line names the columns"))
        }
    }

    /// What a change is about, for people and to find doubles.
    static func key(_ change: DirectoryChange) -> String {
        switch change {
        case .participant(let participant): "participant \(participant.id)"
        case .mandate(let mandate): "mandate of \(mandate.instructing) over \(RowReader.text(mandate.debtors))"
        }
    }

    /// Checks the file against the directory as it is, so that a fault is found before anything is sent.
    ///
    /// - Parameter existing: every participant of the directory.
    public func faults(existing: [Participant], mandates: Int) -> [CSVTable.Fault] {
        var known: [ParticipantID: Participant] = [:]
        for participant in existing { known[participant.id] = participant }
        var faults: [CSVTable.Fault] = []
        for (change, line) in zip(changes, lines) {
            func fault(_ field: String, _ fault: DirectoryFault) {
                faults.append(CSVTable.Fault(line: line, column: 1, field: field, reason: fault.message))
            }
            switch change {
            case .participant(let new):
                if new.sponsor != .none, known[new.sponsor] == nil { fault("sponsor", .unknownSponsor) }
                if let old = known[new.id], old.kind != new.kind || old.currency != new.currency {
                    fault("id", .immutableField)
                }
                // In the order of the file, as the directory takes it: a sponsor stands before those it sponsors.
                known[new.id] = new
            case .mandate(let mandate):
                if known[mandate.instructing] == nil { fault("instructing", .unknownInstructing) }
                if case .one(let debtor) = mandate.debtors, known[debtor] == nil { fault("debtors", .unknownDebtor) }
            }
        }
        if known.count > Limits.maximumParticipants {
            faults.append(CSVTable.Fault(line: 1, column: 1, reason: DirectoryFault.tooManyParticipants.message))
        }
        let added = changes.filter { if case .mandate = $0 { true } else { false } }.count
        if mandates + added > Limits.maximumMandates {
            faults.append(CSVTable.Fault(line: 1, column: 1, reason: DirectoryFault.tooManyMandates.message))
        }
        return faults
    }
}
