/// Participants of a generated cluster, with the skew of DOMAIN's "A realistic load".
///
/// Payment institutions 1 to 16 instruct; every other participant is a bank. Two institutions send 92% of all
/// instructions and so receive most credits; one bank pays a quarter of what banks pay. The same count and seed give
/// the same population, so that a launcher, an import and a load agree without talking to each other.
public struct Population: Hashable, Sendable {
    /// A participant and its part of a whole, 0 to 1.
    public struct Share: Hashable, Sendable {
        public var participant: ParticipantID
        public var share: Double
        public init(participant: ParticipantID, share: Double) {
            self.participant = participant
            self.share = share
        }
    }

    public static let instructingCount = 16
    public static let minimumCount = instructingCount + 2
    /// Renminbi, ISO 4217.
    public static let currency: UInt16 = 156
    /// Part of payments that institutions pay out; their debtor is the institution itself.
    public static let payoutShare = 12.0 / 89.0

    /// Shares of the nine largest debtor banks; the rest divide what is left by Zipf's law.
    private static let largestBanks = [0.265, 0.086, 0.066, 0.063, 0.054, 0.052, 0.048, 0.047, 0.043]
    private static let largestInstructing = [0.52, 0.40]

    /// Ascending by id.
    public var participants: [Participant]
    /// One class mandate an institution: every bank's accounts, every payment kind.
    public var mandates: [Mandate]
    /// Institutions by their share of instructions, largest first.
    public var instructing: [Share]
    /// Banks by their share of what banks pay, largest first.
    public var banks: [Share]

    /// - Parameters:
    ///   - count: participants in all, at least `minimumCount`.
    ///   - seed: decides which banks of the long tail are the larger ones.
    public static func generate(count: Int = 3_000, seed: UInt64 = 1) -> Population {
        precondition(
            count >= minimumCount && count <= Limits.maximumParticipants,
            "a generated population has \(minimumCount) to \(Limits.maximumParticipants) participants")
        let institutions = shares(
            ids: (1...UInt32(instructingCount)).map { ParticipantID($0) }, largest: largestInstructing)
        var bankIDs = (UInt32(instructingCount) + 1...UInt32(count)).map { ParticipantID($0) }
        var random = SeededRandom(seed: seed)
        let fixed = min(largestBanks.count, bankIDs.count)
        for last in stride(from: bankIDs.count - 1, to: fixed, by: -1) {
            bankIDs.swapAt(last, fixed + Int(random.below(UInt64(last - fixed + 1))))
        }
        let banks = shares(ids: bankIDs, largest: largestBanks)
        // An institution pays the payouts that it instructs; a bank pays its part of the rest.
        let debits =
            institutions.map { ($0.participant, $0.share * payoutShare * 20, ParticipantKind.paymentInstitution) }
            + banks.map { ($0.participant, $0.share, ParticipantKind.bank) }
        let participants = debits.map { id, share, kind in
            Participant(id: id, kind: kind, currency: currency, limit: limit(share: share))
        }
        return Population(
            participants: participants.sorted { $0.id < $1.id },
            mandates: institutions.map {
                Mandate(instructing: $0.participant, debtors: .every(.bank), maximumAmount: Limits.maximumAmount)
            },
            instructing: institutions, banks: banks)
    }

    /// Participants to pin apart in a slot map, with their share of all debits: those that weigh as much as 1/64.
    public var largest: [(participant: ParticipantID, share: Double)] {
        let debits =
            banks.map { ($0.participant, $0.share * (1 - Self.payoutShare)) }
            + instructing.map { ($0.participant, $0.share * Self.payoutShare) }
        return debits.filter { $0.1 >= 1.0 / 64 }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }
            .map { (participant: $0.0, share: $0.1) }
    }

    /// Lasts for an hour at a million payments a second of 520.00 on average, four times over, and for the largest
    /// single amounts in any case.
    private static func limit(share: Double) -> UInt64 {
        let anHour = 1e6 * 3_600 * 52_000 * 4
        return min(max(UInt64(share * anHour), 10 * Limits.maximumAmount), Limits.maximumParticipantLimit)
    }

    /// The given shares to the first ids, and what they leave to the others by Zipf's law with exponent 1.
    private static func shares(ids: [ParticipantID], largest: [Double]) -> [Share] {
        let rest = max(ids.count - largest.count, 0)
        let left = 1 - largest.reduce(0, +)
        let harmonic = (0..<rest).reduce(0.0) { $0 + 1 / Double($1 + 1) }
        let all = ids.indices.map { index in
            index < largest.count ? largest[index] : left / harmonic / Double(index - largest.count + 1)
        }
        let total = all.reduce(0, +)
        // In a small population the first of the rest may outweigh the last of the largest.
        return zip(ids, all).map { Share(participant: $0, share: $1 / total) }
            .sorted { ($1.share, $0.participant) < ($0.share, $1.participant) }
    }
}
