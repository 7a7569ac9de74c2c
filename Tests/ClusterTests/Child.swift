import Foundation

/// How a command ended and what it said.
struct Outcome {
    var command: String
    /// The exit code; 128 and the signal's number where a signal ended it, as a shell has it.
    var code: Int32
    var out: String
    var error: String

    /// Standard output as one JSON object; empty where it is none.
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(out.utf8))) as? [String: Any] ?? [:]
    }
}

extension Outcome: CustomStringConvertible {
    var description: String { "'\(command)' ended with \(code)\n\(out)\(error)" }
}

/// A process that a test started, with its output in files. It is signalled and reaped by its number, which is its own until then.
final class Child {
    let pid: pid_t
    private let command: String
    private let files: String
    private var ended: Int32?

    /// - Parameters:
    ///   - files: directory for its output.
    ///   - input: descriptor that becomes its standard input; without one it reads from nowhere.
    init(_ command: [String], files: String, input: Int32? = nil) throws {
        self.command = command.map { $0.split(separator: "/").last.map(String.init) ?? $0 }.joined(separator: " ")
        self.files = "\(files)/\(UUID().uuidString)"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        for (descriptor, suffix) in [(Int32(1), ".out"), (2, ".err")] {
            posix_spawn_file_actions_addopen(&actions, descriptor, self.files + suffix, O_WRONLY | O_CREAT, 0o600)
        }
        // The threads that tests run on have signals blocked, and a runner in the background ignores some: not its children.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))
        let arguments = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, command[0], &actions, &attributes, arguments, environ)
        guard code == 0 else { throw Failure("cannot start \(command[0]): \(String(cString: strerror(code)))") }
        self.pid = pid
    }

    deinit { end() }

    var out: String { read(".out") }
    var error: String { read(".err") }

    private func read(_ suffix: String) -> String {
        String(decoding: FileManager.default.contents(atPath: files + suffix) ?? Data(), as: UTF8.self)
    }

    var isRunning: Bool {
        guard ended == nil else { return false }
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return true }
        ended = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        return false
    }

    func signal(_ number: Int32) {
        if isRunning { kill(pid, number) }
    }

    /// Waits for the end; a process that takes longer is killed, and that is an error.
    func wait(seconds: Double = 60) throws -> Outcome {
        do {
            try eventually("the end of '\(command)'", seconds: seconds) { !isRunning }
        } catch {
            end()
            throw Failure("\(error); it was killed\n\(out)\(self.error)")
        }
        return Outcome(command: command, code: ended!, out: out, error: error)
    }

    /// Ends it in any case.
    func end() {
        signal(SIGKILL)
        var status: Int32 = 0
        if ended == nil, waitpid(pid, &status, 0) == pid { ended = 128 + SIGKILL }
    }
}

struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Looks until the condition is met; an error that names it where that takes too long.
func eventually(_ what: String, seconds: Double = 20, _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw Failure("\(what) did not come about within \(seconds) s") }
        usleep(2_000)
    }
}
