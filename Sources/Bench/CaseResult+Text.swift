import LocalCluster
import Workload

extension BenchReport {
    /// What people read: two tables, then what is to be said about single cases.
    public var text: String {
        guard !cases.isEmpty else { return "no case was run to its end" }
        let speed = Table(
            ["case", "accepted/s", "p50 ms", "p90", "p99", "p99.9", "p99.99", "max", "generator", "audit", "verdict"],
            rows: cases.map(\.speedRow))
        let cost = Table(
            [
                "case", "CPU µs", "load", "nodes", "user", "system", "machine", "other", "bytes/payment",
                "payments/sync", "nodes MB", "load MB",
            ], rows: cases.map(\.costRow))
        let remarks = cases.flatMap { one in one.remarks.map { "\(one.name): \($0)" } }
        return speed.text + "\n" + cost.text + (remarks.isEmpty ? "" : "\n" + remarks.joined(separator: "\n") + "\n")
    }
}

extension CaseResult {
    /// A line while the next case runs.
    public var line: String {
        "\(name): \(Int(load.acceptedPerSecond))/s accepted, p50 \(Figure.text(load.p50Ms)) ms, "
            + "p99 \(Figure.text(load.p99Ms)) ms, \(Figure.text(load.cpuMicrosPerTransaction)) µs CPU a payment, "
            + "audit \(audit?.verdict.rawValue ?? "-"): \(verdict.rawValue)"
    }

    var speedRow: [String] {
        let latencies = [load.p50Ms, load.p90Ms, load.p99Ms, load.p999Ms, load.p9999Ms, load.maxMs]
        return [name, "\(Int(load.acceptedPerSecond))"] + latencies.map(Figure.text)
            + ["\(Int(load.generatorBusy * 100))%", audit?.verdict.rawValue ?? "-", verdict.rawValue]
    }

    var costRow: [String] {
        let micros = { (time: UInt64) in Figure.text(perPayment(time, in: 1_000)) }
        let own = processes.filter { !$0.isNode }
        let all = { (figure: (ProcessUse) -> UInt64) in processes.reduce(0) { $0 + figure($1.use) } }
        let syncs = ofNodes { $0.syncs }
        return [
            name, micros(all { $0.cpu.total }), micros(own.reduce(0) { $0 + $1.use.cpu.total }),
            micros(ofNodes { $0.cpu.total }), micros(all { $0.cpu.user }), micros(all { $0.cpu.system }),
            micros(machine.busy), micros(otherCPU), "\(Int(perPayment(ofNodes { $0.writtenBytes })))",
            syncs == 0 ? "-" : Figure.text(Double(load.decidedInTime) / Double(syncs)),
            "\(ofNodes { $0.residentBytes } >> 20)", "\(own.reduce(0) { $0 + $1.use.residentBytes } >> 20)",
        ]
    }

    var remarks: [String] {
        var lines: [String] = []
        if let step {
            let recovery = step.recoverySeconds.map { "\(Figure.text($0)) s after the step" } ?? "never"
            lines.append(
                "p99 is under \(Int(StepFigures.goodMs)) ms again \(recovery); worst p99 \(Figure.text(step.worstP99Ms)) "
                    + "ms, backlog \(step.backlog) payments, \(load.notSent) not sent, \(load.unknown) unknown")
        }
        if let failover {
            lines.append(
                "\(failover.kills) kills, \(failover.pauses.count) affected shards: pause median "
                    + "\(failover.medianMs.map(Figure.text) ?? "-") ms, maximum "
                    + "\(failover.maximumMs.map(Figure.text) ?? "-") ms, \(failover.unanswered) never answered")
        }
        if let long {
            for mark in long.marks {
                lines.append(
                    "at \(mark.payments / 1_000_000) million: \(Int(mark.acceptedPerSecond))/s, p99 "
                        + "\(Figure.text(mark.p99Ms)) ms, nodes \(mark.residentBytes >> 20) MB")
            }
            lines.append(
                "memory per payment and node \(long.bytesPerPaymentAndNode.map(Figure.text) ?? "-") bytes; restart "
                    + "\(long.restartSeconds.map(Figure.text) ?? "-") s")
        }
        lines += failures + voidReason + notes
        if let audit, audit.verdict != .valid { lines += audit.problems.prefix(5) }
        return lines
    }
}

/// Numbers for people: three significant digits are enough.
enum Figure {
    static func text(_ value: Double) -> String {
        let size = abs(value)
        let factor = size >= 100 ? 1.0 : size >= 10 ? 10 : size >= 1 ? 100 : 1_000
        let rounded = (value * factor).rounded() / factor
        return factor == 1 ? "\(Int(rounded))" : "\(rounded)"
    }
}
