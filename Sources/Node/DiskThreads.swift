import ClearingModel
import LogFormat
import Wire

/// Makes disk operations fail on purpose, in tests and in nodes started for faults. Called on the disk threads.
public struct DiskFaults: Sendable {
    /// The error that an operation gets instead of being performed; `nil` performs it. May sleep, which stalls the lane.
    public var check: @Sendable (DiskOperation) -> DiskError?
    /// Writes past the page cache are refused, as by a device of larger blocks.
    public var refusesDirect = false
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

/// One thread per lane: performs disk operations, each lane in order, and hands completions back in batches.
///
/// ```
///  event loop ── submit([operations]) ──▶ one lock, one wake-up per lane and batch ──▶ log, read, background thread
///  event loop ◀── deliver(DiskBatch) ◀── after every sync, and when the lane has nothing more to do
/// ```
/// After a failed write or sync in the write lane, every later operation of that lane fails with the same error: the process has
/// to end, and nothing may become durable behind a hole.
public final class DiskThreads: Sendable {
    private enum Job: Sendable {
        case operation(DiskOperation)
        /// Another thread removed or renamed these files.
        case forget([FileName])
    }

    private let write = Mailbox<Job>()
    private let read = Mailbox<Job>()
    private let background = Mailbox<Job>()
    private let threads: [PosixThread]
    private let directory: DataDirectory

    /// Starts the threads.
    /// - Parameter deliver: called on the disk threads; hop to the event loop there.
    public init(
        directory: DataDirectory, faults: DiskFaults? = nil, deliver: @escaping @Sendable (DiskBatch) -> Void
    ) {
        self.directory = directory
        let lanes: [(name: String, lane: DiskOperation.Lane, jobs: Mailbox<Job>)] = [
            ("log", .write, write), ("read", .read, read), ("background", .background, background),
        ]
        threads = lanes.map { name, lane, jobs in
            let others = lanes.map(\.jobs).filter { $0 !== jobs }
            return PosixThread.start(name: name) {
                Self.serve(
                    jobs, telling: others, DiskPerformer(directory: directory, lane: lane, faults: faults), lane,
                    deliver)
            }
        }
    }

    /// Hands operations over. Each lane performs its own in this order.
    public func submit(_ operations: [DiskOperation]) {
        guard let first = operations.first else { return }
        // Nearly always all are of one lane, and of the log's.
        if operations.allSatisfy({ $0.lane == first.lane }) {
            mailbox(of: first.lane).post(operations.map { .operation($0) })
            return
        }
        for lane in [DiskOperation.Lane.write, .read, .background] {
            let part = operations.filter { $0.lane == lane }
            if !part.isEmpty { mailbox(of: lane).post(part.map { .operation($0) }) }
        }
    }

    private func mailbox(of lane: DiskOperation.Lane) -> Mailbox<Job> {
        switch lane {
        case .write: write
        case .read: read
        case .background: background
        }
    }

    /// Performs what was handed over, delivers its completions, and ends the threads. Call once, not from `deliver`.
    public func stop() {
        write.close()
        read.close()
        background.close()
        for thread in threads { thread.join() }
    }

    private static func serve(
        _ jobs: Mailbox<Job>, telling others: [Mailbox<Job>], _ performer: consuming DiskPerformer,
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
                // Before the completion: whoever acts on it must not meet another thread's old descriptor.
                if !changed.isEmpty { for other in others { other.post([.forget(changed)]) } }
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
