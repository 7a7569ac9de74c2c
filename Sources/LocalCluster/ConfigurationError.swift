/// What is wrong with a configuration file, where, and what to do about it. Commands exit with 78 on it.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    public var file: String
    /// Line and column from 1; `nil` where the fault is the file as a whole.
    public var line: Int?
    public var column: Int?
    public var problem: String
    public var remedy: String

    public init(file: String, line: Int? = nil, column: Int? = nil, problem: String, remedy: String) {
        self.file = file
        self.line = line
        self.column = column
        self.problem = problem
        self.remedy = remedy
    }

    /// `FILE:LINE:COLUMN: problem; remedy`, as editors and terminals link it.
    public var description: String {
        let place = [file, line.map(String.init), column.map(String.init)].compactMap { $0 }.joined(separator: ":")
        return "\(place): \(problem); \(remedy)"
    }
}
