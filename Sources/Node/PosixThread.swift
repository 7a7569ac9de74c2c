import CPlatform
import Glibc

/// One pthread that can be joined. Signals go to other threads of the process.
public struct PosixThread: Sendable {
    private let id: pthread_t

    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a thread; it ends with `body`.
    public static func start(name: String, _ body: @escaping @Sendable () -> Void) -> PosixThread {
        let argument = Unmanaged.passRetained(Body(name: name, run: body)).toOpaque()
        // A new thread inherits the mask of the one that makes it.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var id = pthread_t()
        let result = pthread_create(
            &id, nil,
            { argument in
                let body = Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
                suanpan_name_thread(body.name)
                body.run()
                return nil
            }, argument)
        precondition(result == 0, "no thread \(name): \(errorText(result))")
        return PosixThread(id: id)
    }

    /// Waits until the thread has ended. Call once.
    public func join() { pthread_join(id, nil) }
}
