import ClearingModel

extension AuditReport {
    /// One line of JSON: first the keys that scripts rely on, then what explains them.
    public var json: String {
        func list(_ texts: [String]) -> String { "[" + texts.map(Self.quoted).joined(separator: ", ") + "]" }
        let fields: [(String, String)] = [
            ("verdict", Self.quoted(verdict.rawValue)), ("payments", "\(payments)"),
            ("acknowledged", "\(acknowledged)"),
            ("missing", "\(missing)"), ("doubled", "\(doubled)"), ("imbalance", "\(imbalance)"),
            ("problems", list(problems)), ("problemCount", "\(problemCount)"), ("unchecked", list(unchecked)),
            ("uncheckedCount", "\(uncheckedCount)"), ("notes", list(notes)), ("noteCount", "\(noteCount)"),
            ("records", "\(records)"), ("repeated", "\(repeated)"), ("refused", "\(refused)"),
            ("unknownAccepted", "\(unknownAccepted)"), ("unknownRejected", "\(unknownRejected)"),
            ("unknownNeverDecided", "\(unknownNeverDecided)"), ("checkpointsCompared", "\(checkpointsCompared)"),
        ]
        return "{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// A table of shards, the sums, and everything that was found, for people.
    public var table: String {
        var lines = Self.columns(
            [["shard", "replicas", "committed", "records", "accepted", ""]]
                + shards.map {
                    [
                        $0.shard.description, "\($0.replicas)", $0.committed.description, "\($0.records)",
                        "\($0.accepted)",
                        $0.isComplete ? "" : "not replayed to its end",
                    ]
                })
        lines.append("")
        lines += Self.columns(
            [["window", "currency", "debits", "credits", "in flight"]]
                + balances.map {
                    ["\($0.window)", "\($0.currency)", "\($0.debits)", "\($0.credits)", "\($0.inFlight)"]
                })
        lines.append("")
        var sums = [
            ["verdict", verdict.rawValue], ["payments", "\(payments)"], ["records", "\(records)"],
            ["repeated ids", "\(repeated)"], ["imbalance", "\(imbalance)"],
            ["checkpoints compared", "\(checkpointsCompared)"], ["nodes read", "\(nodesRead)"],
        ]
        if acknowledged + refused + unknownAccepted + unknownRejected + unknownNeverDecided > 0 {
            sums += [
                ["acknowledged", "\(acknowledged)"], ["missing", "\(missing)"], ["doubled", "\(doubled)"],
                ["refused", "\(refused)"], ["unknown, accepted", "\(unknownAccepted)"],
                ["unknown, not accepted", "\(unknownRejected)"], ["unknown, never decided", "\(unknownNeverDecided)"],
            ]
        }
        lines += Self.columns(sums)
        for (title, texts, count) in [
            ("problems", problems, problemCount), ("could not be checked", unchecked, uncheckedCount),
            ("notes", notes, noteCount),
        ] where count > 0 {
            lines += ["", "\(title): \(count)"] + texts.map { "  \($0)" }
            if count > texts.count { lines.append("  … and \(count - texts.count) more") }
        }
        return lines.joined(separator: "\n")
    }

    /// Rows in columns: the first to the left, the others to the right.
    private static func columns(_ rows: [[String]]) -> [String] {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { at in rows.map { at < $0.count ? $0[at].count : 0 }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (at, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[at] - cell.count)
                line += at == 0 ? cell + padding : "  " + padding + cell
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
