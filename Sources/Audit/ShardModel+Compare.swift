import ClearingModel

extension ShardModel {
    /// Decodes a ledger's state into a model of its own and names the first difference; `nil` where there is none.
    ///
    /// Not compared: sums under caps, which show in outcomes, and the index, of which a state has counts only.
    func difference(fromState state: UnsafeRawBufferPointer, topology: ClusterTopology) -> String? {
        if let fault = fault(inState: state) { return fault }
        let findings = Findings()
        let other = ShardModel(
            shard: shard, topology: topology, directory: DirectoryModel(calendar: topology.calendar),
            streams: StreamBook(shardCount: shardCount, findings: findings),
            outcomes: OutcomeStore(entries: NoEntries()), findings: findings)
        do throws(DecodeError) {
            try other.restore(state, cluster: topology.cluster)
        } catch {
            return "it cannot be decoded: \(error)"
        }
        return differenceOfPlace(other) ?? differenceOfMoney(other) ?? differenceOfStreams(other)
            ?? findings.problems.texts.first
    }

    private func differenceOfPlace(_ other: ShardModel) -> String? {
        if other.directoryCursor != directoryCursor || other.directoryVersion != directoryVersion {
            return "its directory is at \(other.directoryCursor), the replay's at \(directoryCursor)"
        }
        if other.calendar != calendar { return "its calendar is another one" }
        if other.openDays.map(\.day) != openDays.map(\.day) || other.newestDay != newestDay {
            return "its open days are \(other.openDays.map(\.day)), the replay's \(openDays.map(\.day))"
        }
        if other.openWindows.sorted() != openWindows.sorted() || other.creditWindow != creditWindow {
            return "its open windows are \(other.openWindows), the replay's \(openWindows)"
        }
        return nil
    }

    private func differenceOfMoney(_ other: ShardModel) -> String? {
        guard other.accounts.count == accounts.count else {
            return "it has \(other.accounts.count) participants, the replay \(accounts.count)"
        }
        for row in 0..<accounts.count {
            let mine = accounts[row]
            let found = other.accountRows.find(UInt64(mine.id))
            guard found >= 0 else { return "it does not know participant \(mine.id)" }
            let theirs = other.accounts[found]
            if (theirs.net, theirs.settled, theirs.limit, theirs.funding, theirs.sponsored)
                != (mine.net, mine.settled, mine.limit, mine.funding, mine.sponsored)
            {
                return
                    "participant \(mine.id) stands at \(theirs.net) of limit \(theirs.limit) and funding \(theirs.funding), "
                    + "in the replay at \(mine.net) of \(mine.limit) and \(mine.funding)"
            }
            if theirs.maySend != mine.maySend || theirs.mayReceive != mine.mayReceive {
                return "participant \(mine.id) has other rights than in the replay"
            }
        }
        for book in books where book.debits | book.credits > 0 {
            let found = other.books.first { $0.key == book.key }
            if found?.debits != book.debits || found?.credits != book.credits {
                return
                    "window \(book.key.window) has debits \(found?.debits ?? 0) and credits \(found?.credits ?? 0), in the "
                    + "replay \(book.debits) and \(book.credits)"
            }
        }
        return nil
    }

    private func differenceOfStreams(_ other: ShardModel) -> String? {
        for peer in 1..<shardCount + 1 where peer != shard {
            let (mine, theirs) = (outgoing[peer], other.outgoing[peer])
            if theirs.last != mine.last || theirs.confirmed != mine.confirmed || theirs.unconfirmed != mine.unconfirmed
                || theirs.waiting != mine.waiting || theirs.isHalted != mine.isHalted
            {
                return
                    "its stream to shard \(peer) stands at \(theirs.last.number), confirmed \(theirs.confirmed.number); in "
                    + "the replay at \(mine.last.number), \(mine.confirmed.number)"
            }
            if other.incoming[peer].cursor != incoming[peer].cursor {
                return
                    "it applied batch \(other.incoming[peer].cursor.number) of shard \(peer), the replay "
                    + "\(incoming[peer].cursor.number)"
            }
        }
        let mine = openCredits.reduce(UInt128(0)) { $0 + $1.amount }
        let theirs = other.openCredits.reduce(UInt128(0)) { $0 + $1.amount }
        return mine == theirs ? nil : "its open credits sum to \(theirs), the replay's to \(mine)"
    }
}

/// The entries of a model that only compares.
private final class NoEntries: EntrySource {
    func read(_ index: UInt64, _ offset: Int, into target: UnsafeMutableRawBufferPointer) -> Bool { false }
}
