/// JSON by hand: fields in a given order, and numbers that stay numbers.
public enum JSONText {
    public static func object(_ fields: [(name: String, value: String)]) -> String {
        "{\(fields.map { "\(string($0.name)): \($0.value)" }.joined(separator: ", "))}"
    }

    public static func array(_ values: [String]) -> String { "[\(values.joined(separator: ", "))]" }

    /// A number with six decimals at most; `null` for what is none.
    public static func number(_ value: Double?) -> String {
        guard let value, value.isFinite else { return "null" }
        let rounded = (value * 1e6).rounded() / 1e6
        return rounded == rounded.rounded() && abs(rounded) < 1e15 ? "\(Int(rounded))" : "\(rounded)"
    }

    public static func string(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            default:
                if scalar.value < 0x20 {
                    let hex = String(scalar.value, radix: 16)
                    quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }
}
