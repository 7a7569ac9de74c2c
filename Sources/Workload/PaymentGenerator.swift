import ClearingModel

/// What a load consists of.
public enum LoadMix: String, Sendable, CaseIterable {
    /// One-phase payments only, all of them fundable, no duplicates.
    case transfers
    /// Payments of all kinds that are built, with DOMAIN's business declines (4.5%), duplicates (0.3%) and status
    /// queries (5%). The shares of kinds that are not built fall to agreement debits.
    case clearing
}

/// Draws payments with the skew of a real network: O(1) and without allocation each.
///
/// Agreement debits and gateway payments go from a bank to the institution that instructs them, QR payments to any
/// institution, payouts from the institution to a bank.
public struct PaymentGenerator {
    public enum Step {
        case payment(identity: Int)
        /// Ask what became of this id.
        case query(TransactionID, identity: Int)
    }

    /// The payment of the last step.
    public private(set) var instruction = Instruction.queryOrVoid(.none)
    /// The business day of new ids.
    public var day: BusinessDay

    private let mix: LoadMix
    private var random: SeededRandom
    private var normal = NormalSource()
    private var sequence: UInt64
    private let kinds: AliasTable
    private let institutions: AliasTable
    private let creditors: AliasTable
    private let banks: AliasTable
    private let institutionIDs: [ParticipantID]
    private let identities: [Int]
    private let creditorIDs: [ParticipantID]
    private let bankIDs: [ParticipantID]
    /// A payment is in its debtor's currency.
    private let institutionCurrencies: [UInt16]
    private let bankCurrencies: [UInt16]
    private let merchantAmount = LogNormal(median: 2_500, mean: 9_000)
    private let payoutAmount = LogNormal(median: 30_000, mean: 328_000)
    /// The last payments, for duplicates and queries.
    private var recent: [(instruction: Instruction, identity: Int)] = []
    private static let recentCount = 4_096

    private static let kindList: [InstructionKind] = [
        .agreementDebit, .qrMerchantPresented, .qrConsumerPresented, .payout, .gatewayPayment,
    ]

    /// `nil` where the mix chooses.
    private let choice: CreditorChoice?

    /// - Parameters:
    ///   - identities: for each certificate the participants it names; only these instruct.
    ///   - slots: where positions are; only `credits` other than the mix's ask it.
    ///   - sequence: first sequence number; ids of two loads must not meet.
    /// - Returns: `nil` where no certificate names an institution of the population.
    public init?(
        population: Population, identities: [[ParticipantID]], mix: LoadMix, credits: LoadCredits = .mixed,
        slots: SlotMap = SlotMap(shardCount: 1), seed: UInt64, day: BusinessDay, sequence: UInt64
    ) {
        let played = population.instructing.compactMap { one in
            identities.firstIndex { $0.contains(one.participant) }.map { (one, $0) }
        }
        guard !played.isEmpty else { return nil }
        self.mix = mix
        self.day = day
        self.sequence = sequence
        random = SeededRandom(seed: seed)
        let unbuilt = mix == .clearing ? 5.75 : 0
        kinds = AliasTable(weights: [60 + unbuilt, 14 * 2 / 3, 14 / 3, 12, 3])
        institutions = AliasTable(weights: played.map(\.0.share))
        institutionIDs = played.map(\.0.participant)
        self.identities = played.map(\.1)
        creditors = AliasTable(weights: population.instructing.map(\.share))
        creditorIDs = population.instructing.map(\.participant)
        banks = AliasTable(weights: population.banks.map(\.share))
        bankIDs = population.banks.map(\.participant)
        let currencies = Dictionary(
            population.participants.map { ($0.id, $0.currency) }, uniquingKeysWith: { first, _ in first })
        institutionCurrencies = played.map { currencies[$0.0.participant] ?? Population.currency }
        bankCurrencies = population.banks.map { currencies[$0.participant] ?? Population.currency }
        choice = CreditorChoice(credits, population: population, slots: slots)
        if mix == .clearing { recent.reserveCapacity(Self.recentCount) }
    }

    /// Whether payments with such credits can be drawn at all; `next` must not be asked otherwise.
    public var canCredit: Bool { choice?.isPossible ?? true }

    /// Draws the next step; a payment stands in `instruction` then.
    @inline(__always)
    public mutating func next() -> Step {
        guard mix == .clearing else { return .payment(identity: draw()) }
        return nextOfClearing()
    }

    /// A fresh payment into `instruction`; the identity that sends it.
    @inline(__always)
    private mutating func draw() -> Int {
        while true {
            if let identity = drawOne() { return identity }
        }
    }

    /// `nil` for a debtor that the choice of creditors leaves out.
    @inline(__always)
    private mutating func drawOne() -> Int? {
        let position = institutions.draw(&random)
        let institution = institutionIDs[position]
        let kind = Self.kindList[kinds.draw(&random)]
        let bankPosition = banks.draw(&random)
        let bank = bankIDs[bankPosition]
        let bits = random.next()
        var debtor = bank
        switch kind {
        case .payout:
            debtor = institution
            instruction.creditor = bank
        case .qrMerchantPresented, .qrConsumerPresented:
            instruction.creditor = creditorIDs[creditors.draw(&random)]
        default: instruction.creditor = institution
        }
        if let choice {
            guard let creditor = choice.draw(for: debtor, &random) else { return nil }
            instruction.creditor = creditor
        }
        instruction.id = TransactionID(debtor: debtor, instructing: institution, day: day, sequence: sequence)
        sequence = (sequence + 1) & TransactionID.maximumSequence
        let gauss = normal.draw(&random)
        instruction.amount = kind == .payout ? payoutAmount.amount(normal: gauss) : merchantAmount.amount(normal: gauss)
        instruction.currency =
            kind == .payout ? institutionCurrencies[position] : bankCurrencies[bankPosition]
        instruction.kindCode = kind.rawValue
        instruction.purpose = UInt16(truncatingIfNeeded: 5_000 + bits % 1_000)
        instruction.debtorAccount = bits | 1
        instruction.creditorAccount = bits &* 0x9E37_79B9_7F4A_7C15 | 1
        instruction.merchant = kind == .payout ? 0 : bits >> 20 | 1
        instruction.reference = sequence
        instruction.agreement = kind == .agreementDebit ? bits >> 8 | 1 : 0
        instruction.digest = (bits, bits &* 0xBF58_476D_1CE4_E5B9, ~bits, bits &* 0x94D0_49BB_1331_11EB)
        return identities[position]
    }

    private mutating func nextOfClearing() -> Step {
        // Per mille and a half: 50 queries, 3 duplicates, 45 declines of 1,000.
        let dice = random.below(1_000)
        if dice < 53, !recent.isEmpty {
            let (earlier, identity) = recent[Int(random.below(UInt64(recent.count)))]
            if dice < 50 { return .query(earlier.id, identity: identity) }
            instruction = earlier
            return .payment(identity: identity)
        }
        let identity = draw()
        switch dice {
        // What a business rule declines, in the proportion of a network's own statistics: mostly wrong accounts.
        case 53..<78: instruction.creditor = ParticipantID(UInt32(Limits.maximumParticipants) + 1)
        case 78..<88: instruction.amount = 0
        case 88..<98: instruction.currency = instruction.currency == 840 ? 978 : 840
        default: break
        }
        if recent.count < Self.recentCount {
            recent.append((instruction, identity))
        } else {
            recent[Int(sequence % UInt64(Self.recentCount))] = (instruction, identity)
        }
        return .payment(identity: identity)
    }
}
