import Foundation
import LocalCluster

/// Two runs side by side: for every figure the ratio of the new one to the old one.
public struct Comparison: Sendable {
    public struct Row: Hashable, Sendable {
        public var name: String
        public var figure: String
        public var old: Double
        public var new: Double
        /// `nil` where the old one is 0.
        public var ratio: Double? { old == 0 ? nil : new / old }
    }

    public private(set) var rows: [Row] = []
    /// Conditions in which the runs differ.
    public private(set) var differences: [String] = []

    /// Figures by their place in a case's object.
    static let figures = [
        "acceptedPerSecond", "p50Ms", "p90Ms", "p99Ms", "p999Ms", "p9999Ms", "maxMs", "cpuMicrosPerTransaction",
        "cpu.load.userMicros", "cpu.load.systemMicros", "cpu.nodes.userMicros", "cpu.nodes.systemMicros",
        "machine.otherMicros", "bytesWrittenPerTransaction", "syncsPerTransaction", "residentBytes.node-1",
        "step.recoverySeconds", "step.backlog", "failover.medianMs", "failover.maximumMs",
        "long.bytesPerPaymentAndNode", "long.restartSeconds",
    ]
    static let conditions = [
        "cpu", "cores", "kernel", "fileSystem.type", "nodes", "shards", "participants", "mix", "seed", "seconds",
    ]

    /// - Parameter file: where the old text came from, for errors.
    public init(old: String, file: String, new: String) throws(LaunchError) {
        guard let old = Self.object(old), old["cases"] is [[String: Any]], let new = Self.object(new) else {
            throw .configuration("\(file) is no result of 'suanpan bench --json'")
        }
        for condition in Self.conditions {
            let (before, now) = (Self.text(condition, old["manifest"]), Self.text(condition, new["manifest"]))
            if before != now { differences.append("\(condition): \(before) then, \(now) now") }
        }
        let earlier = old["cases"] as? [[String: Any]] ?? []
        for one in new["cases"] as? [[String: Any]] ?? [] {
            guard let name = one["name"] as? String,
                let before = earlier.first(where: { $0["name"] as? String == name })
            else { continue }
            for figure in Self.figures {
                guard let a = Self.value(figure, before) as? NSNumber, let b = Self.value(figure, one) as? NSNumber
                else { continue }
                rows.append(Row(name: name, figure: figure, old: a.doubleValue, new: b.doubleValue))
            }
        }
    }

    private static func object(_ text: String) -> [String: Any]? {
        (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
    }

    private static func value(_ path: String, _ object: Any?) -> Any? {
        path.split(separator: ".").reduce(object) { ($0 as? [String: Any])?[String($1)] }
    }

    private static func text(_ path: String, _ object: Any?) -> String {
        value(path, object).map { "\($0)" } ?? "unknown"
    }

    public var text: String {
        let table = Table(
            ["case", "figure", "old", "new", "new/old"],
            rows: rows.map {
                [$0.name, $0.figure, Figure.text($0.old), Figure.text($0.new), $0.ratio.map(Figure.text) ?? "-"]
            })
        let warning = differences.map { "not under the same conditions: \($0)\n" }.joined()
        return rows.isEmpty ? warning + "no case is in both runs\n" : warning + table.text
    }
}
