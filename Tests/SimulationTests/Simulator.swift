import Foundation
import Testing

/// The test build's own `suanpan`, in processes of their own: a world may end in a trap.
struct Simulator {
    struct Failure: Error, CustomStringConvertible { var description: String }

    struct Result {
        var status: Int32
        var text: String

        /// What `sim` prints last for one seed.
        var hash: String? { lines.last { $0.hasPrefix("hash ") }.map { String($0.dropFirst(5)) } }
        var lastLine: String? { lines.last.map(String.init) }
        /// Seed and invariant of the first violation that a sweep reports.
        var violation: (seed: UInt64, invariant: String)? {
            guard let line = lines.first(where: { $0.hasPrefix("VIOLATION seed ") }) else { return nil }
            let words = line.split { $0 == " " || $0 == ":" }
            guard words.count > 3, let seed = UInt64(words[2]) else { return nil }
            return (seed, String(words[3]))
        }

        private var lines: [Substring] { text.split(separator: "\n") }
    }

    private let program: URL

    init() throws {
        // It stands beside the tests, which are built with it.
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        program = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("suanpan")
        guard FileManager.default.isExecutableFile(atPath: program.path) else {
            throw Failure(description: "there is no \(program.path): build with scripts/test.sh")
        }
    }

    /// Runs `suanpan sim` to its end, standard output and standard error together.
    func run(_ arguments: [String]) throws -> Result {
        let process = Process()
        process.executableURL = program
        process.arguments = ["sim"] + arguments
        // What a trap says of itself takes seconds, and is not looked at here.
        process.environment = ["SWIFT_BACKTRACE": "enable=no"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Result(status: process.terminationStatus, text: text)
    }
}
