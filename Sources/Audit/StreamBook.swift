import ClearingModel

/// What money books are kept in: a window and a currency.
struct BookKey: Hashable, Comparable {
    var window: WindowID
    var currency: UInt16
    static func < (a: BookKey, b: BookKey) -> Bool { (a.window, a.currency) < (b.window, b.currency) }
}

/// Both sides of every credit stream: what sources closed, from their payments, against what destinations logged and applied.
///
/// Only what one side has and the other has not yet is kept, so the memory follows how far the replay of two shards is apart.
final class StreamBook {
    /// A batch as the source's own payments make it.
    struct Closed {
        var cursor: StreamCursor
        var lines: Int
        var total: UInt128
        var amounts: [(key: BookKey, amount: UInt128)]
    }

    /// A batch as the destination applied it.
    struct Applied {
        var cursor: StreamCursor
        var lines: Int
        var total: UInt128
        var index: UInt64
    }

    struct Stream {
        /// Closed and not applied yet: in flight.
        var closed: [Closed] = []
        var closedHead = 0
        /// Applied before the replay of the source closed it.
        var applied: [Applied] = []
        var closedThrough: UInt64 = 0
        var appliedThrough: UInt64 = 0
        var confirmedThrough: UInt64 = 0
        /// Batches up to these were closed, or applied, before the replay of that side begins: nothing is left to compare.
        var closedBefore: UInt64 = 0
        var appliedBefore: UInt64 = 0

        var inFlight: ArraySlice<Closed> { closed[closedHead...] }
    }

    private let shardCount: Int
    private let findings: Findings
    private var streams: [Stream]

    init(shardCount: Int, findings: Findings) {
        self.shardCount = shardCount
        self.findings = findings
        streams = Array(repeating: Stream(), count: (shardCount + 1) * (shardCount + 1))
    }

    private func slot(_ source: Int, _ destination: Int) -> Int { source * (shardCount + 1) + destination }
    func stream(from source: Int, to destination: Int) -> Stream { streams[slot(source, destination)] }

    /// Last batch closed, applied, confirmed.
    func numbers(from source: Int, to destination: Int) -> (closed: UInt64, applied: UInt64, confirmed: UInt64) {
        let at = slot(source, destination)
        return (streams[at].closedThrough, streams[at].appliedThrough, streams[at].confirmedThrough)
    }

    func close(_ batch: Closed, from source: Int, to destination: Int) {
        let at = slot(source, destination)
        streams[at].closedThrough = batch.cursor.number
        if batch.cursor.number <= streams[at].appliedBefore { return }
        if let first = streams[at].applied.first, first.cursor.number == batch.cursor.number {
            streams[at].applied.removeFirst()
            compare(batch, first, source, destination)
        } else {
            streams[at].closed.append(batch)
        }
    }

    func apply(_ batch: Applied, from source: Int, to destination: Int) {
        let at = slot(source, destination)
        streams[at].appliedThrough = batch.cursor.number
        if batch.cursor.number <= streams[at].closedBefore { return }
        guard streams[at].closedHead < streams[at].closed.count else { return streams[at].applied.append(batch) }
        let first = streams[at].closed[streams[at].closedHead]
        guard first.cursor.number == batch.cursor.number else { return streams[at].applied.append(batch) }
        streams[at].closedHead += 1
        if streams[at].closedHead * 2 > streams[at].closed.count + 32 {
            streams[at].closed.removeFirst(streams[at].closedHead)
            streams[at].closedHead = 0
        }
        compare(first, batch, source, destination)
    }

    func confirm(_ number: UInt64, from source: Int, to destination: Int) {
        let at = slot(source, destination)
        streams[at].confirmedThrough = max(streams[at].confirmedThrough, number)
    }

    /// What a source's state says at the start of its replay: batches after `confirmed` are in it.
    func restore(from source: Int, to destination: Int, confirmed: UInt64, closed: UInt64, batches: [Closed]) {
        let at = slot(source, destination)
        streams[at].closedBefore = confirmed
        streams[at].closedThrough = closed
        streams[at].confirmedThrough = confirmed
        streams[at].closed = batches
        dropApplied(at)
    }

    /// What a destination's state says at the start of its replay.
    func restore(from source: Int, to destination: Int, applied: UInt64) {
        let at = slot(source, destination)
        streams[at].appliedBefore = applied
        streams[at].appliedThrough = applied
        dropApplied(at)
    }

    private func dropApplied(_ at: Int) {
        streams[at].closed.removeAll { $0.cursor.number <= streams[at].appliedBefore }
    }

    private func compare(_ closed: Closed, _ applied: Applied, _ source: Int, _ destination: Int) {
        guard closed.cursor != applied.cursor else { return }
        findings.problem(
            "credit batch \(closed.cursor.number) from shard \(source) to shard \(destination): the payments of shard "
                + "\(source) up to entry \(closed.cursor.sourceIndex) make \(closed.lines) lines over \(closed.total), "
                + "shard \(destination) credited \(applied.lines) lines over \(applied.total) in entry \(applied.index)"
        )
    }

    /// Streams whose destination is ahead of what the source's replay has reached, as (source, destination).
    var ahead: [(source: Int, destination: Int)] {
        pairs.filter { !streams[slot($0.source, $0.destination)].applied.isEmpty }
    }

    /// Streams whose source logged a confirmation that the destination's replay has not reached.
    var unapplied: [(source: Int, destination: Int)] {
        pairs.filter {
            let stream = streams[slot($0.source, $0.destination)]
            return stream.confirmedThrough > stream.appliedThrough
        }
    }

    private var pairs: [(source: Int, destination: Int)] {
        (1...max(shardCount, 1)).flatMap { source in
            (1...max(shardCount, 1)).map { (source, $0) }
        }
    }
}
