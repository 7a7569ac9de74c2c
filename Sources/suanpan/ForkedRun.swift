import CPlatform
import Glibc

/// A piece of work in a child process of its own: whatever becomes of it, a trap or a hang included, the parent goes on.
final class ForkedRun {
    enum End: Equatable {
        case exited(Int32)
        case signalled(Int32)
    }

    let process: pid_t
    private let output: Int32
    private var bytes: [UInt8] = []

    /// - Parameters:
    ///   - limit: seconds of processor time after which the kernel ends the child (SIGPROF).
    ///   - body: runs in the child; what it writes reaches the parent, and what it returns is the exit code.
    init?(limit: UInt32, _ body: () -> Int32) {
        var output: Int32 = -1
        let parent = getpid()
        let child = suanpan_fork(&output)
        if child == 0 {
            signal(SIGINT, SIG_DFL)
            signal(SIGTERM, SIG_DFL)
            if suanpan_die_with_parent(parent) == 0 { _exit(1) }
            suanpan_limit_processor_time(limit)
            _exit(body())
        }
        guard child > 0 else { return nil }
        process = child
        self.output = output
    }

    /// The text that the child has written so far.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    func kill() { _ = Glibc.kill(process, SIGKILL) }

    /// Waits until one of several runs has ended or `milliseconds` have passed; those that ended, with how.
    static func wait(_ runs: [ForkedRun], milliseconds: Int32) -> [(run: ForkedRun, end: End)] {
        var descriptors = runs.map { pollfd(fd: $0.output, events: Int16(POLLIN), revents: 0) }
        guard poll(&descriptors, nfds_t(descriptors.count), milliseconds) > 0 else { return [] }
        var ended: [(ForkedRun, End)] = []
        for (run, descriptor) in zip(runs, descriptors) where descriptor.revents != 0 {
            if let end = run.take() { ended.append((run, end)) }
        }
        return ended
    }

    /// Takes what there is to read; how the child ended once there will be no more.
    private func take() -> End? {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = read(output, &buffer, buffer.count)
        if count > 0 {
            bytes += buffer[..<count]
            return nil
        }
        if count < 0, errno == EINTR { return nil }
        close(output)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
    }
}
