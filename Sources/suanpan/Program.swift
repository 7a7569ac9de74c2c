import ArgumentParser
import Glibc
import LocalCluster
import Node
import Workload

/// What the process exits with (DESIGN, "Commands").
enum ExitStatus {
    static let ok: Int32 = 0
    static let failed: Int32 = 1
    static let unknown: Int32 = 2
    static let void: Int32 = 3
    static let usage: Int32 = 64
    static let noCluster: Int32 = 69
    static let configuration: Int32 = 78
    static let interrupted: Int32 = 130
}

/// The command line as a whole: parses, runs, and turns every error into one message and one exit code.
enum Program {
    static func run() -> Int32 {
        do {
            var command = try Suanpan.parseAsRoot()
            try command.run()
            return ExitStatus.ok
        } catch {
            return report(error)
        }
    }

    private static func report(_ error: any Error) -> Int32 {
        switch error {
        case let code as ExitCode: return code.rawValue
        case let error as LaunchError: return say(error, error.exitCode)
        case let error as ConfigurationError: return say(error, ExitStatus.configuration)
        case let error as FlagError: return say(error, ExitStatus.usage)
        case let error as NodeFailure:
            return say(error, error.isConfiguration ? ExitStatus.configuration : ExitStatus.failed)
        case let error as LoadError: return say(error, ExitStatus.failed)
        case let error as ClientError: return say(error, ExitStatus.failed)
        case let error as DirectoryFile.Faults: return say(error, ExitStatus.failed)
        default: break
        }
        // Help, version and what the argument parser found wrong.
        let code = Suanpan.exitCode(for: error).rawValue
        let message = Suanpan.fullMessage(for: error)
        if code == 0 { Console.out(message) } else { Console.note(message) }
        return code
    }

    private static func say(_ error: any Error & CustomStringConvertible, _ code: Int32) -> Int32 {
        Console.note("suanpan: \(error)")
        return code
    }
}

/// Results go to standard output, everything else to standard error.
enum Console {
    static func out(_ text: String) { write(text, to: STDOUT_FILENO) }
    static func note(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Whether a person sees standard output.
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    private static func write(_ text: String, to descriptor: Int32) {
        var line = text.hasSuffix("\n") ? text : text + "\n"
        line.withUTF8 { bytes in
            var offset = 0
            while offset < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
                if count < 0 && errno != EINTR { return }
                offset += max(count, 0)
            }
        }
    }
}
