import ClearingModel

/// The replicas of one shard's log, laid beside each other: what is committed, whether they agree, and where each entry is read.
final class ShardLog {
    let shard: Int
    private let readers: [NodeReader]
    private let findings: Findings
    private let files: FileCache
    /// Readers that hold records of this shard.
    private(set) var holders: [NodeReader] = []
    /// Everything up to here is committed beyond doubt.
    private(set) var firm: UInt64 = 0
    /// Everything up to here is on a majority, or committed beyond doubt: what is replayed.
    private(set) var through: UInt64 = 0
    /// The replay begins behind this: some entry up to here is past its retention, or no node fetched it after a snapshot.
    private(set) var base: UInt64 = 0
    private(set) var voters: Voters?
    private(set) var readableVoters = 0
    private var lastHolder = 0

    init(shard: Int, readers: [NodeReader], files: FileCache, findings: Findings) {
        self.shard = shard
        self.readers = readers
        self.files = files
        self.findings = findings
    }

    var name: String { shard == 0 ? "directory" : "shard \(shard)" }
    func log(_ reader: NodeReader) -> ReplicaLog { reader.logs[shard] }

    /// Whether a majority of the voters could be read.
    var hasMajority: Bool { voters.map { readableVoters >= $0.majority } ?? false }

    // MARK: - What is committed

    /// Takes what the readers hold now.
    ///
    /// An entry is committed beyond doubt up to a commit hint or a checkpoint, or where a majority of voters holds it and its
    /// term is the last that any readable voter has: then no log without it can win an election. With an older term a
    /// majority's copies are replayed too, but a later leader may still have replaced them, so they prove nothing.
    func update(checkpoints: [CheckpointFile]) {
        holders = readers.filter { $0.hasRecords[shard] }
        base = lastMissing()
        guard
            let newest = holders.max(by: {
                (log($0).lastTerm, log($0).last) < (log($1).lastTerm, log($1).last)
            })
        else { return }
        let hint = max(
            holders.map { log($0).hint }.max() ?? 0,
            checkpoints.filter { Int($0.shard) == shard }.map(\.index).max() ?? 0)
        firm = max(firm, hint)
        voters = log(newest).voters(at: log(newest).last)
        guard let voters else { return through = max(through, firm) }
        let reading = holders.filter { holder in voters.voters.contains { $0 == holder.replica } }
        readableVoters = reading.count
        guard hasMajority else { return through = max(through, firm) }
        let agreed = reading.map { agreement(log($0), log(newest)) }.sorted(by: >)[voters.majority - 1]
        if log(newest).term(agreed) == log(newest).lastTerm { firm = max(firm, agreed) }
        through = max(through, firm, agreed)
    }

    /// The last entry that no node can give although none has to: it lies at or below the start of every log. One above a
    /// start is damaged or lost, and the replay stops there instead.
    private func lastMissing() -> UInt64 {
        let floor = holders.map { log($0).floor }.min() ?? 0
        var index = holders.map { log($0).startIndex }.min() ?? 0
        while index > floor, holders.contains(where: { log($0).ref(index)?.isReadable ?? false }) { index -= 1 }
        return index
    }

    /// How far a log is the same as the newest one. Terms only: two entries of one index and term are one entry (Raft §5.3).
    private func agreement(_ a: ReplicaLog, _ newest: ReplicaLog) -> UInt64 {
        var index = min(a.last, newest.last)
        while index > max(a.base, newest.base) {
            if let term = a.term(index), term == newest.term(index) { return index }
            index -= 1
        }
        return index
    }

    /// Every index up to `through` must be the same entry wherever it stands, and what is committed must be on a majority.
    ///
    /// - Parameter hinted: what was known to be committed before any node was read for the last time.
    func compare(hinted: UInt64) {
        let logs = holders.map { log($0) }
        let floor = min(base, logs.map(\.floor).min() ?? 0)
        for index in floor + 1..<max(floor, firm) + 1 {
            var first: (at: Int, ref: EntryRef)?
            for (at, log) in logs.enumerated() {
                guard let ref = log.ref(index), !ref.isHole else { continue }
                guard let known = first else {
                    first = (at, ref)
                    continue
                }
                if !known.ref.matches(ref) {
                    findings.problem(
                        "\(name), entry \(index): node \(holders[known.at].node) has term \(known.ref.term), checksum "
                            + "\(known.ref.crc) at \(place(known.ref, holders[known.at])); node \(holders[at].node) has "
                            + "term \(ref.term), checksum \(ref.crc) at \(place(ref, holders[at])). It is committed and "
                            + "must not differ: keep both disks, rejoin the node that is wrong")
                }
            }
        }
        guard let voters, hasMajority, readableVoters == voters.voters.count else { return }
        let present = voters.voters.compactMap { voter in holders.first { $0.replica == voter }.map { log($0).last } }
        let onMajority = present.sorted(by: >)[voters.majority - 1]
        if onMajority < hinted {
            findings.problem(
                "\(name): entries \(onMajority + 1) to \(hinted) are committed, but fewer than \(voters.majority) of "
                    + "\(voters.voters.count) voters hold them: logs end at "
                    + voters.voters.map { voter in
                        "\(holders.first { $0.replica == voter }.map { log($0).last } ?? 0) (node \(voter.node))"
                    }.joined(separator: ", ") + ". Acknowledged entries were removed from disks")
        }
    }

    private func place(_ ref: EntryRef, _ reader: NodeReader) -> String {
        "\(reader.path(ofSegment: UInt64(ref.segment))), offset \(ref.offset)"
    }

    // MARK: - Reading entries

    /// An entry as one replica holds it.
    struct Found {
        var ref: EntryRef
        var reader: NodeReader
    }

    /// The entry from a replica that can give it; `nil` where none can.
    func find(_ index: UInt64) -> Found? {
        // The replica that gave the last one first: its file is open and its pages are near.
        for step in 0..<holders.count {
            let at = (lastHolder + step) % holders.count
            if let ref = log(holders[at]).ref(index), ref.isReadable {
                lastHolder = at
                return Found(ref: ref, reader: holders[at])
            }
        }
        return nil
    }

    /// Reads an entry's payload into `buffer` and checks it once more; falls back on another replica where one fails now.
    func read(_ index: UInt64, into buffer: ScratchBuffer) -> (found: Found, payload: UnsafeRawBufferPointer)? {
        for step in 0..<holders.count {
            let at = (lastHolder + step) % holders.count
            guard let ref = log(holders[at]).ref(index), ref.isReadable else { continue }
            let found = Found(ref: ref, reader: holders[at])
            let target = buffer.prefix(ref.length)
            if let file = files.file(found.reader, ref.segment), file.read(Int(ref.offset), into: target) == ref.length,
                UnsafeRawBufferPointer(target).crc() == ref.crc
            {
                lastHolder = at
                return (found, UnsafeRawBufferPointer(target))
            }
            findings.note("\(name), entry \(index) can no longer be read at \(place(ref, holders[at]))")
        }
        return nil
    }

    /// Where the copies of an entry stand that cannot be read, for a message.
    func copies(of index: UInt64) -> String {
        let texts = holders.map { holder -> String in
            guard let ref = log(holder).ref(index), !ref.isHole else { return "node \(holder.node): not there" }
            return "node \(holder.node): damaged at \(place(ref, holder))"
        }
        return texts.joined(separator: "; ")
    }
}
