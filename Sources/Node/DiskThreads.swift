import ClearingModel
import LogFormat
import Wire

/// Makes disk operations fail on purpose, in tests and in nodes started for faults. Called on the disk threads.
public struct DiskFaults: Sendable {
    /// The error that an operation gets instead of being performed; `nil` performs it. May sleep, which stalls the lane.
    public var check: @Sendable (DiskOperation) -> DiskError?
    public init(check: @escaping @Sendable (DiskOperation) -> DiskError?) { self.check = check }
}

/// How long one operation took.
public struct DiskTiming: Hashable, Sendable {
    public enum Work: Hashable, Sendable {
        case write
        case sync
        case read
        case other
    }
    public var work: Work
    public var lane: DiskOperation.Lane
    public var nanoseconds: UInt64
    public var bytes: Int
}

/// Operations that ended, in the order in which they were performed; each with its time.
public struct DiskBatch: Sendable {
    public var completions: [DiskCompletion] = []
    public var timings: [DiskTiming] = []
}

/// The log thread and the read thread: perform disk operations, each lane in order, and hand completions back in batches.
///
/// ```
///  event loop ── submit([operations]) ──▶ one lock, one wake-up per lane and batch ──▶ log thread / read thread
///  event loop ◀── deliver(DiskBatch) ◀── after every sync, and when the lane has nothing more to do
/// ```
/// After a failed write or sync in the write lane, every later operation of that lane fails with the same error: the process has
/// to end, and nothing may become durable behind a hole.
public final class DiskThreads: Sendable {
    private enum Job: Sendable {
        case operation(DiskOperation)
        /// The other thread removed or renamed these files.
        case forget([FileName])
    }

    private let write = Mailbox<Job>()
    private let read = Mailbox<Job>()
    private let threads: [PosixThread]
    private let directory: DataDirectory

    /// Starts both threads.
    /// - Parameter deliver: called on the disk threads; hop to the event loop there.
    public init(
        directory: DataDirectory, faults: DiskFaults? = nil, deliver: @escaping @Sendable (DiskBatch) -> Void
    ) {
        self.directory = directory
        let (write, read) = (write, read)
        threads = [
            PosixThread.start(name: "log") {
                Self.serve(
                    write, telling: read, DiskPerformer(directory: directory, lane: .write, faults: faults), .write,
                    deliver)
            },
            PosixThread.start(name: "read") {
                Self.serve(
                    read, telling: write, DiskPerformer(directory: directory, lane: .read, faults: faults), .read,
                    deliver)
            },
        ]
    }

    /// Hands operations over. Each lane performs its own in this order.
    public func submit(_ operations: [DiskOperation]) {
        guard let first = operations.first else { return }
        // Nearly always all are of one lane, and of the log's.
        if operations.allSatisfy({ $0.lane == first.lane }) {
            (first.lane == .write ? write : read).post(operations.map { .operation($0) })
        } else {
            write.post(operations.filter { $0.lane == .write }.map { .operation($0) })
            read.post(operations.filter { $0.lane == .read }.map { .operation($0) })
        }
    }

    /// Performs what was handed over, delivers its completions, and ends both threads. Call once, not from `deliver`.
    public func stop() {
        write.close()
        read.close()
        for thread in threads { thread.join() }
    }

    private static func serve(
        _ jobs: Mailbox<Job>, telling other: Mailbox<Job>, _ performer: consuming DiskPerformer,
        _ lane: DiskOperation.Lane, _ deliver: @Sendable (DiskBatch) -> Void
    ) {
        let clock = ProcessClock()
        while let batch = jobs.take() {
            var done = DiskBatch()
            var start = clock.monotonic
            for job in batch {
                guard case .operation(let operation) = job else {
                    if case .forget(let names) = job { performer.forget(names) }
                    continue
                }
                let result = performer.perform(operation)
                let end = clock.monotonic
                done.completions.append(DiskCompletion(id: operation.id, result: result))
                done.timings.append(
                    operation.kind.timing(lane: lane, nanoseconds: (end - start).nanoseconds, result: result))
                start = end
                let changed = performer.takeChangedNames()
                // Before the completion: whoever acts on it must not meet the other thread's old descriptor.
                if !changed.isEmpty { other.post([.forget(changed)]) }
                if operation.kind.isAwaited {
                    deliver(done)
                    done = DiskBatch()
                }
            }
            if !done.completions.isEmpty { deliver(done) }
        }
    }
}

extension DiskOperation.Kind {
    /// Acknowledgements wait for a sync: its completion does not wait for what else is in the batch.
    fileprivate var isAwaited: Bool { if case .sync = self { true } else { false } }

    fileprivate func timing(
        lane: DiskOperation.Lane, nanoseconds: UInt64, result: DiskCompletion.Result
    ) -> DiskTiming {
        let (work, bytes): (DiskTiming.Work, Int) =
            switch self {
            case .write(_, _, let slabs): (.write, slabs.reduce(0) { $0 + $1.count })
            case .sync, .syncDirectory: (.sync, 0)
            case .read: if case .bytes(let slab) = result { (.read, slab.count) } else { (.read, 0) }
            default: (.other, 0)
            }
        return DiskTiming(work: work, lane: lane, nanoseconds: nanoseconds, bytes: bytes)
    }
}
