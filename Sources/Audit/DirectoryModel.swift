import ClearingModel

/// The directory, replayed from group 0: every change under its version, and what the shards say they were sent.
final class DirectoryModel {
    /// By version; of those before a restored state only what is still in force.
    private var changes: [UInt64: DirectoryItem] = [:]
    private(set) var version: UInt64 = 0
    /// Version of the state that the replay began from.
    private var restoredVersion: UInt64 = 0
    /// Version of the last change of each record.
    private var current: [DirectoryItem.Key: UInt64] = [:]
    private var participantCount = 0
    private var mandateCount = 0
    private let calendar: ClearingCalendar

    init(calendar: ClearingCalendar) { self.calendar = calendar }

    /// Applies one entry of the directory.
    func apply(_ head: EntryHead) throws(DecodeError) {
        try head.forEachSection { type, body throws(DecodeError) in
            guard type == 16 else { throw DecodeError("a section of type \(type) in the directory's log") }
            var reader = ByteReader(body)
            apply(try reader.directoryChanges())
        }
    }

    /// One command: applied whole, or not at all.
    private func apply(_ items: [DirectoryItem]) {
        var pending: [DirectoryItem.Key: DirectoryItem] = [:]
        var (participants, mandates) = (participantCount, mandateCount)
        for item in items {
            guard isAllowed(item, pending) else { return }
            if pending.updateValue(item, forKey: item.key) == nil, current[item.key] == nil {
                if case .participant = item { participants += 1 } else { mandates += 1 }
            }
            guard participants <= Limits.maximumParticipants, mandates <= Limits.maximumMandates else { return }
        }
        (participantCount, mandateCount) = (participants, mandates)
        for item in items {
            version += 1
            changes[version] = item
            current[item.key] = version
        }
    }

    private func participant(_ id: ParticipantID, _ pending: [DirectoryItem.Key: DirectoryItem]) -> Participant? {
        let key = DirectoryItem.Key.participant(id)
        let item = pending[key] ?? current[key].flatMap { changes[$0] }
        if case .participant(let one)? = item { return one }
        return nil
    }

    private func isAllowed(_ item: DirectoryItem, _ pending: [DirectoryItem.Key: DirectoryItem]) -> Bool {
        switch item {
        case .participant(let one):
            guard one.id != .none, (1...999).contains(one.currency), max(one.limit, one.funding) <= 1 << 60 else {
                return false
            }
            if let before = participant(one.id, pending) {
                guard (before.kind, before.currency, before.sponsor) == (one.kind, one.currency, one.sponsor) else {
                    return false
                }
            }
            guard one.kind == .indirect else { return one.sponsor == .none }
            guard let sponsor = participant(one.sponsor, pending) else { return false }
            return sponsor.kind != .indirect && sponsor.currency == one.currency
        case .mandate(let one):
            guard participant(one.instructing, pending) != nil else { return false }
            switch one.debtors {
            case .one(let debtor):
                guard debtor != one.instructing, participant(debtor, pending) != nil else { return false }
            case .every(let kind):
                guard kind != .regulator else { return false }
            }
            return !one.kinds.isEmpty && one.kinds.isSubset(of: .payments) && one.maximumAmount <= 1_000_000_000_000
                && one.dailyCap <= 1 << 60
        }
    }

    /// What is wrong with a page that a shard logged; `nil` where it says what the directory decided.
    func fault(in page: DirectoryPage) -> String? {
        if page.calendar != calendar { return "its calendar is not the cluster's" }
        guard page.through <= version else {
            return "it goes up to version \(page.through), the directory's log only to \(version)"
        }
        var sent: Set<UInt64> = []
        for (itemVersion, item) in page.items {
            // A version before the restored state that was overtaken since: what it was is not known any more.
            let decided = changes[itemVersion]
            if decided != item, decided != nil || itemVersion > restoredVersion {
                return
                    "version \(itemVersion) is \(item), the directory decided \(decided.map { "\($0)" } ?? "nothing")"
            }
            sent.insert(itemVersion)
        }
        // A change that was left out must have been overtaken by a later one of the same record.
        for missing in page.after..<page.through where !sent.contains(missing + 1) {
            guard let item = changes[missing + 1] else { continue }
            if current[item.key] == missing + 1 { return "version \(missing + 1) is missing: \(item)" }
        }
        return nil
    }

    /// Takes over a checkpoint's state of the directory, in which every record stands under its last version.
    func restore(_ state: UnsafeRawBufferPointer, cluster: ClusterID) throws(DecodeError) {
        var reader = ByteReader(state)
        try reader.stateHead(shard: 0, shardCount: 0, cluster: cluster)
        _ = try reader.take(24, "a directory's place")
        let newest: UInt64 = try reader.take("a directory's version")
        _ = try reader.take(16 + 8, "a directory's counts")
        let count = try reader.count("directory records", atMost: Limits.maximumParticipants + Limits.maximumMandates)
        var restored: [UInt64: DirectoryItem] = [:]
        for _ in 0..<count {
            let version: UInt64 = try reader.take("a directory version")
            guard version <= newest else { throw DecodeError("version \(version) above \(newest)") }
            restored[version] = try reader.directoryItem()
        }
        try reader.end("a directory's state")
        changes = restored
        (version, restoredVersion) = (newest, newest)
        for (version, item) in restored.sorted(by: { $0.key < $1.key }) {
            current[item.key] = version
            if case .participant = item { participantCount += 1 } else { mandateCount += 1 }
        }
    }
}
