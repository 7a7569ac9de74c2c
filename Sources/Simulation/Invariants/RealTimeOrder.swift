import ClearingModel

/// A place in a shard's log.
struct LogSlot: Comparable {
    var index: UInt64
    var slot: Int
    static let start = LogSlot(index: 0, slot: 0)
    static func < (a: LogSlot, b: LogSlot) -> Bool { (a.index, a.slot) < (b.index, b.slot) }
}

/// Linearizability of one shard, from the order in which clients sent and heard.
struct RealTimeOrder: Invariant {
    static let rule =
        "what was acknowledged before another was sent stands before it in the log of the shard, and queries and positions "
        + "see it (FAULTS, real-time order; Raft thesis §6.4)"
    private(set) var tally = Tally()

    /// What a client was told of an id.
    struct Acknowledged {
        var shard: ShardID
        var outcome: Outcome
        var index: LogIndex
        var at: MonotonicTime
    }

    /// By shard: the furthest place that anybody was told of.
    private var told: [LogSlot]
    /// By id: how far its shard was told of when the id was first sent.
    private var sentAfter: [TransactionID: LogSlot] = [:]
    private var acknowledged: [TransactionID: Acknowledged] = [:]
    /// In the order in which they were acknowledged first.
    private(set) var ids: [TransactionID] = []

    init(shards: Int) { told = Array(repeating: .start, count: shards) }

    subscript(id: TransactionID) -> Acknowledged? { acknowledged[id] }

    /// A client sends an id; the first time counts.
    mutating func sent(_ id: TransactionID, to shard: ShardID) {
        let place = told[Int(shard.rawValue)]
        if sentAfter[id] == nil { sentAfter[id] = place }
    }

    /// A client was told where an id was decided. `isOwn`: by the very record that it had sent.
    mutating func told(
        _ id: TransactionID, _ decision: Decision, _ shard: ShardID, isOwn: Bool, at now: MonotonicTime
    ) -> String? {
        let place = LogSlot(index: decision.index, slot: Int(decision.slot))
        defer { told[Int(shard.rawValue)] = max(told[Int(shard.rawValue)], place) }
        if let outcome = decision.outcome, outcome != .dayNotOpen, acknowledged[id] == nil {
            acknowledged[id] = Acknowledged(shard: shard, outcome: outcome, index: LogIndex(decision.index), at: now)
            ids.append(id)
        }
        guard isOwn, let after = sentAfter[id] else { return nil }
        tally.checks += 1
        if place > after { return nil }
        return
            "\(id) was decided in entry \(place.index), slot \(place.slot) of shard \(shard); when it was first sent "
            + "somebody had been told of entry \(after.index), slot \(after.slot)"
    }

    func told(of shard: ShardID) -> LogIndex { LogIndex(told[Int(shard.rawValue)].index) }

    /// A position was read as it is after entry `applied`; somebody had been told of entry `after` before it was asked for.
    mutating func position(
        _ participant: ParticipantID, _ shard: ShardID, at applied: LogIndex, after: LogIndex, committed: LogIndex
    ) -> String? {
        tally.checks += 1
        let whole = LogSlot(index: applied.rawValue, slot: .max)
        told[Int(shard.rawValue)] = max(told[Int(shard.rawValue)], whole)
        if applied >= after, applied <= committed { return nil }
        return
            "the position of participant \(participant) was told as of entry \(applied) of shard \(shard), which has "
            + "committed \(committed); when it was asked for somebody had been told of entry \(after)"
    }

    /// A query did not find an id.
    mutating func notFound(_ id: TransactionID, _ shard: ShardID, sentAt: MonotonicTime) -> String? {
        guard let known = acknowledged[id], known.at < sentAt else { return nil }
        tally.checks += 1
        return
            "a query of \(id), sent at \(sentAt), found nothing; it was acknowledged as \(known.outcome.name) in entry "
            + "\(known.index) of shard \(shard) at \(known.at)"
    }
}
