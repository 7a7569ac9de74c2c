import ClearingModel

/// Who is credited.
public enum LoadCredits: String, Sendable, CaseIterable {
    /// As the mix says: mostly the largest institutions.
    case mixed = "mix"
    /// Anybody whose position is on the debtor's own shard: no credit crosses.
    case inside
    /// Anybody whose position is on another shard: every credit crosses.
    case across
}

/// Draws creditors uniformly over all participants, by the shard of their position.
///
/// A debtor that is alone on its shard can pay nobody there. It is left out of `inside`, and of `across` too, so that the
/// two differ in nothing but the crossing.
struct CreditorChoice: Sendable {
    private let isInside: Bool
    private let slots: SlotMap
    /// Grouped by shard.
    private let participants: [ParticipantID]
    private let ranges: [Range<Int>]

    /// - Returns: `nil` where the creditor is the mix's.
    init?(_ credits: LoadCredits, population: Population, slots: SlotMap) {
        guard credits != .mixed else { return nil }
        isInside = credits == .inside
        self.slots = slots
        let currency = population.banks.first.flatMap { bank in
            population.participants.first { $0.id == bank.participant }?.currency
        }
        let candidates = population.participants.filter { $0.currency == currency && $0.status.mayReceive }.map(\.id)
        let homes = Dictionary(grouping: candidates) { slots.home(of: $0) }
        let last = homes.keys.max() ?? .directory
        var grouped: [ParticipantID] = []
        ranges = (0...last.rawValue).map { shard in
            let start = grouped.count
            grouped += homes[ShardID(shard)] ?? []
            return start..<grouped.count
        }
        participants = grouped
    }

    /// Whether there is any payment to make.
    var isPossible: Bool { ranges.contains { $0.count > 1 && (isInside || $0.count < participants.count) } }

    /// A creditor for a debtor; `nil` for a debtor that is left out.
    @inline(__always)
    func draw(for debtor: ParticipantID, _ random: inout SeededRandom) -> ParticipantID? {
        let shard = Int(slots.home(of: debtor).rawValue)
        guard shard < ranges.count else { return nil }
        let own = ranges[shard]
        guard own.count > 1 else { return nil }
        if isInside {
            let index = own.lowerBound + Int(random.below(UInt64(own.count)))
            if participants[index] != debtor { return participants[index] }
            return participants[index + 1 < own.upperBound ? index + 1 : own.lowerBound]
        }
        let others = participants.count - own.count
        guard others > 0 else { return nil }
        let index = Int(random.below(UInt64(others)))
        return participants[index < own.lowerBound ? index : index + own.count]
    }
}
