import ClearingModel
import Raft
import Wire

/// What records mean, in log order.
///
/// Every entry names the term of the one before it, and every segment and life opens with each shard's last entry. So a record
/// that was lost shows: as a gap, as a term that does not fit, or as an end that is not there. Where nothing of the kind
/// comes after damage, the shard's end, or its hard state, stays in doubt.
extension NodeLog {
    mutating func replay(_ item: LogItem, segment: UInt64) {
        switch item {
        case .record(let header, let payload):
            guard let slot = slots[header.shard] else { return }
            replay(header, payload, slot, segment, isReadable: true)
        case .unreadable(let header):
            guard let slot = slots[header.shard] else { return }
            recovery!.damageAt[slot] = LogAddress(segment: segment, offset: Int(header.payloadOffset))
            replay(header, nil, slot, segment, isReadable: false)
        case .damage(let offset, let damaged, let hardDamaged):
            for (slot, shard) in shards.enumerated() where damaged.contains(shard) {
                lost(slot, hardDamaged.contains(shard), segment, offset)
            }
        }
    }

    /// Records of a shard are missing here.
    private mutating func lost(_ slot: Int, _ mayBeHardState: Bool, _ segment: UInt64, _ offset: Int) {
        recovery!.suspectTail[slot] = true
        if recovery!.trusted[slot] == nil { recovery!.trusted[slot] = tails[slot].hard.commit }
        if mayBeHardState { recovery!.suspectHard[slot] = true }
        recovery!.damageAt[slot] = LogAddress(segment: segment, offset: offset)
    }

    private mutating func replay(
        _ header: RecordHeader, _ payload: Slab?, _ slot: Int, _ segment: UInt64, isReadable: Bool
    ) {
        switch header.kind {
        case .entry: replayEntry(header, payload, slot, segment, isReadable)
        case .repair: replayRepair(header, payload, slot, segment, isReadable)
        case .truncation:
            tables[segment]?.add(header, slot: slot)
            guard header.index > tails[slot].start.index else { return }
            extend(slot, to: header.index.previous, Term(header.previousTerm))
            truncate(slot, from: header.index)
            agree(slot, at: header.index.previous, Term(header.previousTerm))
            trust(slot)
        case .hardState:
            tails[slot].hard = HardState(header)
            tails[slot].doubt = Doubt(rawValue: header.detail)
            tails[slot].doubtTerm = Term(header.previousTerm)
            recovery!.suspectHard[slot] = false
        case .logStart: replayStart(header, payload, slot, segment)
        case .lost: lost(slot, header.detail != 0, segment, Int(header.payloadOffset))
        }
    }

    private mutating func replayEntry(
        _ header: RecordHeader, _ payload: Slab?, _ slot: Int, _ segment: UInt64, _ isReadable: Bool
    ) {
        noteHighest(slot, segment, header.index)
        if isReadable { tables[segment]?.add(header, slot: slot) }
        guard header.index > tails[slot].start.index else { return }
        let previous = Term(header.previousTerm)
        // A truncation that was lost.
        if header.index <= tails[slot].last { truncate(slot, from: header.index) }
        extend(slot, to: header.index.previous, previous)
        agree(slot, at: header.index.previous, previous)
        tails[slot].append(header.index, header.term)
        indexes[slot].cut(from: header.index)
        if isReadable {
            indexes[slot].append(EntryRef(header), segment: segment)
            noteMembership(header, payload, slot, segment)
        }
        trust(slot)
    }

    private mutating func replayRepair(
        _ header: RecordHeader, _ payload: Slab?, _ slot: Int, _ segment: UInt64, _ isReadable: Bool
    ) {
        noteHighest(slot, segment, header.index)
        if isReadable { tables[segment]?.add(header, slot: slot) }
        guard header.index <= tails[slot].last else { return }
        // The header tells the term, whatever became of the payload.
        let known = tails[slot].term(at: header.index)
        tails[slot].setTerm(header.index, header.term)
        guard isReadable else {
            // What it came in place of is another entry.
            if header.index > tails[slot].start.index, known != header.term {
                indexes[slot].remove(IndexRange(from: header.index, through: header.index))
                recovery!.configurations[slot].removeAll { $0.index == header.index }
            }
            return
        }
        #if SUANPAN_MUTATIONS
            if Mutation.active == .repairTruncates { truncate(slot, from: header.index.next) }
        #endif
        indexes[slot].place(EntryRef(header), segment: segment)
        recovery!.configurations[slot].removeAll { $0.index == header.index }
        noteMembership(header, payload, slot, segment)
    }

    private mutating func replayStart(_ header: RecordHeader, _ payload: Slab?, _ slot: Int, _ segment: UInt64) {
        let last = LogIndex(header.extra)
        let lastTerm = Term(header.previousTerm)
        if header.index >= tails[slot].start.index {
            let start = LogStart(index: header.index, term: header.term)
            // The end that the record names tells whether its writer kept what lay above the start.
            let agrees = tails[slot].last >= header.index && tails[slot].term(at: header.index) == header.term
            if last > header.index || agrees {
                // In a hole the log did not say what stands there: of what is in front of it only the hint tells what was committed.
                if header.index > tails[slot].start.index, indexes[slot].find(header.index) == nil {
                    indexes[slot].remove(IndexRange(from: committed(slot).next, through: header.index))
                }
                extend(slot, to: header.index, header.term)
                tails[slot].move(to: start, keepingSuffix: true)
            } else {
                tails[slot].move(to: start, keepingSuffix: false)
                indexes[slot].cut(from: committed(slot).next)
            }
            recovery!.configurations[slot].removeAll { $0.index <= header.index || $0.index > tails[slot].last }
            recovery!.starts[slot] = FoundMembership(
                index: header.index, segment: segment, header: header, payload: payload)
        }
        extend(slot, to: last, lastTerm)
        truncate(slot, from: last.next)
        agree(slot, at: last, lastTerm)
        trust(slot)
    }

    private mutating func noteMembership(_ header: RecordHeader, _ payload: Slab?, _ slot: Int, _ segment: UInt64) {
        guard header.wantsPayload else { return }
        recovery!.configurations[slot].append(
            FoundMembership(index: header.index, segment: segment, header: header, payload: payload))
    }

    private mutating func noteHighest(_ slot: Int, _ segment: UInt64, _ index: LogIndex) {
        let last = segments.count - 1
        segments[last].highest[slot] = max(segments[last].highest[slot], index)
    }

    /// Entries that cannot be seen stand between the end and this index, the last of which has this term.
    ///
    /// If it is the term that the log ends with, what is here is right: both come from the log of that term's leader. If
    /// not, a truncation of what is here may be among what was lost.
    private mutating func extend(_ slot: Int, to index: LogIndex, _ term: Term) {
        guard index > tails[slot].last else { return }
        if tails[slot].lastTerm != term { distrust(slot, through: tails[slot].last) }
        tails[slot].extend(to: index, term)
    }

    /// What stands in the log up to here was committed when it was read.
    private func committed(_ slot: Int) -> LogIndex { recovery!.trusted[slot] ?? tails[slot].hard.commit }

    /// The log fits to its end again.
    private mutating func trust(_ slot: Int) {
        recovery!.suspectTail[slot] = false
        recovery!.trusted[slot] = nil
    }

    /// Makes a hole of the entries up to `index` that are not known to be committed.
    private mutating func distrust(_ slot: Int, through index: LogIndex) {
        // No truncation touches what was committed.
        let committed = max(tails[slot].start.index, committed(slot))
        guard committed < index else { return }
        indexes[slot].remove(IndexRange(from: committed.next, through: index))
        recovery!.configurations[slot].removeAll { $0.index > committed && $0.index <= index }
    }

    private mutating func truncate(_ slot: Int, from index: LogIndex) {
        tails[slot].truncate(from: index)
        indexes[slot].cut(from: index)
        recovery!.configurations[slot].removeAll { $0.index >= index }
    }

    /// The log goes on from an entry of this term. If the one that is here has another, a truncation and what replaced it
    /// were lost: every entry that is not known to be committed may be the wrong one, and is read from a peer again.
    private mutating func agree(_ slot: Int, at index: LogIndex, _ term: Term) {
        guard index > tails[slot].start.index, tails[slot].term(at: index) != term else { return }
        distrust(slot, through: index)
        indexes[slot].cut(from: index)
        tails[slot].truncate(from: index)
        tails[slot].extend(to: index, term)
    }

    // MARK: - The end of replay

    /// Applies what only shows once everything is read: checkpoints above holes, and what stayed in doubt.
    mutating func settle(_ slot: Int) {
        // Votes rest on the end of the log as much as on the hard state.
        if recovery!.suspectTail[slot] || recovery!.suspectHard[slot] {
            Site.voteInDoubt.reached()
            tails[slot].doubt.insert(.vote)
            tails[slot].doubtTerm = max(tails[slot].hard.term, tails[slot].lastTerm)
        }
        // A hint that was written behind the damage may speak of entries that came in place of those that are here.
        if let trusted = recovery!.trusted[slot] { tails[slot].hard.commit = min(tails[slot].hard.commit, trusted) }
        let hint = tails[slot].hard.commit
        if let checkpoint = checkpoints[slot].first(where: { chain(slot, from: $0) != nil }) {
            let start = LogStart(
                index: checkpoint.index, term: checkpoint.term, membership: checkpoint.membership)
            tails[slot].hard.commit = max(hint, checkpoint.index)
            if tails[slot].last < checkpoint.index {
                // Applied and checkpointed before this log was durable: the log starts anew behind it.
                Site.checkpointAheadOfLog.reached()
                // The term came with a snapshot, and nobody was promised anything in it before it was durable. One that continues another is
                // the replica's own, and waited for the log: if that ends before it, votes were lost too, which Raft sees by the term.
                if checkpoint.previous == nil, checkpoint.term > tails[slot].hard.term {
                    tails[slot].hard.term = checkpoint.term
                    tails[slot].hard.vote = nil
                }
                start.replaces(&tails[slot], &indexes[slot], from: hint.next)
            } else if checkpoint.index > tails[slot].start.index,
                indexes[slot].gaps(after: tails[slot].start.index, through: checkpoint.index).count > 0
            {
                passGaps(slot, to: start, hint)
            }
        }
        tails[slot].hard.commit = min(tails[slot].hard.commit, tails[slot].last)
        let tail = tails[slot]
        // The next start has to find as much in doubt as this one did: the hint is what the log says, not what the checkpoint does.
        var hard = tail.hard
        hard.commit = min(hint, tail.last)
        written[slot] = ShardWritten(
            start: tail.start, hard: hard, doubt: tail.doubt, doubtTerm: tail.doubtTerm, last: tail.last,
            lastTerm: tail.lastTerm)
    }

    /// What a checkpoint covers is not needed to lead, whether it can be read or not: the log starts behind it.
    private mutating func passGaps(_ slot: Int, to start: LogStart, _ hint: LogIndex) {
        let gaps = indexes[slot].gaps(after: tails[slot].start.index, through: tails[slot].last)
        let isGuess = gaps.contains { $0.from <= start.index && start.index < $0.through }
        guard isGuess || tails[slot].term(at: start.index) == start.term else {
            // It holds another entry there: the checkpoint is a snapshot that came in its place.
            return start.replaces(&tails[slot], &indexes[slot], from: hint.next)
        }
        // Whether what stands between is what was committed, nobody knows: it must not be given to a peer.
        if isGuess { indexes[slot].remove(IndexRange(from: hint.next, through: start.index)) }
        tails[slot].setTerm(start.index, start.term)
        tails[slot].move(to: start, keepingSuffix: true)
    }

    /// What recovery tells of a shard.
    func recoveredShard(_ slot: Int) -> RecoveredShard {
        let tail = tails[slot]
        let holes = indexes[slot].gaps(after: tail.start.index, through: tail.last)
        var fence = tail.doubt.fence
        if !holes.isEmpty { fence.insert(.noCampaign) }
        var runs = tail.runs
        if tail.last > tail.start.index, runs.first?.firstIndex != tail.start.index.next {
            // A hole right at the start: its terms are a guess, like those of any hole of several entries.
            runs.insert(TermRun(firstIndex: tail.start.index.next, term: tail.start.term), at: 0)
        }
        let lastOrdinal = indexes[slot].extents.reversed().lazy.compactMap { extent in
            self.tables[extent.segment]?.lastWithRecords(slot: slot, in: extent)
        }.first.map { Ordinal($0.firstOrdinal + UInt64($0.recordCount) - 1) }
        return RecoveredShard(
            shard: shards[slot],
            raft: RecoveredState(
                hardState: tail.hard, membership: tail.start.membership, snapshotIndex: tail.start.index,
                snapshotTerm: tail.start.term, termRuns: runs, lastIndex: tail.last,
                configurationEntries: tail.configurations.map { ($0.index, $0.membership) }, fence: fence,
                holeIndex: holes.first?.from, guessed: Self.guesses(holes, last: tail.last)),
            checkpoints: checkpoints[slot], lastOrdinal: lastOrdinal, holes: holes,
            firstReadable: indexes[slot].extents.first?.first)
    }
}
