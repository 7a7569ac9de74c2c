/// A slot of the routing table; there are `SlotMap.slotCount` of them, fixed for ever.
public struct Slot: Identifier {
    public let rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }
}

/// The map from slot to shard, fixed when the cluster is made and known to nodes and clients, with the largest
/// participants pinned apart.
///
/// `route` is the one function that places a transaction. A participant has one lane today; later the directory may
/// split the largest into lanes that each hold a share of its quota, so no code may take a participant for one shard.
public struct SlotMap: Hashable, Sendable {
    public static let slotCount = 4096

    /// Shard of each slot.
    public private(set) var shards: [ShardID]
    /// Participants with a shard of their own choice, ascending by participant.
    public private(set) var pins: [Pin]

    public struct Pin: Hashable, Sendable {
        public var participant: ParticipantID
        public var shard: ShardID
        public init(participant: ParticipantID, shard: ShardID) {
            self.participant = participant
            self.shard = shard
        }
    }

    /// Slots dealt round robin over shards 1 to `shardCount`, but none to the shards that pins fill up.
    ///
    /// - Parameters:
    ///   - largest: participants to pin apart, with their share of all debits (0 to 1), largest first.
    public init(shardCount: Int, largest: [(participant: ParticipantID, share: Double)] = []) {
        precondition(shardCount >= 1 && shardCount <= Limits.maximumShards, "shards: 1 to \(Limits.maximumShards)")
        var load = [Double](repeating: 0, count: shardCount)
        var pins: [Pin] = []
        var rest = 1.0
        for (participant, share) in largest {
            // Greedy: the next largest goes to the least loaded shard (longest-processing-time rule).
            let target = load.indices.min { (load[$0], $0) < (load[$1], $1) }!
            load[target] += share
            rest -= share
            pins.append(Pin(participant: participant, shard: ShardID(UInt16(target + 1))))
        }
        // The rest spreads evenly over slots: fill the shards up to one level.
        let perSlot = max(rest, 0.001) / Double(Self.slotCount)
        shards = (0..<Self.slotCount).map { _ in
            let target = load.indices.min { (load[$0], $0) < (load[$1], $1) }!
            load[target] += perSlot
            return ShardID(UInt16(target + 1))
        }
        self.pins = pins.sorted { $0.participant < $1.participant }
    }

    /// Rebuilds a map from its parts, as read from a file or message; `nil` where they break a rule.
    public init?(shards: [ShardID], pins: [Pin], shardCount: Int) {
        let valid = { (s: ShardID) in !s.isDirectory && Int(s.rawValue) <= shardCount }
        guard shards.count == Self.slotCount, shards.allSatisfy(valid), pins.allSatisfy({ valid($0.shard) }),
            zip(pins, pins.dropFirst()).allSatisfy({ $0.participant < $1.participant })
        else { return nil }
        self.shards = shards
        self.pins = pins
    }

    /// The shard that decides transactions of this debtor with this sequence.
    @inlinable
    public func route(_ participant: ParticipantID, sequence: UInt64) -> ShardID {
        var low = 0
        var high = pins.count
        while low < high {
            let middle = (low + high) / 2
            if pins[middle].participant < participant { low = middle + 1 } else { high = middle }
        }
        if low < pins.count, pins[low].participant == participant { return pins[low].shard }
        return shards[Int(Self.slot(of: participant).rawValue)]
    }

    @inlinable public func route(_ id: TransactionID) -> ShardID { route(id.debtor, sequence: id.sequence) }

    /// The shard that holds the position credited for `participant`.
    @inlinable public func home(of participant: ParticipantID) -> ShardID { route(participant, sequence: 0) }

    /// Slot of a participant that is not pinned: the top 12 bits of a multiplicative hash (Knuth, TAOCP 3, §6.4).
    @inlinable
    public static func slot(of participant: ParticipantID) -> Slot {
        Slot(UInt16(truncatingIfNeeded: (UInt64(participant.rawValue) &* 0x9E37_79B9_7F4A_7C15) >> 52))
    }
}
