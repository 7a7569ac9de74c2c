import ClearingModel
import Glibc
import Logging

/// Formats lines and writes them, on the sink's thread:
///
///     2026-11-23T12:00:00.123Z INFO node=3 event="leader elected" shard=2 term=7
struct LogWriter {
    private struct Repeats {
        var line: LogSink.Line
        var windowStart: WallTime
        var written: Int
        var suppressed: Int
    }

    static let maximumLineBytes = 8_192
    /// Different messages whose rate is watched at a time.
    static let maximumWatched = 512

    private let descriptor: Int32
    private let options: LogSink.Options
    private var buffer: [UInt8] = []
    private var repeats: [String: Repeats] = [:]

    init(descriptor: Int32, options: LogSink.Options) {
        self.descriptor = descriptor
        self.options = options
    }

    mutating func add(_ line: LogSink.Line) {
        let key = "\(line.level.rawValue) \(line.message) \(line.metadata["peer"].map { "\($0)" } ?? "")"
        if var known = repeats[key] {
            if line.time.milliseconds < known.windowStart.milliseconds + options.window {
                if known.written >= options.burst {
                    known.suppressed += 1
                    repeats[key] = known
                    return
                }
                known.written += 1
                repeats[key] = known
            } else {
                report(known)
                repeats[key] = Repeats(line: line, windowStart: line.time, written: 1, suppressed: 0)
            }
        } else if repeats.count < Self.maximumWatched {
            repeats[key] = Repeats(line: line, windowStart: line.time, written: 1, suppressed: 0)
        }
        write(line)
    }

    mutating func addDropped(_ count: UInt64) {
        write(
            LogSink.Line(
                time: options.clock.wall, level: .warning, label: "log", message: "log lines dropped",
                metadata: ["count": "\(count)"], error: nil))
    }

    /// Says how often messages came that were held back, once their window is over (or all of them now).
    mutating func reportRepeats(at now: WallTime, all: Bool) {
        guard !repeats.isEmpty else { return }
        let over = repeats.filter { all || now.milliseconds >= $0.value.windowStart.milliseconds + options.window }
        for key in over.keys.sorted() {
            report(over[key]!)
            repeats[key] = nil
        }
    }

    private mutating func report(_ known: Repeats) {
        guard known.suppressed > 0 else { return }
        var line = known.line
        line.time = options.clock.wall
        line.metadata["repeated"] = "\(known.suppressed)"
        write(line)
    }

    private mutating func write(_ line: LogSink.Line) {
        let start = buffer.count
        append(Self.timestamp(line.time))
        append(" ")
        append(line.level.rawValue.uppercased())
        if let node = line.metadata["node"] { appendField("node", "\(node)") }
        append(" event=")
        appendQuoted(line.message)
        for key in line.metadata.keys.sorted() where key != "node" { appendField(key, "\(line.metadata[key]!)") }
        if let error = line.error { appendField("error", error) }
        if buffer.count - start > Self.maximumLineBytes {
            buffer.removeLast(buffer.count - start - Self.maximumLineBytes)
            append("…")
        }
        buffer.append(10)
        if buffer.count >= 64 << 10 { flush() }
    }

    /// Writes the buffer; what the file does not take is lost.
    mutating func flush() {
        var offset = 0
        while offset < buffer.count {
            let done = buffer.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + offset, $0.count - offset) }
            if done > 0 {
                offset += done
            } else if done < 0, errno == EINTR {
                continue
            } else if done < 0, errno == EAGAIN {
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&wait, 1, 1_000)
            } else {
                break
            }
        }
        buffer.removeAll(keepingCapacity: buffer.capacity <= 1 << 20)
    }

    private mutating func append(_ text: String) { buffer.append(contentsOf: text.utf8) }

    private mutating func appendField(_ key: String, _ value: String) {
        append(" ")
        append(key)
        append("=")
        let plain = !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D }
        if plain { append(value) } else { appendQuoted(value) }
    }

    /// In double quotes, with everything escaped that could break a line or fake one.
    private mutating func appendQuoted(_ value: String) {
        buffer.append(0x22)
        for byte in value.utf8 {
            switch byte {
            case 0x22, 0x5C: buffer.append(contentsOf: [0x5C, byte])
            case 0x0A: append("\\n")
            case 0..<0x20, 0x7F: append("\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16))
            default: buffer.append(byte)
            }
        }
        buffer.append(0x22)
    }

    /// RFC 3339 in UTC with milliseconds.
    static func timestamp(_ time: WallTime) -> String {
        let (year, month, day) = BusinessDay(at: time, offsetMinutes: 0).civil
        let millis = Int(time.milliseconds % 86_400_000)
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let clock = [millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60].map { padded($0, 2) }
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T" + clock.joined(separator: ":")
            + ".\(padded(millis % 1_000, 3))Z"
    }
}
