import ClearingModel

/// A record as the model decided it.
public struct ReplayedRecord: Hashable, Sendable {
    public var id: TransactionID
    /// `nil` where the id, or another one with its fingerprint, was decided before.
    public var outcome: Outcome?
    public var ledgerTime: WallTime
    public var window: UInt32
}

/// Where and how an id was decided.
public struct ReplayedDecision: Hashable, Sendable {
    public var index: LogIndex
    public var slot: Int
    public var outcome: Outcome
}

/// The audit's model of all ledgers, for who has the committed entries at hand one by one: nothing is read from files.
///
/// Entries of one shard come in log order; those of the directory before the pages of them that shards logged; otherwise the
/// shards may come in any order. The payloads are kept as they are, not copied: they must outlive the replay.
public final class LiveReplay {
    private final class Entries: EntrySource {
        private var payloads: [UnsafeRawBufferPointer] = []

        func add(_ payload: UnsafeRawBufferPointer, at index: UInt64) {
            while UInt64(payloads.count) + 1 < index { payloads.append(UnsafeRawBufferPointer(start: nil, count: 0)) }
            payloads.append(payload)
        }

        func read(_ index: UInt64, _ offset: Int, into target: UnsafeMutableRawBufferPointer) -> Bool {
            guard index > 0, index <= UInt64(payloads.count) else { return false }
            let payload = payloads[Int(index) - 1]
            guard offset + target.count <= payload.count else { return false }
            target.copyMemory(from: payload.slice(offset, target.count))
            return true
        }
    }

    private let topology: ClusterTopology
    private let findings = Findings()
    private let streams: StreamBook
    private let directory: DirectoryModel
    @exclusivity(unchecked) private var entries: [Entries] = []
    @exclusivity(unchecked) private var models: [ShardModel] = []
    @exclusivity(unchecked) private var directoryTime: UInt64 = 0

    /// - Parameter fingerprintMask: bits of fingerprints that the ledgers keep, where tests force collisions.
    public init(topology: ClusterTopology, fingerprintMask: UInt64 = .max) {
        self.topology = topology
        streams = StreamBook(shardCount: topology.shardCount, findings: findings)
        directory = DirectoryModel(calendar: topology.calendar)
        for shard in 1..<max(topology.shardCount, 0) + 1 {
            let source = Entries()
            let model = ShardModel(
                shard: shard, topology: topology, directory: directory, streams: streams,
                outcomes: OutcomeStore(entries: source), findings: findings)
            if fingerprintMask != .max {
                model.collisions = MaskedFingerprints(cluster: topology.cluster, mask: fingerprintMask)
            }
            entries.append(source)
            models.append(model)
        }
    }

    private func model(_ shard: ShardID) -> ShardModel { models[Int(shard.rawValue) - 1] }

    /// The first thing that must not be; `nil` while there is none.
    public var problem: String? { findings.problems.texts.first }

    /// Applies one committed data entry.
    public func apply(_ payload: UnsafeRawBufferPointer, shard: ShardID, index: LogIndex, term: Term) {
        do throws(DecodeError) {
            if shard.isDirectory {
                let head = try EntryHead(payload)
                guard head.ledgerTime > directoryTime else {
                    throw DecodeError("ledger time \(head.ledgerTime) does not continue \(directoryTime)")
                }
                directoryTime = head.ledgerTime
                try directory.apply(head)
            } else {
                entries[Int(shard.rawValue) - 1].add(payload, at: index.rawValue)
                try model(shard).apply(payload, index: index.rawValue, term: term.rawValue)
            }
        } catch {
            findings.problem("shard \(shard), entry \(index) is no entry: \(error)")
        }
    }

    // MARK: What the model says

    /// As docs/ENTRIES.md defines it, after the last entry applied.
    public func runningHash(of shard: ShardID) -> UInt64 { shard.isDirectory ? 0 : model(shard).runningHash }

    /// A record by its place; `nil` where no entry applied so far has it.
    public func record(of shard: ShardID, at index: LogIndex, slot: Int) -> ReplayedRecord? {
        let outcomes = model(shard).outcomes
        guard let ordinal = outcomes.ordinal(index: index.rawValue, slot: slot),
            let id = outcomes.id(index: index.rawValue, slot: slot), let head = outcomes.head(index: index.rawValue)
        else { return nil }
        return ReplayedRecord(
            id: TransactionID(id), outcome: Outcome(rawValue: outcomes[ordinal]), ledgerTime: WallTime(head.ledgerTime),
            window: head.window)
    }

    /// The bytes of a record by its place.
    public func instruction(of shard: ShardID, at index: LogIndex, slot: Int) -> Instruction? {
        var instruction = Instruction.queryOrVoid(.none)
        let offset = EntryHead.size + slot * EntryHead.recordSize
        let isThere = withUnsafeMutableBytes(of: &instruction) {
            entries[Int(shard.rawValue) - 1].read(index.rawValue, offset, into: $0)
        }
        return isThere ? instruction : nil
    }

    /// What decided an id for ever; `nil` while nothing has. A refusal because its day is not open decides nothing.
    public func decision(of id: TransactionID, in shard: ShardID) -> ReplayedDecision? {
        let outcomes = model(shard).outcomes
        let words = IDWords(
            parties: UInt64(id.debtor.rawValue) | UInt64(id.instructing.rawValue) << 32,
            dayAndSequence: id.dayAndSequence)
        guard let ordinal = outcomes.find(words), let place = outcomes.place(of: ordinal),
            let outcome = Outcome(rawValue: outcomes[ordinal])
        else { return nil }
        return ReplayedDecision(index: LogIndex(place.index), slot: place.slot, outcome: outcome)
    }

    /// Business days that are open in a shard, ascending.
    public func openDays(of shard: ShardID) -> [BusinessDay] { model(shard).openDays.map { BusinessDay($0.day) } }

    /// Records decided as accepted so far, over all shards.
    public var acceptedPayments: UInt64 { models.reduce(0) { $0 + $1.counts[Int(Outcome.accepted.rawValue)] } }

    /// Last batch of a stream that the source closed, the destination applied, the source saw confirmed.
    public func stream(
        from source: ShardID, to destination: ShardID
    ) -> (closed: UInt64, applied: UInt64, confirmed: UInt64) {
        streams.numbers(from: Int(source.rawValue), to: Int(destination.rawValue))
    }

    /// Whether a shard owes nobody credits that are not in a closed batch yet.
    public func hasBatchedAll(_ shard: ShardID) -> Bool { shard.isDirectory || model(shard).openCredits.isEmpty }

    /// Whether a participant's limit or funding was ever lowered: only then may it owe more than it may use.
    public func wasLowered(_ participant: ParticipantID, in shard: ShardID) -> Bool {
        let row = model(shard).accountRows.find(UInt64(participant.rawValue))
        return row >= 0 && model(shard).accounts[row].wasLowered
    }

    /// What is wrong with a ledger's whole state, in its canonical encoding, after the last entry applied; `nil` where the
    /// model has the same money in the same places.
    public func fault(inState state: UnsafeRawBufferPointer, of shard: ShardID) -> String? {
        model(shard).difference(fromState: state, topology: topology)
    }

    // MARK: Money

    /// Per currency, what was debited must have been credited or be in flight; `nil` where it is.
    public func imbalance() -> String? {
        var sums: [(currency: UInt16, debits: UInt128, credits: UInt128, inFlight: UInt128)] = []
        func row(_ currency: UInt16) -> Int {
            if let found = sums.firstIndex(where: { $0.currency == currency }) { return found }
            sums.append((currency, 0, 0, 0))
            return sums.count - 1
        }
        for model in models {
            for book in model.books {
                let at = row(book.key.currency)
                sums[at].debits += book.debits
                sums[at].credits += book.credits
            }
            for (key, amount) in model.openCredits { sums[row(key.currency)].inFlight += amount }
            for other in models {
                for batch in streams.stream(from: model.shard, to: other.shard).inFlight {
                    for (key, amount) in batch.amounts { sums[row(key.currency)].inFlight += amount }
                }
            }
        }
        for sum in sums where sum.debits != sum.credits + sum.inFlight {
            return "currency \(sum.currency): debits \(sum.debits), credits \(sum.credits), in flight \(sum.inFlight)"
        }
        return nil
    }
}

extension TransactionID {
    init(_ words: IDWords) {
        self.init(
            debtor: ParticipantID(UInt32(truncatingIfNeeded: words.parties)),
            instructing: ParticipantID(UInt32(truncatingIfNeeded: words.parties >> 32)),
            dayAndSequence: words.dayAndSequence)
    }
}

/// Ids by day and a part of their fingerprint, for ledgers that are made to keep so little that ids collide.
struct MaskedFingerprints {
    private struct Key: Hashable {
        var day: UInt16
        var fingerprint: UInt64
    }

    private let key: SipKey
    private let mask: UInt64
    private var ordinals: [Key: UInt64] = [:]

    init(cluster: ClusterID, mask: UInt64) {
        key = RestoredIndex.key(cluster)
        self.mask = mask
    }

    private func place(_ id: IDWords) -> Key {
        let fingerprint = withUnsafeBytes(of: id) { key.hash($0) } & mask
        return Key(day: UInt16(truncatingIfNeeded: id.dayAndSequence), fingerprint: fingerprint)
    }

    /// The record that took the fingerprint first.
    func find(_ id: IDWords) -> UInt64? { ordinals[place(id)] }
    mutating func insert(_ id: IDWords, ordinal: UInt64) { ordinals[place(id)] = ordinal }
}
