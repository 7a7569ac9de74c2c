import ClearingModel

/// Counts durations in fixed buckets, for metrics. Bounds are in nanoseconds, ascending.
public struct DurationHistogram: Sendable {
    /// 20 µs to 10 s in steps of 1, 2, 5.
    public static let defaultBounds: [UInt64] = {
        var bounds: [UInt64] = []
        var decade: UInt64 = 10_000
        while decade < 10_000_000_000 {
            bounds += [2 * decade, 5 * decade, 10 * decade]
            decade *= 10
        }
        return bounds
    }()

    public let bounds: [UInt64]
    /// One more than `bounds`: the last is what lies above them all. Not cumulative.
    public private(set) var counts: [UInt64]
    public private(set) var sum: UInt64 = 0
    public private(set) var count: UInt64 = 0
    public private(set) var maximum: UInt64 = 0

    public init(bounds: [UInt64] = defaultBounds) {
        self.bounds = bounds
        counts = [UInt64](repeating: 0, count: bounds.count + 1)
    }

    public mutating func add(nanoseconds: UInt64) {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < nanoseconds { low = middle + 1 } else { high = middle }
        }
        counts[low] += 1
        count += 1
        sum &+= nanoseconds
        maximum = max(maximum, nanoseconds)
    }

    public mutating func add(_ span: MonotonicTime.Span) { add(nanoseconds: span.nanoseconds) }
}

/// What the disk threads did so far; kept on the event loop from the batches they deliver.
public struct DiskStatistics: Sendable {
    public private(set) var writes: UInt64 = 0
    public private(set) var bytesWritten: UInt64 = 0
    public private(set) var syncs: UInt64 = 0
    public private(set) var reads: UInt64 = 0
    public private(set) var bytesRead: UInt64 = 0
    /// Time in which the log thread, and the read and background threads, were at work, in nanoseconds. Divided by the time passed: how busy.
    public private(set) var writeLaneBusy: UInt64 = 0
    public private(set) var readLaneBusy: UInt64 = 0
    /// Of the log thread alone.
    public private(set) var writeTime = DurationHistogram()
    public private(set) var syncTime = DurationHistogram()

    public init() {}

    public mutating func add(_ batch: DiskBatch) {
        for timing in batch.timings {
            switch timing.work {
            case .write:
                writes += 1
                bytesWritten += UInt64(timing.bytes)
                if timing.lane == .write { writeTime.add(nanoseconds: timing.nanoseconds) }
            case .sync:
                syncs += 1
                if timing.lane == .write { syncTime.add(nanoseconds: timing.nanoseconds) }
            case .read:
                reads += 1
                bytesRead += UInt64(timing.bytes)
            case .other: break
            }
            switch timing.lane {
            case .write: writeLaneBusy += timing.nanoseconds
            case .read, .background: readLaneBusy += timing.nanoseconds
            }
        }
    }
}
