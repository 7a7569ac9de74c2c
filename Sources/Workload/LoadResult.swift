/// What a load came to; DESIGN's JSON of `load`.
///
/// Counts and latencies are of the payments that were due in the measured time, however late they ended. Rate and CPU
/// time are of what ended in it.
public struct LoadResult: Hashable, Sendable {
    public var offeredRate = 0.0
    public var sent: UInt64 = 0
    public var notSent: UInt64 = 0
    public var late: UInt64 = 0
    public var accepted: UInt64 = 0
    public var acceptedPerSecond = 0.0
    /// Declined by the ledger, refused before it, or conflicts: by name, ascending.
    public var rejected: [Rejection] = []
    public var unknown: UInt64 = 0
    public var p50Ms = 0.0
    public var p90Ms = 0.0
    public var p99Ms = 0.0
    public var p999Ms = 0.0
    public var p9999Ms = 0.0
    public var maxMs = 0.0
    public var longestGapMs = 0.0
    public var generatorLimited = false
    public var cpuMicrosPerTransaction = 0.0
    // Not part of the JSON
    /// The measured time: from the end of the warm-up to the end of the plan.
    public var seconds = 0.0
    /// Payments that the ledger decided, and accepted, in that time, whenever they were sent.
    public var decidedInTime: UInt64 = 0
    public var acceptedInTime: UInt64 = 0
    /// CPU seconds of this process in the measured time, and of each given process.
    public var ownCPUSeconds = 0.0
    public var processCPUSeconds: [Double] = []
    /// Largest part of a second that the generator's thread was busy.
    public var generatorBusy = 0.0
    public var interrupted = false
    /// What went wrong with connections, for people.
    public var troubles: [String] = []

    public struct Rejection: Hashable, Sendable {
        public var reason: String
        public var count: UInt64
    }

    public init() {}

    /// The fields of DESIGN's `load` object without its braces, for `bench`, which adds fields of its own.
    public var jsonFields: String {
        let reasons = rejected.map { "\"\($0.reason)\": \($0.count)" }.joined(separator: ", ")
        let fields: [(String, String)] = [
            ("offeredRate", decimal(offeredRate)), ("sent", "\(sent)"), ("notSent", "\(notSent)"), ("late", "\(late)"),
            ("accepted", "\(accepted)"), ("acceptedPerSecond", decimal(acceptedPerSecond)),
            ("rejected", "{\(reasons)}"), ("unknown", "\(unknown)"), ("p50Ms", decimal(p50Ms)),
            ("p90Ms", decimal(p90Ms)), ("p99Ms", decimal(p99Ms)), ("p999Ms", decimal(p999Ms)),
            ("p9999Ms", decimal(p9999Ms)), ("maxMs", decimal(maxMs)), ("longestGapMs", decimal(longestGapMs)),
            ("generatorLimited", "\(generatorLimited)"), ("cpuMicrosPerTransaction", decimal(cpuMicrosPerTransaction)),
        ]
        return fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ")
    }

    public var json: String { "{\(jsonFields)}" }
}

/// A number with three decimals, without Foundation.
func decimal(_ value: Double) -> String {
    let thousandths = UInt64((max(value, 0) * 1_000).rounded())
    let fraction = String(thousandths % 1_000)
    return "\(thousandths / 1_000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
}
