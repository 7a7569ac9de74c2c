import ClearingModel

/// The memberships that a log may still fall back to: the committed one first, the one in force last (Raft §6).
struct MembershipHistory: Sendable {
    private var changes: [(index: LogIndex, membership: Membership)]

    init(base: Membership, at index: LogIndex, changes later: [(LogIndex, Membership)]) {
        changes = [(index, base)]
        for (index, membership) in later { append(membership, at: index) }
    }

    /// In force from the moment it stands in the log.
    var current: Membership { changes[changes.count - 1].membership }
    var currentIndex: LogIndex { changes[changes.count - 1].index }
    var committed: Membership { changes[0].membership }

    mutating func append(_ membership: Membership, at index: LogIndex) {
        precondition(index > currentIndex, "membership entries out of order")
        changes.append((index, membership))
    }

    /// Entries from `index` on are void. True if the membership in force changed.
    mutating func truncate(from index: LogIndex) -> Bool {
        let before = changes.count
        while changes.count > 1, currentIndex >= index { changes.removeLast() }
        return changes.count != before
    }

    /// Everything up to `index` is committed. The newest membership that became so, if any did.
    mutating func commit(through index: LogIndex) -> Membership? {
        guard let newest = changes.lastIndex(where: { $0.index <= index }), newest > 0 else { return nil }
        changes.removeFirst(newest)
        return committed
    }

    /// Takes the changes up to `index` from `known`; those behind it stay.
    mutating func correct(_ known: [(LogIndex, Membership)], through index: LogIndex) {
        let behind = changes.dropFirst().filter { $0.index > index }
        changes = [changes[0]] + known.filter { $0.0 > changes[0].index && $0.0 <= index } + behind
    }

    /// Starts anew from a snapshot, keeping what stands in the log after it.
    mutating func reset(to membership: Membership, at index: LogIndex) {
        changes.removeAll { $0.index <= index }
        changes.insert((index, membership), at: 0)
    }
}
