import Glibc
import Synchronization

/// Hands batches from one thread to another: one lock and at most one wake-up per batch, however many elements it has.
public final class Mailbox<Element: Sendable>: Sendable {
    private struct State {
        var items: [Element] = []
        var isClosed = false
        var isSleeping = false
    }

    private let state = Mutex(State())
    /// Initialised once, destroyed with the mailbox, and made to be used by several threads.
    private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

    public init() {
        semaphore = .allocate(capacity: 1)
        semaphore.initialize(to: sem_t())
        precondition(sem_init(semaphore, 0, 0) == 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    /// Appends a batch. After `close` it is dropped.
    public func post(_ batch: [Element]) {
        guard !batch.isEmpty else { return }
        wake {
            guard !$0.isClosed else { return false }
            if $0.items.isEmpty { $0.items = batch } else { $0.items.append(contentsOf: batch) }
            return true
        }
    }

    /// Appends one element unless `limit` are waiting; whether it was taken.
    public func post(_ element: Element, limit: Int) -> Bool {
        wake {
            guard !$0.isClosed, $0.items.count < limit else { return false }
            $0.items.append(element)
            return true
        }
    }

    /// Nothing is taken from now on; the receiver still gets what waits.
    public func close() {
        _ = wake {
            $0.isClosed = true
            return true
        }
    }

    /// Everything that waits, in order; sleeps while nothing does. `nil` once the mailbox is closed and empty, an empty batch
    /// after `milliseconds` without any. For one receiving thread.
    public func take(milliseconds: Int? = nil) -> [Element]? {
        let deadline = milliseconds.map(Self.deadline)
        while true {
            var batch: [Element] = []
            let isClosed = state.withLock { state in
                swap(&batch, &state.items)
                state.isSleeping = batch.isEmpty && !state.isClosed
                return state.isClosed
            }
            if !batch.isEmpty { return batch }
            if isClosed { return nil }
            if var deadline {
                if sem_timedwait(semaphore, &deadline) != 0, errno == ETIMEDOUT { return [] }
            } else {
                sem_wait(semaphore)
            }
        }
    }

    @discardableResult
    private func wake(_ change: (inout State) -> Bool) -> Bool {
        let (changed, wake) = state.withLock { state -> (Bool, Bool) in
            guard change(&state) else { return (false, false) }
            defer { state.isSleeping = false }
            return (true, state.isSleeping)
        }
        if wake { sem_post(semaphore) }
        return changed
    }

    private static func deadline(_ milliseconds: Int) -> timespec {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let nanoseconds = now.tv_nsec + milliseconds % 1_000 * 1_000_000
        let seconds = now.tv_sec + milliseconds / 1_000 + nanoseconds / 1_000_000_000
        return timespec(tv_sec: seconds, tv_nsec: nanoseconds % 1_000_000_000)
    }
}
