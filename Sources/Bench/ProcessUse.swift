import Glibc
import LocalCluster
import Workload

/// What one process used, since it began or between two moments.
public struct ProcessUse: Hashable, Sendable {
    public var cpu = ProcessCPU()
    /// Bytes that it had the kernel write to disk: log, checkpoints, segments filled ahead.
    public var writtenBytes: UInt64 = 0
    /// Bytes and syncs of the data directory, as a node counts them.
    public var logBytes: UInt64 = 0
    public var syncs: UInt64 = 0
    /// In memory at the second moment.
    public var residentBytes: UInt64 = 0

    public init() {}

    /// This process.
    public static var own: ProcessUse {
        var use = ProcessUse()
        use.cpu = .own
        use.readFiles("self")
        return use
    }

    /// A node, by its process and its admin port; `nil` where it is gone or does not answer.
    public static func node(process: Int32, admin: UInt16) -> ProcessUse? {
        guard let reply = AdminClient(port: admin, timeoutMilliseconds: 2_000).get("/metrics"), reply.status == 200,
            let cpu = ProcessCPU.of(process)
        else { return nil }
        var use = ProcessUse()
        use.cpu = cpu
        use.logBytes = UInt64(metric("suanpan_log_written_bytes_total", in: reply.body) ?? 0)
        use.syncs = UInt64(metric("suanpan_log_syncs_total", in: reply.body) ?? 0)
        use.readFiles("\(process)")
        return use
    }

    private mutating func readFiles(_ process: String) {
        writtenBytes = Self.field("write_bytes", in: SmallFile.text("/proc/\(process)/io")) ?? 0
        residentBytes = (Self.field("VmRSS", in: SmallFile.text("/proc/\(process)/status")) ?? 0) << 10
    }

    /// The number of a line `name: number …`.
    static func field(_ name: String, in text: String) -> UInt64? {
        for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
            return UInt64(line.dropFirst(name.count + 1).drop { $0 == " " || $0 == "\t" }.prefix { $0.isNumber })
        }
        return nil
    }

    /// The value of a metric without labels, in Prometheus' text format.
    static func metric(_ name: String, in text: String) -> Double? {
        for line in text.split(separator: "\n") where line.hasPrefix("\(name) ") {
            return Double(line.dropFirst(name.count + 1))
        }
        return nil
    }

    /// What was used between two readings of one process.
    public static func - (later: ProcessUse, earlier: ProcessUse) -> ProcessUse {
        let less = { (a: UInt64, b: UInt64) in a > b ? a - b : 0 }
        var span = later
        span.cpu = ProcessCPU(
            user: less(later.cpu.user, earlier.cpu.user), system: less(later.cpu.system, earlier.cpu.system))
        span.writtenBytes = less(later.writtenBytes, earlier.writtenBytes)
        span.logBytes = less(later.logBytes, earlier.logBytes)
        span.syncs = less(later.syncs, earlier.syncs)
        return span
    }

    /// Two spans of which the second is the later one.
    public static func + (first: ProcessUse, second: ProcessUse) -> ProcessUse {
        var sum = second
        sum.cpu = ProcessCPU(user: first.cpu.user + second.cpu.user, system: first.cpu.system + second.cpu.system)
        sum.writtenBytes += first.writtenBytes
        sum.logBytes += first.logBytes
        sum.syncs += first.syncs
        return sum
    }
}

/// Sums what processes use while something is measured, also where one of them is killed and started again.
public struct ProcessMeter: Sendable {
    private var earlier: [String: ProcessUse] = [:]
    private var used: [String: ProcessUse] = [:]

    public init() {}

    /// A process is measured from this reading on; the first of a new process is `ProcessUse()`.
    public mutating func begin(_ name: String, _ reading: ProcessUse) { earlier[name] = reading }

    /// A process is measured up to this reading.
    public mutating func end(_ name: String, _ reading: ProcessUse) {
        guard let from = earlier.removeValue(forKey: name) else { return }
        used[name] = (used[name] ?? ProcessUse()) + (reading - from)
    }

    public var uses: [ProcessFigures] {
        used.map { ProcessFigures(name: $0.key, use: $0.value) }.sorted { $0.name < $1.name }
    }
}

/// A process of a case by its name: `load`, `node-1`, …
public struct ProcessFigures: Hashable, Sendable {
    public var name: String
    public var use: ProcessUse
    public init(name: String, use: ProcessUse) {
        self.name = name
        self.use = use
    }
    public var isNode: Bool { name.hasPrefix("node-") }
}
