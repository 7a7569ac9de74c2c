import ClearingModel
import Glibc
import Logging
import Synchronization

/// Where log lines go: a bounded queue and a thread that formats and writes, so that a slow terminal or a full pipe never
/// holds up the caller. What does not fit is dropped and counted, and the count is logged as soon as there is room.
///
/// A message that repeats is written `burst` times per `window`; after that only how often it came.
public final class LogSink: Sendable {
    public struct Options: Sendable {
        /// Lines that may wait; about 300 bytes each.
        public var capacity = 8_192
        public var burst = 10
        /// In milliseconds.
        public var window: UInt64 = 10_000
        /// The clock that stamps the lines.
        public var clock = ProcessClock()
        public init() {}
    }

    struct Line: Sendable {
        var time: WallTime
        var level: Logger.Level
        var label: String
        var message: String
        var metadata: Logger.Metadata
        var error: String?
    }

    private enum Item: Sendable {
        case line(Line)
        case flush(FlushMark)
    }

    private let queue = Mailbox<Item>()
    private let thread: PosixThread
    private let options: Options
    private let droppedLines: Shared
    /// Stands in lines that the sink itself writes.
    private final class Shared: Sendable {
        let dropped = Atomic<UInt64>(0)
    }

    /// - Parameter descriptor: an open file; it is not closed by the sink.
    public init(descriptor: Int32, options: Options = Options()) {
        self.options = options
        let shared = Shared()
        droppedLines = shared
        let queue = queue
        thread = PosixThread.start(name: "logger") {
            var writer = LogWriter(descriptor: descriptor, options: options)
            var reported: UInt64 = 0
            while let batch = queue.take(milliseconds: 1_000) {
                for item in batch {
                    switch item {
                    case .line(let line): writer.add(line)
                    case .flush(let mark):
                        writer.flush()
                        mark.reached()
                    }
                }
                let dropped = shared.dropped.load(ordering: .relaxed)
                if dropped != reported {
                    writer.addDropped(dropped - reported)
                    reported = dropped
                }
                writer.reportRepeats(at: options.clock.wall, all: false)
                writer.flush()
            }
            writer.reportRepeats(at: options.clock.wall, all: true)
            writer.flush()
        }
    }

    /// Lines dropped so far because the queue was full.
    public var dropped: UInt64 { droppedLines.dropped.load(ordering: .relaxed) }

    func add(_ line: Line) {
        if !queue.post(.line(line), limit: options.capacity) { droppedLines.dropped.add(1, ordering: .relaxed) }
    }

    func now() -> WallTime { options.clock.wall }

    /// Waits until everything logged so far is written: before a process ends on an error. Not for the event loop.
    public func flush() {
        let mark = FlushMark()
        queue.post([.flush(mark)])
        mark.wait()
    }

    /// Writes what waits and ends the thread. Call once; what is logged after is lost.
    public func stop() {
        queue.close()
        thread.join()
    }
}

/// Lets one thread wait for another's place in a queue.
private final class FlushMark: Sendable {
    private let box = Mailbox<Void>()
    func reached() { box.post([()]) }
    /// A second, in case the sink has been stopped.
    func wait() { _ = box.take(milliseconds: 1_000) }
}

/// swift-log's handler: hands lines to a `LogSink`.
public struct AsyncLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    public var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let sink: LogSink

    public init(label: String, sink: LogSink, level: Logger.Level = .info) {
        self.label = label
        self.sink = sink
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        sink.add(
            LogSink.Line(
                time: sink.now(), level: event.level, label: label, message: event.message.description, metadata: all,
                error: event.error.map { "\($0)" }))
    }
}
