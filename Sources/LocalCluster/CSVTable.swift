/// Comma-separated text (RFC 4180: quotes, doubled quotes, CRLF) whose fields know where they stand.
public struct CSVTable: Sendable {
    /// What is wrong with one field or line.
    public struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        /// Both from 1; the column counts characters of the line.
        public var line: Int
        public var column: Int
        /// Name of the field's column in the header, if it has one.
        public var field: String?
        public var reason: String

        public init(line: Int, column: Int, field: String? = nil, reason: String) {
            self.line = line
            self.column = column
            self.field = field
            self.reason = reason
        }

        public var description: String {
            "line \(line), column \(column)" + (field.map { " (\($0))" } ?? "") + ": \(reason)"
        }
    }

    public struct Field: Hashable, Sendable {
        public var text: String
        public var line: Int
        public var column: Int
    }

    public var header: [Field]
    /// As many fields in each as in the header.
    public var rows: [[Field]]

    /// Splits a text. Lines that are empty or start with `#` are skipped; lines of another width than the header are in `faults`.
    public init(_ text: String, faults: inout [Fault]) {
        header = []
        rows = []
        // CRLF is one Character, and so is LF.
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        for (index, line) in lines.enumerated() { add(String(line), number: index + 1, &faults) }
    }

    private mutating func add(_ line: String, number: Int, _ faults: inout [Fault]) {
        guard !line.isEmpty, !line.hasPrefix("#") else { return }
        do throws(Fault) {
            let fields = try Self.split(line, number: number)
            if header.isEmpty {
                header = fields
            } else if fields.count != header.count {
                let last = fields[min(fields.count, header.count) - 1]
                throw Fault(
                    line: number, column: last.column,
                    reason: "\(fields.count) fields where the header has \(header.count)")
            } else {
                rows.append(fields)
            }
        } catch {
            faults.append(error)
        }
    }

    private static func split(_ line: String, number: Int) throws(Fault) -> [Field] {
        var fields: [Field] = []
        let characters = Array(line)
        var position = 0
        while true {
            let start = position
            var text = ""
            if position < characters.count, characters[position] == "\"" {
                position += 1
                while true {
                    guard position < characters.count else {
                        throw Fault(line: number, column: start + 1, reason: "this quote is never closed")
                    }
                    if characters[position] == "\"" {
                        guard position + 1 < characters.count, characters[position + 1] == "\"" else { break }
                        position += 1
                    }
                    text.append(characters[position])
                    position += 1
                }
                position += 1
                guard position == characters.count || characters[position] == "," else {
                    throw Fault(line: number, column: position + 1, reason: "a comma is missing behind the quote")
                }
            } else {
                while position < characters.count, characters[position] != "," {
                    text.append(characters[position])
                    position += 1
                }
                text = text.trimmed
            }
            fields.append(Field(text: text, line: number, column: start + 1))
            guard position < characters.count else { return fields }
            position += 1
        }
    }
}

extension String {
    var trimmed: String {
        let head = drop { $0 == " " || $0 == "\t" }
        return String(head.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
