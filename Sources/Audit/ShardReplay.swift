import ClearingModel

/// One shard's committed log on its way through its model.
final class ShardReplay {
    let shard: Int
    let log: ShardLog
    /// `nil` for the directory, which has a model of its own.
    let model: ShardModel?
    let outcomes: OutcomeStore?
    private let directory: DirectoryModel
    private let findings: Findings
    private let buffer = ScratchBuffer()

    /// The replay goes up to here: what was committed when the nodes were read first.
    var target: UInt64 = 0
    /// The last entry taken, of any kind.
    private(set) var index: UInt64 = 0
    private(set) var entries: UInt64 = 0
    /// Set where the replay cannot go on.
    private(set) var isStuck = false
    /// Whether everything up to the target was replayed, and the target is known: without a majority nobody knows what else
    /// was committed.
    var isComplete: Bool { log.hasMajority && !isStuck && index >= target }

    private var term: UInt64 = 0
    private var ledgerTime: UInt64 = 0
    private var next: (payload: UnsafeRawBufferPointer, index: UInt64, term: UInt64)?
    private var checkpoints: [CheckpointFile]
    private(set) var checkpointsCompared = 0
    /// The replay begins after this entry.
    private(set) var start: UInt64 = 0
    private let cluster: ClusterID

    init(
        shard: Int, log: ShardLog, model: ShardModel?, outcomes: OutcomeStore?, directory: DirectoryModel,
        cluster: ClusterID, checkpoints: [CheckpointFile], findings: Findings
    ) {
        self.shard = shard
        self.cluster = cluster
        self.log = log
        self.model = model
        self.outcomes = outcomes
        self.directory = directory
        self.findings = findings
        self.checkpoints = checkpoints.filter { Int($0.shard) == shard }.sorted { $0.index < $1.index }
        if log.base > 0 { restore() }
    }

    // MARK: - Starting later

    /// No node has the first entries any more: starts from the oldest checkpoint that every later entry is there for.
    private func restore() {
        for checkpoint in checkpoints where checkpoint.index >= log.base {
            do throws(DecodeError) {
                try restore(checkpoint)
            } catch {
                findings.note("\(checkpoint.path) cannot be used to start from: \(error)")
                if model == nil || model?.index == 0 { continue }
                break
            }
            (index, start) = (checkpoint.index, checkpoint.index)
            (term, ledgerTime) = (checkpoint.term, 0)
            checkpoints.removeAll { $0.index < checkpoint.index }
            findings.note(
                "\(log.name): entries up to \(log.base) are past their retention on every node; the replay starts from "
                    + "\(checkpoint.path), whose state after entry \(index) is taken as it is")
            compareCheckpoints(through: index)
            return
        }
        isStuck = true
        findings.unchecked(
            "\(log.name): no node has the entries 1 to \(log.base) any more, nor a checkpoint to start from: nothing of "
                + "it was checked")
    }

    private func restore(_ checkpoint: CheckpointFile) throws(DecodeError) {
        var index = RestoredIndex(cluster: cluster)
        var link: CheckpointFile? = checkpoint
        while let part = link, model != nil {
            guard let section = part.section(1) else { throw DecodeError("its index is damaged in \(part.path)") }
            try section.decode { bytes throws(DecodeError) in try index.add(bytes) }
            link = checkpoints.first { $0.node == checkpoint.node && $0.index == part.previous }
            if part.previous != 0, link == nil {
                throw DecodeError("checkpoint \(part.previous) of its chain is missing")
            }
        }
        guard let state = checkpoint.section(0) else { throw DecodeError("its state is damaged") }
        try state.decode { state throws(DecodeError) in
            if let model {
                try model.restore(state, cluster: cluster)
                model.restored = index
            } else {
                try directory.restore(state, cluster: cluster)
            }
        }
    }

    /// Ledger time of the next data entry up to `limit`; `nil` where there is none.
    func nextTime(_ limit: UInt64) -> UInt64? {
        if let next { return next.index <= limit ? next.payload.little(8, UInt64.self) : nil }
        while !isStuck, index < limit {
            guard let (found, payload) = log.read(index + 1, into: buffer) else {
                stop(
                    "entry \(index + 1) cannot be read anywhere (\(log.copies(of: index + 1))): restore one of the disks"
                )
                return nil
            }
            index += 1
            if UInt64(found.ref.term) < term {
                findings.problem("\(log.name), entry \(index): term \(found.ref.term) after term \(term)")
            }
            term = UInt64(found.ref.term)
            entries += 1
            guard found.ref.kind == LogRecord.data else {
                compareCheckpoints(through: index)
                continue
            }
            guard payload.count >= EntryHead.size else {
                bad("\(payload.count) bytes are no entry")
                return nil
            }
            next = (payload, index, term)
            return payload.little(8, UInt64.self)
        }
        return nil
    }

    /// Applies the entry that `nextTime` found.
    func step() {
        guard let (payload, index, term) = next else { return }
        next = nil
        do throws(DecodeError) {
            if let model {
                try model.apply(payload, index: index, term: term)
            } else {
                try applyDirectory(payload)
            }
        } catch {
            return bad("\(error)")
        }
        compareCheckpoints(through: index)
    }

    private func applyDirectory(_ payload: UnsafeRawBufferPointer) throws(DecodeError) {
        let head = try EntryHead(payload)
        guard head.records == 0 else { throw DecodeError("\(head.records) records in the directory's log") }
        if head.ledgerTime <= ledgerTime {
            findings.problem(
                "directory, entry \(index): ledger time \(head.ledgerTime) does not continue \(ledgerTime)")
        }
        ledgerTime = head.ledgerTime
        try directory.apply(head)
    }

    private func stop(_ why: String) {
        isStuck = true
        findings.unchecked("\(log.name): \(why); nothing after it was checked")
    }

    private func bad(_ why: String) {
        isStuck = true
        let place = log.find(index).map { found in
            " (\(found.reader.path(ofSegment: UInt64(found.ref.segment))), offset \(found.ref.offset))"
        }
        findings.problem("\(log.name), entry \(index)\(place ?? ""): its checksum is right, but it is no entry: \(why)")
    }

    // MARK: - Checkpoints

    /// A checkpoint says what its node's own ledger made of the log: its running hash covers every outcome and every batch.
    private func compareCheckpoints(through index: UInt64) {
        while let first = checkpoints.first, first.index <= index {
            checkpoints.removeFirst()
            guard let model, first.index == index else { continue }
            guard let state = first.section(0) else {
                findings.note("\(first.path) is damaged: the node uses the one before it")
                continue
            }
            checkpointsCompared += 1
            if let fault = state.withUnsafeBytes({ model.fault(inState: $0) }) {
                findings.problem(
                    "\(log.name): \(first.path) is the state after entry \(index), and \(fault). A node's ledger and the "
                        + "replay disagree: keep its disk, and compare the entries before with those of another node")
            }
        }
    }
}

extension ShardModel {
    /// What a node's checkpointed state says otherwise than this model; `nil` where they agree.
    func fault(inState state: UnsafeRawBufferPointer) -> String? {
        do throws(DecodeError) {
            var reader = ByteReader(state)
            let schema: UInt16 = try reader.take("a state")
            guard schema == 1 else { throw DecodeError("a state of schema \(schema)") }
            let found: UInt16 = try reader.take("a state's shard")
            _ = try reader.take(4 + 16, "a state")
            guard Int(found) == shard else { return "says it is of shard \(found)" }
            let fields: [(String, UInt64)] = [
                ("index", index), ("term", term), ("ledger time", ledgerTime), ("next ordinal", nextOrdinal),
            ]
            for (name, expected) in fields {
                let value: UInt64 = try reader.take("a state")
                // Entries without payload move the index, not the state.
                if value != expected, name != "index", name != "term" {
                    return "its \(name) is \(value), the replay has \(expected)"
                }
            }
            _ = try reader.take("a state's bytes", UInt64.self)
            let hash: UInt64 = try reader.take("a state's running hash")
            if hash != runningHash {
                return
                    "its running hash \(hash) is not that of the replay, \(runningHash): an outcome or a batch differs"
            }
            return nil
        } catch {
            return "cannot be decoded: \(error)"
        }
    }
}
