import Audit
import ClearingModel
import LogFormat
import Wire

// What reaches the disks.
extension Checker {
    /// Something was written to a file, as a whole.
    public func wrote(_ node: NodeID, file: FileName, offset: UInt64, slabs: [Slab]) {
        guard violation == nil, case .segment(let number) = file, let track = track(node) else { return }
        var details: String?
        let parts = slabs.map(\.bytes)
        let fault = track.log.wrote(segment: number, offset: offset, parts) { record, payload in
            switch record.kind {
            case .entry, .repair:
                if let found = take(record, payload, track.replica), details == nil { details = found }
            case .truncation:
                let last = track.engine == nil ? nil : track.last[Int(record.shard.rawValue)]
                report(
                    LeaderAppendOnly.self,
                    leaderAppendOnly.truncated(
                        track.replica, record.shard, from: record.index, term: record.term, now: last))
            case .hardState, .logStart: break
            }
        }
        report(LogMatching.self, details)
        report(DurableRecords.self, durableRecords.wrote(track.replica, fault: fault))
    }

    /// Notes an entry, or holds it against the one noted before.
    private func take(
        _ record: WrittenRecord, _ payload: UnsafeRawBufferPointer, _ replica: ReplicaID
    ) -> String? {
        let shard = Int(record.shard.rawValue)
        let known = tables[shard].find(record.index, record.term)
        let details = logMatching.wrote(record, by: replica, known: known)
        if known == nil || (known?.previousTerm == nil && record.kind == .entry) {
            tables[shard].put(
                record.index,
                KnownEntry(
                    term: record.term, previousTerm: record.kind == .entry ? record.previousTerm : nil,
                    kind: record.detail, checksum: record.checksum,
                    payload: known?.payload ?? arena.keep(payload)))
        }
        return details
    }

    /// Everything written to the file before is durable.
    public func synced(_ node: NodeID, file: FileName) {
        guard case .segment(let number) = file, let track = track(node) else { return }
        track.log.synced(segment: number)
        track.rememberVotes()
    }

    public func renamed(_ node: NodeID, from: FileName, to: FileName) {
        if case .checkpoint(let shard, let index) = to { track(node)?.namedCheckpoints.append((shard, index)) }
    }

    public func removed(_ node: NodeID, file: FileName) {}

    /// Creations, renames and removals so far are durable.
    public func directorySynced(_ node: NodeID) {
        guard let track = track(node) else { return }
        for (shard, index) in track.namedCheckpoints where Int(shard.rawValue) < track.checkpoints.count {
            track.checkpoints[Int(shard.rawValue)] = max(track.checkpoints[Int(shard.rawValue)], index)
        }
        track.namedCheckpoints.removeAll()
    }

    /// The replica that runs on a node, or one before it, with what its disk held when it was emptied; `nil` where none ever ran.
    private func track(_ replica: ReplicaID) -> NodeTrack? {
        if let track = track(replica.node), track.replica == replica { return track }
        return former.last { $0.replica == replica }
    }

    /// Whether a replica's disk durably has an entry, or a state that contains it.
    func holding(_ voter: ReplicaID, _ shard: ShardID, _ index: LogIndex, _ term: Term) -> CommittedOnMajority.Holding {
        guard let track = track(voter) else { return .absent }
        let slot = Int(shard.rawValue)
        if let entry = track.log.entry(of: shard, at: index) {
            if entry.term == term, !entry.isDamaged { return .durable }
        } else if track.log.start(of: shard) >= index {
            return .durable
        }
        if track.checkpoints[slot] >= index { return .durable }
        return track.isDamaged || track.isRolledBack ? .unknown : .absent
    }

    /// Whether a voter's disk remembers a vote.
    func ballot(of voter: ReplicaID, _ shard: ShardID, _ term: Term, for leader: ReplicaID) -> ElectedByMajority.Ballot
    {
        guard let track = track(voter) else { return .none }
        let durable = track.durableVotes[Int(shard.rawValue)]
        if durable.term == term, durable.vote == leader { return .granted }
        return durable.term > term || track.isDamaged || track.isRolledBack ? .unknown : .none
    }
}
