import Glibc

/// What this machine is, and what all of it did.
public enum Machine {
    public static var description: String {
        "\(processors) cores, \(memoryBytes >> 30) GiB of memory, Linux \(kernel)"
    }

    public static var processors: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }
    public static var memoryBytes: Int { sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) }

    public static var kernel: String {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// The processor's name; empty where the kernel does not say.
    public static var processorName: String {
        let names = ["model name", "Hardware", "CPU part"]
        for line in SmallFile.text("/proc/cpuinfo").split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let key = line[..<colon].filter { $0 != "\t" }
            if names.contains(String(key)) { return String(line[line.index(after: colon)...].drop { $0 == " " }) }
        }
        return ""
    }

    /// Time of all cores since boot (`/proc/stat`).
    public static var time: MachineTime { MachineTime(stat: SmallFile.text("/proc/stat")) ?? MachineTime() }
}

/// Where the time of all cores went, in nanoseconds.
public struct MachineTime: Hashable, Sendable {
    public var user: UInt64 = 0
    public var system: UInt64 = 0
    /// Hardware and soft interrupts: network and disk work that belongs to no process.
    public var interrupts: UInt64 = 0
    /// Taken by other guests of the host.
    public var stolen: UInt64 = 0
    public var idle: UInt64 = 0

    public init() {}

    /// Reads the first line of `/proc/stat`; `nil` where it is another file.
    public init?(stat text: String) {
        let line = text.prefix { $0 != "\n" }.split(separator: " ")
        let fields = line.dropFirst().compactMap { UInt64($0) }
        guard line.first == "cpu", fields.count >= 8 else { return nil }
        let tick = 1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK)))
        user = (fields[0] + fields[1]) * tick
        system = fields[2] * tick
        idle = (fields[3] + fields[4]) * tick
        interrupts = (fields[5] + fields[6]) * tick
        stolen = fields[7] * tick
    }

    public var busy: UInt64 { user + system + interrupts }
    public var total: UInt64 { busy + stolen + idle }

    public static func - (later: MachineTime, earlier: MachineTime) -> MachineTime {
        let less = { (a: UInt64, b: UInt64) in a > b ? a - b : 0 }
        var span = MachineTime()
        span.user = less(later.user, earlier.user)
        span.system = less(later.system, earlier.system)
        span.interrupts = less(later.interrupts, earlier.interrupts)
        span.stolen = less(later.stolen, earlier.stolen)
        span.idle = less(later.idle, earlier.idle)
        return span
    }
}

/// Files of `/proc` and the like.
enum SmallFile {
    /// The text of a file, a megabyte at most; empty where it cannot be read.
    static func text(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while text.count < 1 << 20, case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            text += buffer[..<count]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
