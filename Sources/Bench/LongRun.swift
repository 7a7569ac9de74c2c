import Workload

/// What the case `long` asks: whether 50 million stored payments make anything slower.
public enum LongRun {
    /// Three logs of 50 million records, segments filled ahead, checkpoints, and the journal.
    public static let diskGigabytes = 32
    /// Payments at which rate, p99 and memory are taken.
    public static let marks: [UInt64] = [5_000_000, 25_000_000, 50_000_000]
    /// Payments before a mark that its rate is of.
    static let stretch: UInt64 = 5_000_000
}

/// One mark of the case `long`.
public struct LongMark: Hashable, Sendable {
    public var payments: UInt64
    /// Over the five million before it.
    public var acceptedPerSecond = 0.0
    /// Median of the p99 of its seconds.
    public var p99Ms = 0.0
    /// All nodes together, at the mark.
    public var residentBytes: UInt64 = 0

    /// - Parameter intervals: of the whole load, in order.
    public init(payments: UInt64, _ intervals: [LoadInterval], residentBytes: UInt64) {
        self.payments = payments
        self.residentBytes = residentBytes
        var before: UInt64 = 0
        var (accepted, seconds, p99s): (UInt64, Double, [Double]) = (0, 0, [])
        for interval in intervals {
            if before + LongRun.stretch >= payments, before < payments {
                accepted += interval.accepted
                seconds += interval.seconds
                p99s.append(interval.p99Ms)
            }
            before += interval.accepted
        }
        acceptedPerSecond = seconds > 0 ? Double(accepted) / seconds : 0
        p99Ms = p99s.isEmpty ? 0 : p99s.sorted()[p99s.count / 2]
    }
}

/// What the case `long` came to.
public struct LongFigures: Hashable, Sendable {
    public var marks: [LongMark]
    public var nodes: Int
    /// From the start of all processes to a leader for every shard.
    public var restartSeconds: Double?

    public init(marks: [LongMark], nodes: Int, restartSeconds: Double?) {
        self.marks = marks
        self.nodes = nodes
        self.restartSeconds = restartSeconds
    }

    /// Memory that each payment between the first mark and the last took on each node; `nil` with fewer than two marks.
    public var bytesPerPaymentAndNode: Double? {
        guard let first = marks.first, let last = marks.last, last.payments > first.payments, nodes > 0 else {
            return nil
        }
        return (Double(last.residentBytes) - Double(first.residentBytes))
            / Double(last.payments - first.payments) / Double(nodes)
    }
}
