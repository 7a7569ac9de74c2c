import ClearingModel

/// How many payments a second to offer, and for how long.
public struct LoadPlan: Hashable, Sendable {
    public struct Step: Hashable, Sendable {
        /// Payments a second; `nil` = as many as the cluster takes.
        public var rate: Double?
        public var seconds: Double
        public init(rate: Double?, seconds: Double) {
            self.rate = rate
            self.seconds = seconds
        }
    }

    public var steps: [Step]

    public init(steps: [Step]) {
        precondition(!steps.isEmpty && steps.allSatisfy { $0.seconds > 0 && ($0.rate ?? 1) > 0 }, "steps of a load")
        self.steps = steps
    }

    public static func rate(_ rate: Double, seconds: Double) -> LoadPlan {
        LoadPlan(steps: [Step(rate: rate, seconds: seconds)])
    }

    public static func maximum(seconds: Double) -> LoadPlan { LoadPlan(steps: [Step(rate: nil, seconds: seconds)]) }

    /// Reads `80000`, `20000:30s` or `20000:30s,80000:2m`; a step without a duration lasts `seconds`.
    public init?(_ text: String, seconds: Double) {
        var steps: [Step] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let fields = part.split(separator: ":", omittingEmptySubsequences: false)
            guard (1...2).contains(fields.count), let rate = Double(fields[0]), rate >= 1, rate <= 1e8 else {
                return nil
            }
            guard let length = fields.count == 2 ? Self.seconds(String(fields[1])) : seconds, length > 0 else {
                return nil
            }
            steps.append(Step(rate: rate, seconds: length))
        }
        guard !steps.isEmpty else { return nil }
        self.steps = steps
    }

    /// Reads `500ms`, `30s`, `5m`, `1h`, or a bare number of seconds.
    public static func seconds(_ text: String) -> Double? {
        let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600)]
        for (unit, factor) in units where text.hasSuffix(unit) {
            guard let value = Double(text.dropLast(unit.count)), value > 0, value <= 1e7 else { return nil }
            return value * factor
        }
        guard let value = Double(text), value > 0, value <= 1e7 else { return nil }
        return value
    }

    public var totalSeconds: Double { steps.reduce(0) { $0 + $1.seconds } }

    /// Payments to offer in all, where every step has a rate.
    public var totalPayments: Double { steps.reduce(0) { $0 + ($1.rate ?? 0) * $1.seconds } }
}

/// Walks a plan: which payments are due, and when each was intended.
struct LoadSchedule {
    enum Due {
        /// The next payment was intended at this time, in nanoseconds from the start.
        case at(UInt64)
        /// Send what fits: the step has no rate.
        case unlimited
        /// Nothing is due yet.
        case none
        case ended
    }

    private let plan: LoadPlan
    private var step = 0
    private var stepStart = 0.0
    private var sentInStep = 0.0

    init(plan: LoadPlan) { self.plan = plan }

    /// What is due at `now` nanoseconds from the start; `taken` moves on to the next payment.
    @inline(__always)
    mutating func due(at now: UInt64) -> Due {
        while step < plan.steps.count {
            let current = plan.steps[step]
            let end = stepStart + current.seconds * 1e9
            if let rate = current.rate {
                let intended = stepStart + sentInStep * 1e9 / rate
                if intended < end { return intended <= Double(now) ? .at(UInt64(intended)) : .none }
            } else if Double(now) < end {
                return .unlimited
            }
            step += 1
            stepStart = end
            sentInStep = 0
        }
        return .ended
    }

    @inline(__always)
    mutating func taken() { sentInStep += 1 }

    /// Whether the current step has no rate.
    var isUnlimited: Bool { step < plan.steps.count && plan.steps[step].rate == nil }

    /// Ends the plan here.
    mutating func stop() { step = plan.steps.count }
}
