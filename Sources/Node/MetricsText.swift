/// Writes metrics in Prometheus' text format (version 0.0.4).
///
/// Labels are for things of which there are few (shards, peers, outcomes); never one per participant. Metrics of one name follow
/// each other, so that HELP and TYPE stand once.
public struct MetricsText: Sendable {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    public private(set) var bytes: [UInt8] = []
    private var lastName = ""

    public init() {}

    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Something that only grows. The name ends in `_total`.
    public mutating func counter(_ name: String, _ help: String, _ value: UInt64, _ labels: [(String, String)] = []) {
        head(name, help, "counter")
        sample(name, labels, String(value))
    }

    /// A counter that is no whole number. Seconds: the name ends in `_seconds_total`.
    public mutating func counter(_ name: String, _ help: String, _ value: Double, _ labels: [(String, String)] = []) {
        head(name, help, "counter")
        sample(name, labels, String(value))
    }

    public mutating func gauge(_ name: String, _ help: String, _ value: Int, _ labels: [(String, String)] = []) {
        head(name, help, "gauge")
        sample(name, labels, String(value))
    }

    public mutating func gauge(_ name: String, _ help: String, _ value: Double, _ labels: [(String, String)] = []) {
        head(name, help, "gauge")
        sample(name, labels, String(value))
    }

    /// Durations, written in seconds. The name ends in `_seconds`.
    public mutating func histogram(
        _ name: String, _ help: String, _ value: DurationHistogram, _ labels: [(String, String)] = []
    ) {
        head(name, help, "histogram")
        var below: UInt64 = 0
        for (bound, count) in zip(value.bounds, value.counts) {
            below += count
            sample(name + "_bucket", labels + [("le", String(Double(bound) / 1e9))], String(below))
        }
        sample(name + "_bucket", labels + [("le", "+Inf")], String(value.count))
        sample(name + "_sum", labels, String(Double(value.sum) / 1e9))
        sample(name + "_count", labels, String(value.count))
    }

    private mutating func head(_ name: String, _ help: String, _ type: String) {
        guard name != lastName else { return }
        lastName = name
        append("# HELP \(name) ")
        for byte in help.utf8 {
            switch byte {
            case 0x5C: append("\\\\")
            case 0x0A: append("\\n")
            default: bytes.append(byte)
            }
        }
        append("\n# TYPE \(name) \(type)\n")
    }

    private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
        append(name)
        for (index, label) in labels.enumerated() {
            append(index == 0 ? "{" : ",")
            append(label.0)
            append("=\"")
            for byte in label.1.utf8 {
                switch byte {
                case 0x5C: append("\\\\")
                case 0x22: append("\\\"")
                case 0x0A: append("\\n")
                default: bytes.append(byte)
                }
            }
            append("\"")
        }
        if !labels.isEmpty { append("}") }
        append(" ")
        append(value)
        append("\n")
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }
}
