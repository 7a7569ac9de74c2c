import ClearingModel
import Client

/// Everything a load needs to know.
public struct LoadConfiguration: Sendable {
    public var topology: ClusterTopology
    /// Certificates to play; see `PaymentGenerator`.
    public var identities: [ClientIdentity]
    /// The cluster's participants, as its launcher generated them.
    public var population: Population
    public var plan: LoadPlan
    public var mix = LoadMix.transfers
    public var credits = LoadCredits.mixed
    public var seed: UInt64 = 1
    /// Records in one request at most. With 1 each payment is a request of its own.
    public var batch = 1
    /// Longest time that a record waits for its request to fill, where `batch` is above 1.
    public var lingerMilliseconds = 5
    /// Connections of each identity, dealt to the nodes in turn; `nil` = one to each node.
    public var connections: Int?
    /// Requests in flight on one connection and of one shard; `nil` = as many as a node reads, and no bound of its own.
    /// What is above waits here, and its latency counts.
    public var requestsPerConnection: Int?
    public var requestsPerShard: Int?
    /// How long a payment is asked for before it counts as unknown.
    public var timeoutSeconds = 10.0
    /// Payments in flight in steps without a rate, beside those of requests that are being filled; `nil` = what the
    /// requests per shard make, or 32,768.
    public var window: Int?
    /// Seconds at the beginning of the plan that do not count.
    public var warmUpSeconds = 0.0
    /// Payments in flight at most; what is due beyond counts as not sent.
    public var maximumPending = 1 << 20
    /// First sequence number of new ids; `nil` derives one from the time of day, apart from any other load of the day.
    public var sequence: UInt64?
    /// Processes of the cluster, for CPU time per transaction.
    public var processes: [Int32] = []
    public var journalPath: String?
    /// Keeps what the journal will hold in memory (56 bytes a payment) and writes it once the load is over, so that the
    /// journal costs the measurement nothing: memory for so many payments has been touched when the load begins.
    public var journalKept: Int?
    public var seriesPath: String?
    /// A line a second, on standard error by default.
    public var live: @Sendable (String) -> Void = { _ in }
    /// Every interval of the load as figures, and how long one is. Called on the load's loop, as `live` and `phase` are.
    public var interval: @Sendable (LoadInterval) -> Void = { _ in }
    public var intervalSeconds = 1.0
    /// The measurement begins, or is over.
    public var phase: @Sendable (LoadPhase) -> Void = { _ in }
    public var watch: AcknowledgementWatch?
    /// Asked a few times a second; `true` ends the load early, and the result still counts.
    public var shouldStop: @Sendable () -> Bool = { false }

    public init(
        topology: ClusterTopology, identities: [ClientIdentity], population: Population, plan: LoadPlan
    ) {
        self.topology = topology
        self.identities = identities
        self.population = population
        self.plan = plan
    }

    /// A payment that leaves this much after its intended time counts as late.
    static let lateNanoseconds: UInt64 = 10_000_000
    /// The generator was the limit if more than this part of the payments was late, or it was busier than this.
    static let lateLimit = 0.01
    static let busyLimit = 0.95

    var paymentsInFlight: Int { window ?? requestsPerShard.map { $0 * batch * topology.shardCount } ?? 32_768 }

    var clientConfiguration: ClientConfiguration {
        var client = ClientConfiguration()
        client.name = "suanpan load"
        client.maximumPending = maximumPending
        client.connections = connections
        if let requestsPerConnection { client.maximumInflightRequests = requestsPerConnection }
        if let requestsPerShard { client.maximumInflightOfShard = requestsPerShard }
        client.seed = seed
        return client
    }
}

/// Where a load stands.
public enum LoadPhase: Sendable {
    /// The warm-up is over: from here on everything counts.
    case measuring
    /// Nothing new is offered; what is in flight is waited for.
    case draining
}

/// Why a load cannot run.
public enum LoadError: Error, Hashable, Sendable, CustomStringConvertible {
    case noIdentity
    case notConnected([String])
    case file(path: String, code: Int32)
    case invalid(String)

    public var description: String {
        switch self {
        case .noIdentity:
            "no certificate of an instructing participant: the load plays only identities whose certificates it has"
        case .notConnected(let troubles):
            "no node can be reached" + (troubles.last.map { ": \($0)" } ?? "")
        case .file(let path, let code): "\(path) cannot be written: errno \(code)"
        case .invalid(let what): what
        }
    }
}
