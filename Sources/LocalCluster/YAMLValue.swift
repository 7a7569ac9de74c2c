import Yams

/// One value of a YAML file that still knows where it stands, so that every complaint names line and column.
///
/// Text, numbers and lists only: anchors, aliases, tags and merges have no place in the files that it reads.
struct YAMLValue {
    let file: String
    let node: Node

    /// Reads a whole document.
    static func parse(_ text: String, file: String) throws(ConfigurationError) -> YAMLValue {
        let remedy = "mend the YAML there"
        do {
            guard let node = try Yams.compose(yaml: text) else {
                throw ConfigurationError(file: file, problem: "the file is empty", remedy: "see cluster/local-3.yaml")
            }
            return YAMLValue(file: file, node: node)
        } catch let error as ConfigurationError {
            throw error
        } catch YamlError.scanner(_, let problem, let mark, _), YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _)
        {
            throw ConfigurationError(
                file: file, line: mark.line, column: mark.column, problem: problem, remedy: remedy)
        } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
            throw ConfigurationError(
                file: file, line: context.mark.line, column: context.mark.column,
                problem: "key '\(keys.sorted()[0])' stands here and again below", remedy: "keep one of the two")
        } catch {
            throw ConfigurationError(file: file, problem: "not YAML: \(error)", remedy: remedy)
        }
    }

    /// A complaint about this value.
    func error(_ problem: String, _ remedy: String) -> ConfigurationError {
        ConfigurationError(
            file: file, line: node.mark?.line, column: node.mark?.column, problem: problem, remedy: remedy)
    }

    /// The value as a block of known keys; a key that is not in `known` is an error at the key.
    func block(_ what: String, keys known: [String]) throws(ConfigurationError) -> YAMLBlock {
        guard case .mapping(let mapping) = node else {
            throw error("\(what) should be a block of keys", "write it as 'key: value' lines")
        }
        var values: [String: YAMLValue] = [:]
        for (key, value) in mapping {
            let name = key.scalar?.string ?? ""
            guard known.contains(name) else {
                let near = known.first { Self.isNear($0, name) }
                throw YAMLValue(file: file, node: key).error(
                    "unknown key '\(name)' in \(what)",
                    near.map { "did you mean '\($0)'?" } ?? "known keys: \(known.joined(separator: ", "))")
            }
            values[name] = YAMLValue(file: file, node: value)
        }
        return YAMLBlock(what: what, whole: self, values: values)
    }

    func list(_ what: String) throws(ConfigurationError) -> [YAMLValue] {
        guard case .sequence(let sequence) = node else {
            throw error("\(what) should be a list", "write one '- …' line for each, or [a, b]")
        }
        return sequence.map { YAMLValue(file: file, node: $0) }
    }

    func text(_ what: String) throws(ConfigurationError) -> String {
        guard case .scalar(let scalar) = node, !scalar.string.isEmpty else {
            throw error("\(what) should be a text", "write it behind the colon")
        }
        return scalar.string
    }

    func number<T: FixedWidthInteger>(_ what: String, in range: ClosedRange<T>) throws(ConfigurationError) -> T {
        guard case .scalar(let scalar) = node, let value = T(scalar.string), range.contains(value) else {
            let found = node.scalar.map { "'\($0.string)'" } ?? "something else"
            throw error("\(what) is \(found)", "give a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func flag(_ what: String) throws(ConfigurationError) -> Bool {
        switch node.scalar?.string {
        case "true": return true
        case "false": return false
        default: throw error("\(what) is neither true nor false", "write true or false")
        }
    }

    /// Whether two keys differ by case, or by one letter changed, missing or too many.
    private static func isNear(_ a: String, _ b: String) -> Bool {
        let a = Array(a.lowercased().utf8)
        let b = Array(b.lowercased().utf8)
        guard abs(a.count - b.count) <= 1 else { return false }
        let head = zip(a, b).prefix { $0 == $1 }.count
        let tail = zip(a.dropFirst(head).reversed(), b.dropFirst(head).reversed()).prefix { $0 == $1 }.count
        return max(a.count, b.count) - head - tail <= 1
    }
}

/// A block of a YAML file whose keys are known to be allowed.
struct YAMLBlock {
    let what: String
    let whole: YAMLValue
    let values: [String: YAMLValue]

    subscript(key: String) -> YAMLValue? { values[key] }

    func required(_ key: String) throws(ConfigurationError) -> YAMLValue {
        guard let value = values[key] else {
            throw whole.error("\(what) has no '\(key)'", "add a line '\(key): …'")
        }
        return value
    }
}
