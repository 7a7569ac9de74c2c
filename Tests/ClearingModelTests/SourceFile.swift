import Foundation

extension String {
    func matches(_ pattern: String) -> Bool { range(of: pattern, options: .regularExpression) != nil }
    var trimmed: String { trimmingCharacters(in: .whitespaces) }

    /// The first capture group of every match.
    func captures(_ pattern: String) -> [String] {
        guard let expression = try? NSRegularExpression(pattern: pattern) else { return [] }
        let all = NSRange(startIndex..., in: self)
        return expression.matches(in: self, range: all).compactMap { match in
            Range(match.range(at: 1), in: self).map { String(self[$0]) }
        }
    }
}

/// One Swift source as lines of code: comments and the contents of string literals are blanked out.
struct SourceFile {
    let path: String
    let lines: [(number: Int, text: String)]

    init(path: String, text: String) {
        self.path = path
        var inBlockText = false
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { index, line in
            var code = String(line)
            let quotes = code.components(separatedBy: "\"\"\"").count - 1
            defer { if quotes % 2 == 1 { inBlockText.toggle() } }
            if inBlockText { return (index + 1, "") }
            code = code.replacingOccurrences(of: #""(\\.|[^"\\])*""#, with: "\"\"", options: .regularExpression)
            if let comment = code.range(of: "//") { code.removeSubrange(comment.lowerBound...) }
            return (index + 1, code)
        }
    }

    struct NoSources: Error { var folder: String }

    /// Every Swift file of a target, in order of name.
    static func all(of target: String) throws -> [SourceFile] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources/\(target)")
        let names = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
        let sources = names.filter { $0.hasSuffix(".swift") }.sorted()
        guard !sources.isEmpty else { throw NoSources(folder: root.path) }
        return try sources.map { name in
            SourceFile(
                path: "Sources/\(target)/\(name)",
                text: try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8))
        }
    }

    /// Modules imported, with the line of each.
    var imports: [(number: Int, module: String)] {
        let statement =
            #"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:(?:public|package|internal|private)\s+)?import\s+"#
            + #"(?:(?:struct|class|enum|func|protocol|typealias|var|let)\s+)?(\w+)"#
        return lines.flatMap { line in line.text.captures(statement).map { (line.number, $0) } }
    }
}

// MARK: - Unordered collections

extension SourceFile {
    /// A name followed by a type or a value that is a Set or a Dictionary.
    private static let declaration =
        #"\b(\w+)\s*:\s*(?:inout\s+)?(?:Set<|Dictionary<|\[[^\[\]:(]+:(?:[^\[\]]|\[[^\]]*\])+\])"#
    private static let inferred =
        #"\b(?:var|let)\s+(\w+)\s*=\s*(?:Set[<(]|Dictionary[<(]|\[:\]|\[[^\[\]:(]+:[^\[\]]+\]\(\))"#
    private static let typeHeader = #"\b(?:struct|class|enum|extension|protocol)\s+(\w+)"#
    private static let orderedUse =
        "map|flatMap|compactMap|forEach|first|reduce|makeIterator|enumerated|lazy|keys|values|popFirst"

    /// What makes the order of a walk not matter.
    private static let orderedAfterAll = #"\.sorted\b|\.min\b|\.max\b|\.count\b"#

    private struct Block {
        var type: String?
        var unordered: Set<String> = []
        /// Names that this block declares anew with an ordered type, hiding an outer one.
        var ordered: Set<String> = []
    }

    /// Adds this file's stored properties of unordered type to `members`, by the type that holds them.
    func collectUnorderedMembers(into members: inout [String: Set<String>]) {
        walk { _, line, blocks in
            guard let type = blocks.last?.type else { return }
            for name in Self.unorderedNames(in: line) where line.matches(#"\b(var|let)\s+\#(name)\b"#) {
                members[type, default: []].insert(name)
            }
        }
    }

    /// A Set or a Dictionary that is made and walked in one expression; arguments may hold parentheses, two deep.
    private static let inlineIteration =
        #"\bfor\b.*\bin\s+\#(made)\s*(\{|where\b)|\#(made)\.(\#(orderedUse))\b"#
    private static let made =
        #"\b(?:Set|Dictionary)(?:<[^>]*>)?\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)(?:\.(?:keys|values))?"#

    /// Places where an unordered collection is walked without its result being sorted at once.
    func unorderedIterations(members: [String: Set<String>]) -> [String] {
        var findings: [String] = []
        walk { number, line, blocks in
            if line.matches(Self.inlineIteration), !line.matches(Self.orderedAfterAll) {
                findings.append("\(path):\(number): \(line.trimmed)")
            }
            for name in Set(line.captures(#"(\w+)"#)) {
                guard Self.isUnordered(name, in: blocks, members: members) else { continue }
                let loop = #"\bfor\b.*\bin\s+(self\.)?\#(name)(\.(keys|values))?\s*(\{|where\b)"#
                let call = #"(?<![\w.])(self\.)?\#(name)\.(\#(Self.orderedUse))\b"#
                if line.matches(loop) || line.matches(call), !line.matches(Self.orderedAfterAll) {
                    findings.append("\(path):\(number): \(line.trimmed)")
                }
            }
        }
        return findings
    }

    private static func unorderedNames(in line: String) -> [String] {
        line.captures(declaration) + line.captures(inferred)
    }

    private static func isUnordered(_ name: String, in blocks: [Block], members: [String: Set<String>]) -> Bool {
        for block in blocks.reversed() {
            if block.unordered.contains(name) { return true }
            if block.ordered.contains(name) { return false }
            if let type = block.type { return members[type]?.contains(name) ?? false }
        }
        return false
    }

    /// Visits every line with the blocks around it, innermost last; a line's own declarations are already in them.
    private func walk(_ visit: (Int, String, [Block]) -> Void) {
        var blocks = [Block()]
        var pending = Block()
        for (number, line) in lines {
            let header = line.captures(Self.typeHeader).first
            let unordered = Set(Self.unorderedNames(in: line))
            let declared =
                line.captures(#"\b(\w+)\s*:\s*(?:inout\s+)?[\w\[]"#) + line.captures(#"\b(?:var|let)\s+(\w+)\b"#)
            let ordered = Set(declared).subtracting(unordered)
            let isSignature = line.matches(#"\b(func|init|subscript)\b"#)
            if let header { pending.type = header }
            if isSignature || (!line.contains("{") && !pending.unordered.isEmpty) {
                // Parameters belong to the block that the signature opens.
                pending.unordered.formUnion(unordered)
                pending.ordered.formUnion(ordered)
            } else {
                blocks[blocks.count - 1].unordered.formUnion(unordered)
                blocks[blocks.count - 1].ordered.formUnion(ordered)
                blocks[blocks.count - 1].ordered.subtract(unordered)
            }
            var visible = blocks
            if isSignature { visible.append(pending) }
            visit(number, line, visible)
            for character in line {
                if character == "{" {
                    blocks.append(pending)
                    pending = Block()
                } else if character == "}", blocks.count > 1 {
                    blocks.removeLast()
                }
            }
        }
    }
}
