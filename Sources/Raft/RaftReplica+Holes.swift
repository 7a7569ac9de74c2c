import ClearingModel

// What of a log cannot be read. Recovery finds such a hole by what stands around it:
//
//     term      3   3   3   .   .   .   5   5   5
//     index     2   3   4   5   6   7   8   9  10         the group that held 5 to 7 is lost
//                           └ guessed ┘ └ exact
//
// Of 5 to 7 nothing is known but that they were there: their terms are guesses, and no leader's entry agrees with them or
// contradicts them. Entry 8 decides, by log matching: where the leader has it too, its log up to there is this one. Where it has
// another, everything from 5 on has to go; part of that this replica may have acknowledged, and to forget that is to be in doubt.
extension RaftReplica {
    /// The guessed entries among which an index is.
    func guesses(around index: LogIndex) -> Range<LogIndex>? { guessed.first { $0.contains(index) } }

    /// The log begins behind `index` now.
    mutating func forgetGuesses(through index: LogIndex) {
        guessed = guessed.compactMap {
            $0.upperBound > index.next ? max($0.lowerBound, index.next)..<$0.upperBound : nil
        }
    }

    /// The guessed entries that an entry of the leader shows to be void: it stands in the place of the one that decides, or in a
    /// term after which the leader's log cannot have that one.
    func guesses(contradictedBy index: LogIndex, _ term: Term) -> Range<LogIndex>? {
        guessed.first { range in
            guard let exact = log.term(at: range.upperBound), index >= range.lowerBound else { return false }
            return index < range.upperBound ? term > exact : index == range.upperBound && term != exact
        }
    }

    /// Voids the log from its guessed entries on.
    mutating func giveUp(_ range: Range<LogIndex>, _ effects: inout [RaftEffect]) {
        var names = SeededRandom(seed: ~random.next())
        doubt = RaftMessage.Doubt(rawValue: names.next())
        fence.insert(.noVote)
        let first = max(range.lowerBound, commit.next)
        matched = min(matched, first.previous)
        Site.voteInDoubt.reached()
        truncate(from: first, &effects)
    }

    /// A damaged entry was found: from here on nothing at or past it is acknowledged, and this replica does not lead.
    public mutating func holeFound(at index: LogIndex, _ effects: inout [RaftEffect]) {
        guard halted == nil, index > log.startIndex else { return }
        holeIndex = min(holeIndex ?? index, index)
        fence.insert(.noCampaign)
        if role == .leader { stepDown(&effects) }
        if role != .follower { becomeFollower(term: term, leader: nil, &effects) }
        finish(&effects)
    }

    /// Every damaged entry was repaired from a peer: the replica takes full part again.
    ///
    /// - Parameter known: terms and memberships as the repaired log has them. What recovery told of a hole were guesses.
    public mutating func holeRepaired(_ known: KnownLog, _ effects: inout [RaftEffect]) {
        guard halted == nil else { return }
        correct(known)
        liftHole(&effects)
    }

    /// Takes over what the log knows by now of entries that recovery had to guess.
    public mutating func correct(_ known: KnownLog) {
        log.correct(known.termRuns, through: known.lastIndex)
        guessed = fence.contains(.noCampaign) ? known.guessed : []
        memberships.correct(known.configurationEntries, through: known.lastIndex)
        membershipChanged()
    }

    /// The log begins behind `index` now: a hole below that is none, and `next` is the first that is left.
    mutating func passHole(through index: LogIndex, next: LogIndex?, _ effects: inout [RaftEffect]) {
        guard let known = holeIndex, known <= index else { return }
        holeIndex = next
        if next == nil { liftHole(&effects) }
    }

    private mutating func liftHole(_ effects: inout [RaftEffect]) {
        holeIndex = nil
        fence.remove(.noCampaign)
        acknowledgeDurable(&effects)
        finish(&effects)
    }
}
