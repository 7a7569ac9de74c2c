import LocalCluster
import Workload

/// One case of the benchmark: what is offered, and how.
public struct BenchCase: Hashable, Sendable {
    public enum Offer: Hashable, Sendable {
        /// As fast as it goes.
        case maximum
        case rate(Double)
        /// A rate, then another from one moment to the next.
        case step(from: Double, to: Double)
        /// A rate while leaders are killed.
        case kills(rate: Double)
        /// As fast as it goes until so many are accepted.
        case payments(UInt64)
    }

    public var name: String
    /// For people, a line.
    public var summary: String
    public var offer: Offer
    public var batch = 1
    /// Connections in all, as a service bureau.
    public var connections = 16
    /// Payments in flight where there is no rate; `nil` as a load has it.
    public var window: Int?
    public var requestsPerConnection: Int?
    public var requestsPerShard: Int?
    public var credits = LoadCredits.mixed
    /// Whether it runs without being named.
    public var isStandard = true

    /// In the order in which they run.
    public static let all: [BenchCase] = [
        BenchCase(
            name: "single-max", summary: "one payment a request, pipelined, 16 connections, as fast as it goes",
            offer: .maximum),
        BenchCase(
            name: "single-80k", summary: "one payment a request, 16 connections, 80,000/s open loop",
            offer: .rate(80_000)),
        BenchCase(
            name: "batch-max", summary: "8,000 payments a request, 4 requests in flight per shard", offer: .maximum,
            batch: 8_000, requestsPerShard: 4),
        BenchCase(
            name: "batch-64", summary: "64 payments a request, 32 connections, one request in flight on each",
            offer: .maximum, batch: 64, connections: 32, window: 32 * 64, requestsPerConnection: 1),
        BenchCase(
            name: "lone", summary: "one payment in flight: the latency of one payment", offer: .maximum,
            connections: 3, window: 1),
        BenchCase(
            name: "cross-0", summary: "as batch-max, no credit crosses shards, over all creditors", offer: .maximum,
            batch: 8_000, requestsPerShard: 4, credits: .inside),
        BenchCase(
            name: "cross-100", summary: "as batch-max, every credit crosses shards, over all creditors",
            offer: .maximum, batch: 8_000, requestsPerShard: 4, credits: .across),
        BenchCase(
            name: "step", summary: "20,000/s, then 80,000/s from one moment to the next",
            offer: .step(from: 20_000, to: 80_000)),
        BenchCase(
            name: "failover", summary: "80,000/s while the node that leads most is killed, again and again",
            offer: .kills(rate: 80_000)),
        BenchCase(
            name: "long", summary: "50 million payments as batch-max; needs \(LongRun.diskGigabytes) GB of disk",
            offer: .payments(50_000_000), batch: 8_000, requestsPerShard: 4, isStandard: false),
    ]

    /// The cases with these names, in the order of the table; without a name the standard ones.
    public static func chosen(_ names: [String]) throws(FlagError) -> [BenchCase] {
        for name in names where !all.contains(where: { $0.name == name }) {
            throw FlagError("--case '\(name)': choose of \(all.map(\.name).joined(separator: ", "))")
        }
        return all.filter { names.isEmpty ? $0.isStandard : names.contains($0.name) }
    }

    /// Shorter cases say less, and the report says that.
    public static let fullSeconds = 20.0

    /// Seconds before the measurement: a quarter of it, 5 at most.
    public static func warmUp(seconds: Double) -> Double { min(5, seconds / 4) }

    /// Longest time that a case without a duration of its own may take.
    static let longestSeconds = 3_600.0

    /// Makes a load of this case.
    ///
    /// - Parameter seconds: how long is measured; kills and counts end the load themselves.
    public func configure(_ load: inout LoadConfiguration, seconds: Double) {
        let warmUp = Self.warmUp(seconds: seconds)
        load.warmUpSeconds = warmUp
        switch offer {
        case .maximum: load.plan = .maximum(seconds: warmUp + seconds)
        case .rate(let rate): load.plan = .rate(rate, seconds: warmUp + seconds)
        case .step(let from, let to):
            load.plan = LoadPlan(steps: [
                .init(rate: from, seconds: warmUp + seconds / 2), .init(rate: to, seconds: seconds),
            ])
            // A p99 every tenth of a second: when it is small again is what is asked.
            load.intervalSeconds = 0.1
        case .kills(let rate): load.plan = .rate(rate, seconds: Self.longestSeconds)
        case .payments:
            load.plan = .maximum(seconds: Self.longestSeconds)
            load.warmUpSeconds = 0
        }
        load.batch = batch
        load.connections = connections
        load.requestsPerConnection = requestsPerConnection
        load.requestsPerShard = requestsPerShard
        load.window = window
        load.credits = credits
        load.journalKept = Int(expectedPayments(seconds: warmUp + seconds))
    }

    /// Payments that the whole load will have sent, if not more.
    private func expectedPayments(seconds: Double) -> Double {
        switch offer {
        case .maximum: min(seconds * (window == 1 ? 5_000 : batch > 1 ? 1_200_000 : 700_000), 50_000_000)
        case .rate(let rate), .kills(let rate): seconds * rate
        case .step(let from, let to): seconds * max(from, to)
        case .payments(let count): Double(count)
        }
    }
}
