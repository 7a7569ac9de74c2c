/// One interval of a running load, a second by default.
public struct LoadInterval: Hashable, Sendable {
    /// From 1.
    public var number = 0
    /// Seconds from the first payment to its end.
    public var end = 0.0
    public var seconds = 0.0
    public var isWarmUp = false
    public var offered: UInt64 = 0
    public var sent: UInt64 = 0
    public var accepted: UInt64 = 0
    public var rejected: UInt64 = 0
    public var unknown: UInt64 = 0
    public var late: UInt64 = 0
    public var notSent: UInt64 = 0
    /// Of the payments that ended in it, from when each was due.
    public var p50Ms = 0.0
    public var p99Ms = 0.0
    public var maxMs = 0.0
    /// At its end.
    public var inFlight = 0
    /// Part of it that the generator's thread was busy.
    public var generatorBusy = 0.0

    public init() {}

    static let header =
        "second,offered,sent,accepted,rejected,unknown,late,notSent,p50Ms,p99Ms,maxMs,inFlight,generatorBusy\n"

    /// A rest at the end says little.
    func isWhole(of wanted: Double) -> Bool { seconds > wanted / 2 }

    /// A line for people.
    var text: String {
        let rate = { (count: UInt64) in UInt64(Double(count) / max(seconds, 1e-9)) }
        var text = "\(number) s: \(rate(offered))/s offered, \(rate(accepted))/s accepted"
        text += ", p50 \(decimal(p50Ms)) ms, p99 \(decimal(p99Ms)) ms, \(inFlight) in flight"
        if rejected > 0 { text += ", \(rejected) rejected" }
        if unknown > 0 { text += ", \(unknown) unknown" }
        if notSent > 0 { text += ", \(notSent) not sent" }
        if late > 0 { text += ", \(late) late" }
        return text + ", generator \(Int(generatorBusy * 100))%" + (isWarmUp ? ", warming up" : "")
    }

    var csv: String {
        let counts = [UInt64(number), offered, sent, accepted, rejected, unknown, late, notSent]
        return counts.map { "\($0)" }.joined(separator: ",")
            + ",\(decimal(p50Ms)),\(decimal(p99Ms)),\(decimal(maxMs)),\(inFlight),\(decimal(generatorBusy))\n"
    }
}
