import ClearingModel
import Ledger
import Raft
import Wire

/// Reads: linearizable by read index, never logged.
extension Engine {
    func query(_ query: Query, bytes: Int, _ reply: ReplyAddress, _ connection: Connection) {
        let request = PendingRequest(reply: reply, count: query.count, bytes: bytes)
        read(request, shard: query.shard, connection) { .query((0..<query.count).map { query[$0] }) }
    }

    func position(_ request: PositionRequest, bytes: Int, _ reply: ReplyAddress, _ connection: Connection) {
        let authority = connection.authority
        guard
            authority.operatorName != nil || authority.regulatorName != nil
                || authority.mayInstruct(request.participant)
        else {
            return refuse(
                reply, shard: .directory, .unauthorised,
                message: "\(authority.summary) may not see the position of participant \(request.participant)")
        }
        read(
            PendingRequest(reply: reply, count: 1, bytes: bytes),
            shard: configuration.topology.slots.home(of: request.participant), connection
        ) { .position(request.participant) }
    }

    /// Takes a read, which stands in its connection's window until it is answered: each id of a query may cost a read of
    /// the log.
    private func read(
        _ request: PendingRequest, shard: ShardID, _ connection: Connection, want: () -> ReadRequest.Want
    ) {
        guard let group = clearing(shard), group.isReady else {
            return refuse(request.reply, shard: shard, .notLeader)
        }
        guard outstandingReads + request.count <= Limits.maximumReads,
            connection.pendingRequests < Limits.connectionWindowRequests,
            connection.pendingBytes + request.bytes <= Limits.connectionWindowBytes
        else { return refuse(request.reply, shard: shard, .overloaded) }
        outstandingReads += request.count
        connection.pendingRequests += 1
        connection.pendingBytes += request.bytes
        let token = token()
        group.reads[token] = ReadRequest(want: want(), request: request, index: nil)
        group.raft.read(token: token, now: now, &raftEffects)
        process(group)
    }

    /// Answers the reads whose index has been applied.
    func serveReads(_ group: Group) {
        guard !group.reads.isEmpty, let group = group as? ClearingGroup else { return }
        for token in group.reads.keys.sorted() { serveRead(token, group) }
    }

    /// Answers one read if its index is known and has been applied.
    func serveRead(_ token: UInt64, _ group: ClearingGroup) {
        guard let read = group.reads[token], let index = read.index, index <= group.applied else { return }
        group.reads[token] = nil
        switch read.want {
        case .query(let ids): answerQuery(ids, group, read.request)
        case .position(let participant): answerPosition(participant, group, read.request)
        }
    }

    /// Gives back what a read holds of its connection's window and of the node's.
    func endRead(_ request: PendingRequest) {
        outstandingReads -= request.count
        release(request)
    }

    /// Leadership is lost: the next leader is asked.
    func failRead(_ token: UInt64, _ group: Group) {
        guard let read = group.reads.removeValue(forKey: token) else { return }
        endRead(read.request)
        refuse(read.request.reply, shard: group.shard, .notLeader)
    }

    func failReads(_ group: Group) {
        for token in group.reads.keys.sorted() { failRead(token, group) }
    }

    private func answerQuery(_ ids: [TransactionID], _ group: ClearingGroup, _ request: PendingRequest) {
        var records: [Int: Instruction] = [:]
        var decisions: [Decision] = []
        for (position, id) in ids.enumerated() {
            guard let hit = group.ledger.lookup(id) else {
                decisions.append(
                    Decision(
                        outcome: .unsupported, answer: group.ledger.isExpired(id.day) ? .expired : .notFound, slot: 0,
                        window: group.ledger.currentWindow, index: .zero, shard: group.shard, ledgerTime: .zero))
                continue
            }
            records[position] = .queryOrVoid(id)
            decisions.append(
                Decision(
                    outcome: hit.outcome, answer: .needsComparison, slot: 0, window: group.ledger.currentWindow,
                    index: LogIndex(hit.ordinal.rawValue), shard: group.shard, ledgerTime: .zero))
        }
        startComparison(
            Comparison(
                request: request, group: group, type: .queryReply, decisions: decisions, records: records))
    }

    private func answerPosition(_ participant: ParticipantID, _ group: ClearingGroup, _ request: PendingRequest) {
        endRead(request)
        guard let connection = connection(request.reply.connection) else { return }
        send(group.ledger.position(of: participant), request: request.reply.request, to: connection)
    }

    func clusterReply() -> ClusterReply {
        ClusterReply(replica: me, topology: configuration.topology, groups: groupStatuses())
    }

    /// The state of every group as this node knows it; for the `cluster` message and `/status`.
    public func groupStatuses() -> [GroupStatus] {
        configuration.topology.placements.map { placement in
            let known = leaders[Int(placement.shard.rawValue)]
            guard let group = group(placement.shard) else {
                return GroupStatus(
                    shard: placement.shard, part: .none, leader: known?.node, term: known?.term ?? .zero,
                    commit: .zero, applied: .zero, replicas: [])
            }
            let membership = group.raft.membership
            let followers = group.raft.followerStatus
            let match = { (replica: ReplicaID) in
                replica == self.me ? group.raft.lastIndex : followers.first { $0.replica == replica }?.match ?? .zero
            }
            let ledger = (group as? ClearingGroup)?.ledger
            return GroupStatus(
                shard: placement.shard, part: group.part,
                leader: group.raft.leader?.node ?? known?.node, term: group.raft.term, commit: group.commit,
                applied: group.applied,
                directoryVersion: ledger?.directoryVersion ?? (group as? DirectoryGroup)?.directory.version ?? .zero,
                openDays: ledger.flatMap { $0.openDays.first }.map { $0...(ledger?.openDays.last ?? $0) },
                replicas: membership.voters.map { ReplicaStatus(replica: $0, part: .voter, match: match($0)) }
                    + membership.learners.map { ReplicaStatus(replica: $0, part: .learner, match: match($0)) })
        }
    }
}
