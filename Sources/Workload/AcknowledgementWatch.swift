import ClearingModel
import Client
import Synchronization

/// Tells when each shard was first heard of again after a fault: when this client received the first acceptance of a
/// payment that the shard decided after a moment.
public final class AcknowledgementWatch: Sendable {
    private let moment = Atomic<UInt64>(0)
    private let first = Mutex<[ShardID: MonotonicTime]>([:])

    public init() {}

    /// Forgets what was seen, and looks for decisions with a later ledger time from here on.
    public func start(after time: WallTime) {
        first.withLock { $0 = [:] }
        moment.store(time.rawValue, ordering: .releasing)
    }

    /// When the first such acceptance came in, by shard.
    public var acknowledged: [ShardID: MonotonicTime] { first.withLock { $0 } }

    /// The load's side: one look at the watch for many payments, and the lock once a shard and fault.
    struct Reader {
        private let watch: AcknowledgementWatch
        private var after: UInt64 = 0
        private var isHeard: [Bool]
        private var silent = 0

        init(_ watch: AcknowledgementWatch, shards: Int) {
            self.watch = watch
            isHeard = [Bool](repeating: true, count: shards)
        }

        /// Call before a run of `ended`.
        mutating func look() {
            let moment = watch.moment.load(ordering: .acquiring)
            guard moment != after else { return }
            after = moment
            silent = isHeard.count
            for shard in isHeard.indices { isHeard[shard] = false }
        }

        @inline(__always)
        mutating func ended(_ result: RecordResult, _ now: MonotonicTime) {
            guard silent > 0, case .decided(let decision) = result, decision.outcomeCode == Outcome.accepted.rawValue,
                decision.ledgerTime.rawValue > after, !isHeard[Int(decision.shard.rawValue)]
            else { return }
            isHeard[Int(decision.shard.rawValue)] = true
            silent -= 1
            watch.first.withLock { $0[decision.shard] = now }
        }
    }
}
