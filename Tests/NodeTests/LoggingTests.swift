import ClearingModel
import Glibc
import Logging
import Node
import Testing

/// A pipe whose far end is read as lines, by a thread of its own once that is started.
private final class Pipe {
    private var ends: [Int32] = [0, 0]
    private let bytes = Collector<UInt8>()
    private var reader: PosixThread?
    var input: Int32 { ends[1] }

    init() { precondition(pipe(&ends) == 0) }

    deinit { close(ends[0]) }

    func startReading() {
        let (file, bytes) = (ends[0], bytes)
        reader = PosixThread.start(name: "reader") {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = read(file, &buffer, buffer.count)
                guard count > 0 else { return }
                for byte in buffer[..<count] { bytes.add(byte) }
            }
        }
    }

    /// Everything written; nothing can be written any more.
    func lines() -> [String] {
        if reader == nil { startReading() }
        close(ends[1])
        reader?.join()
        return String(decoding: bytes.all, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// Waits until `count` bytes have been read.
    func hasRead(_ count: Int) -> Bool { bytes.wait(for: count).count >= count }

    /// Fills the pipe so that the next write blocks.
    func fill() {
        let flags = fcntl(ends[1], F_GETFL)
        _ = fcntl(ends[1], F_SETFL, flags | O_NONBLOCK)
        let bytes = [UInt8](repeating: 10, count: 4_096)
        while write(ends[1], bytes, bytes.count) > 0 {}
        _ = fcntl(ends[1], F_SETFL, flags)
    }
}

struct LoggingTests {
    private func logger(_ sink: LogSink) -> Logger {
        var logger = Logger(label: "test") { AsyncLogHandler(label: $0, sink: sink) }
        logger[metadataKey: "node"] = "3"
        return logger
    }

    @Test func oneEventALine() throws {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.input)
        let logger = logger(sink)
        logger.info("leader elected", metadata: ["shard": "2", "term": "7", "from": "a b"])
        logger.debug("not this one")
        logger.warning("odd \"text\"\nwith a second line", metadata: ["empty": "", "equals": "a=b"])
        sink.stop()
        let lines = pipe.lines()
        #expect(lines.count == 2)
        let stamp = try #require(lines[0].firstMatch(of: #/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /#))
        #expect(lines[0][stamp.range.upperBound...] == #"INFO node=3 event="leader elected" from="a b" shard=2 term=7"#)
        #expect(
            lines[1].hasSuffix(
                #"WARNING node=3 event="odd \"text\"\nwith a second line" empty="" equals="a=b""#))
    }

    @Test func repeatsAreCountedInsteadOfWritten() throws {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.input)
        let logger = logger(sink)
        for _ in 0..<1_000 { logger.warning("peer unreachable", metadata: ["peer": "2"]) }
        for _ in 0..<3 { logger.warning("peer unreachable", metadata: ["peer": "1"]) }
        sink.stop()
        let lines = pipe.lines()
        #expect(lines.filter { $0.contains("peer=2") }.count == 11)
        #expect(lines.filter { $0.contains("peer=1") }.count == 3)
        #expect(lines.last?.contains("peer=2 repeated=990") == true)
    }

    @Test func aBlockedOutputNeverBlocksTheCaller() throws {
        let pipe = Pipe()
        pipe.fill()
        var options = LogSink.Options()
        options.capacity = 100
        options.burst = .max
        let sink = LogSink(descriptor: pipe.input, options: options)
        let logger = logger(sink)
        for number in 0..<5_000 { logger.info("line", metadata: ["number": "\(number)"]) }
        #expect(sink.dropped > 4_000)
        // Room again: the loss is reported.
        pipe.startReading()
        sink.stop()
        let lines = pipe.lines()
        #expect(lines.contains { $0.contains("log lines dropped") && $0.contains("count=") })
    }

    @Test func flushWaitsForEarlierLines() throws {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.input)
        pipe.startReading()
        logger(sink).error("last words")
        sink.flush()
        #expect(pipe.hasRead("2026-11-23T12:00:00.123Z ERROR node=3 event=\"last words\"\n".utf8.count))
        sink.stop()
        #expect(pipe.lines().count == 1)
    }
}

struct MetricsTextTests {
    @Test func format() {
        var histogram = DurationHistogram(bounds: [1_000_000, 5_000_000])
        for millis in [0.5, 1, 2, 9] { histogram.add(nanoseconds: UInt64(millis * 1e6)) }
        var metrics = MetricsText()
        metrics.counter("suanpan_records_total", "Records decided.", UInt64(12))
        metrics.gauge("suanpan_shard_lag", "Entries\nbehind \\ the leader.", 3, [("shard", "1"), ("peer", "2")])
        metrics.gauge("suanpan_shard_lag", "Entries\nbehind \\ the leader.", 4, [("shard", "a\"b\\c")])
        metrics.histogram("suanpan_sync_seconds", "Time of a sync.", histogram)
        #expect(
            metrics.text == #"""
                # HELP suanpan_records_total Records decided.
                # TYPE suanpan_records_total counter
                suanpan_records_total 12
                # HELP suanpan_shard_lag Entries\nbehind \\ the leader.
                # TYPE suanpan_shard_lag gauge
                suanpan_shard_lag{shard="1",peer="2"} 3
                suanpan_shard_lag{shard="a\"b\\c"} 4
                # HELP suanpan_sync_seconds Time of a sync.
                # TYPE suanpan_sync_seconds histogram
                suanpan_sync_seconds_bucket{le="0.001"} 2
                suanpan_sync_seconds_bucket{le="0.005"} 3
                suanpan_sync_seconds_bucket{le="+Inf"} 4
                suanpan_sync_seconds_sum 0.0125
                suanpan_sync_seconds_count 4

                """#)
    }

    @Test func defaultBoundsAscend() {
        let bounds = DurationHistogram.defaultBounds
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
        #expect(bounds.first == 20_000 && bounds.last == 10_000_000_000)
    }
}

struct ProcessClockTests {
    @Test func clocksMoveAndTheOffsetMovesTheWallOnly() {
        var clock = ProcessClock()
        let before = clock.wall
        clock.wallOffset = -3_600_000_000
        #expect(before.rawValue - clock.wall.rawValue > 3_500_000_000)
        let start = clock.monotonic
        #expect(clock.monotonic >= start)
        #expect(ProcessClock.cpu > 0 && ProcessClock.residentBytes > 1 << 20)
    }
}
