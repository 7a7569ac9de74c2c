import ClearingModel
import DequeModule

/// Payments sent lately by any client, to be repeated, altered and asked for by any other.
final class RecentPayments {
    private var list: [Instruction] = []
    private var next = 0
    private static let kept = 256

    func add(_ instruction: Instruction) {
        if list.count < Self.kept {
            list.append(instruction)
        } else {
            list[next] = instruction
            next = (next + 1) % Self.kept
        }
    }

    func recall(_ random: inout SeededRandom) -> Instruction? {
        list.isEmpty ? nil : list[Int(random.below(UInt64(list.count)))]
    }

    /// The newest: another client's, probably under way at this moment.
    var newest: Instruction? { list.isEmpty ? nil : list[(next + list.count - 1) % list.count] }
}

/// What a simulated participant does: pays, repeats, alters, abandons, asks, voids; and asks again for whatever is unknown.
struct SimulatedWorkload {
    struct Wish {
        enum Kind {
            case submit(Instruction)
            case query(TransactionID)
            case position(ParticipantID)
        }
        var token: UInt64
        var kind: Kind
        /// When it was made and how long it waits, in simulated microseconds.
        var at: UInt64
        var patience: UInt64
    }

    private let parameters: WorldParameters
    private let client: Int
    private var random: SeededRandom
    private var nextToken: UInt64 = 1
    private var nextSequence: UInt64 = 1
    private var lastTime: UInt64 = 0
    /// Payments owed to the rate, in millionths.
    private var owed: UInt64 = 0
    private var pending: [UInt64: Wish] = [:]
    private let recent: RecentPayments
    /// Whose outcome is unknown: asked again until it is known.
    private(set) var unresolved: Deque<Instruction> = []
    /// By how much the rate is multiplied.
    var surge: UInt64 = 1
    var isPaying = false
    /// Settles what is unknown with no other work, in the liveness phase.
    var isSettling = false

    init(parameters: WorldParameters, client: Int, recent: RecentPayments, seed: UInt64) {
        self.recent = recent
        self.parameters = parameters
        self.client = client
        random = SeededRandom(seed: seed)
    }

    /// Over all clients: with their repetitions these still fit an entry of half a small segment.
    private static let maximumPending = 400

    var isSettled: Bool { pending.isEmpty && unresolved.isEmpty }

    /// For people.
    var waiting: String {
        "\(pending.count) pending, \(unresolved.count) unknown, first \(unresolved.first.map { "\($0.id)" } ?? "none")"
    }

    /// The next thing to do at this time, until there is nothing more.
    mutating func next(_ now: UInt64, day: BusinessDay) -> Wish? {
        if lastTime == 0 { lastTime = now }
        owed += (now - lastTime) * UInt64(parameters.rate) * surge / UInt64(parameters.clients)
        lastTime = now
        owed = min(owed, 200_000_000)
        if !unresolved.isEmpty, isSettling || random.oneIn(20) { return settle(now) }
        guard isPaying else {
            owed = 0
            return nil
        }
        guard owed >= 1_000_000, pending.count < Self.maximumPending / parameters.clients else { return nil }
        owed -= 1_000_000
        return make(now, day)
    }

    private mutating func make(_ now: UInt64, _ day: BusinessDay) -> Wish {
        switch random.below(100) {
        case 0..<4: if let again = recall() { return wish(.submit(again), now) }
        case 4..<6:
            if var altered = recall(), altered.kind != .queryOrVoid {
                altered.amount += 1
                return wish(.submit(altered), now)
            }
        case 6..<9: if let known = recall() { return wish(.query(known.id), now) }
        case 9..<10: return wish(.submit(.queryOrVoid(payment(day).id)), now)
        case 10..<11: if let known = recall() { return wish(.submit(.queryOrVoid(known.id)), now) }
        case 11..<12: return wish(.query(payment(day).id), now)
        case 12..<14: if let others = recent.newest { return wish(.submit(others), now) }
        case 14..<16:
            return wish(.position(ParticipantID(UInt32(1 + random.below(UInt64(parameters.participants))))), now)
        default: break
        }
        return wish(.submit(payment(day)), now)
    }

    private mutating func payment(_ day: BusinessDay) -> Instruction {
        let count = UInt64(parameters.participants)
        // Skewed: the square of a fraction favours the first participants. In the liveness phase every shard shall have work.
        let fraction = random.fraction()
        let debtor = ParticipantID(UInt32(1 + Int((isSettling ? fraction : fraction * fraction) * Double(count))))
        var creditor = ParticipantID(UInt32(1 + random.below(count)))
        var instructing = debtor
        var amount = 1 + random.below(10_000)
        var paymentDay = day
        var kind = InstructionKind.payout
        switch random.below(200) {
        case 0: amount = 0
        case 1: amount = Limits.maximumAmount + random.below(2)
        case 2: creditor = debtor
        case 3: creditor = ParticipantID(UInt32(count + 1 + random.below(5)))
        case 4: paymentDay = BusinessDay(rawValue: day.rawValue + 5)
        case 5: paymentDay = BusinessDay(rawValue: day.rawValue - 1)
        case 6: amount = 1_000_000 + random.below(10_000_000)
        case 7..<40:
            // The first participant is an institution with a mandate over all banks.
            instructing = ParticipantID(1)
            kind = .agreementDebit
        case 40..<44: instructing = ParticipantID(2)
        default: break
        }
        let id = TransactionID(
            debtor: debtor, instructing: instructing, day: paymentDay,
            sequence: nextSequence << 8 | UInt64(client))
        nextSequence += 1
        return Instruction(id: id, kind: kind, amount: amount, currency: 156, creditor: creditor)
    }

    private mutating func recall() -> Instruction? { recent.recall(&random) }

    private mutating func wish(_ kind: Wish.Kind, _ now: UInt64) -> Wish {
        if case .submit(let instruction) = kind { recent.add(instruction) }
        // Most wait long; some give up at once, and will want to know what became of it.
        let patience = random.oneIn(10) ? 1_000 + random.below(300_000) : 5_000_000 + random.below(10_000_000)
        return keep(kind, now, patience)
    }

    private mutating func keep(_ kind: Wish.Kind, _ now: UInt64, _ patience: UInt64) -> Wish {
        let wish = Wish(token: nextToken, kind: kind, at: now, patience: patience)
        nextToken += 1
        pending[wish.token] = wish
        return wish
    }

    /// Asks again for something unknown: the same payment, or to have it voided.
    private mutating func settle(_ now: UInt64) -> Wish? {
        guard let instruction = unresolved.popFirst() else { return nil }
        let again = random.oneIn(4) ? Instruction.queryOrVoid(instruction.id) : instruction
        return keep(.submit(again), now, 5_000_000)
    }

    // MARK: Ends

    mutating func ended(_ token: UInt64) -> Wish? { pending.removeValue(forKey: token) }
    mutating func unknown(_ instruction: Instruction) { unresolved.append(instruction) }

    /// A refusal for the moment is no answer; one for good is, unless another attempt is unknown.
    mutating func refused(_ instruction: Instruction, _ code: RefusalCode) {
        if code.isTransient { unresolved.append(instruction) }
    }
}
