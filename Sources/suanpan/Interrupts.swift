import Glibc
import Synchronization

/// Counts Ctrl-C (and SIGTERM, which asks for the same): the first drains, the second kills.
enum Interrupts {
    private static let counter = Atomic<Int>(0)

    /// From here on the signals only count. Call once, before waiting begins.
    static func install() {
        // Touches the counter, so that it is not first made inside a signal handler.
        _ = count
        var both = sigset_t()
        sigemptyset(&both)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in Interrupts.counter.add(1, ordering: .relaxed) }
            sigaddset(&both, number)
        }
        // Whoever started this process may have had them blocked, and that is inherited.
        pthread_sigmask(SIG_UNBLOCK, &both, nil)
    }

    static var count: Int { counter.load(ordering: .relaxed) }
}
