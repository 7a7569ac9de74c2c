import ClearingModel
import DequeModule
import Ledger
import Raft
import Wire

/// This node's replica of the directory: participants, mandates and their versions.
final class DirectoryGroup: Group {
    private(set) var directory: DirectoryLedger
    /// Ledger time and ordinal that the next command gets.
    var sequence: EntrySequence
    private var replies: [DirectoryChangeReply] = []
    /// Operators that wait for their command, oldest first.
    var waiting = Deque<(index: LogIndex, term: Term, reply: ReplyAddress)>()

    init(
        shard: ShardID, placement: Placement, raft: RaftReplica, applied: LogIndex, appliedTerm: Term,
        appliedMembership: Membership, directory: DirectoryLedger
    ) {
        self.directory = directory
        sequence = directory.sequence
        super.init(
            shard: shard, placement: placement, raft: raft, applied: applied, appliedTerm: appliedTerm,
            appliedMembership: appliedMembership)
    }

    override func becameReady(in engine: Engine) { sequence = directory.sequence }

    override func lostLeadership(in engine: Engine) {
        super.lostLeadership(in: engine)
        for command in waiting { engine.refuse(command.reply, shard: shard, .notLeader, inDoubt: true) }
        waiting.removeAll()
    }

    override var checkpointDue: Bool { directory.checkpointDue }
    override func encodeCheckpoint(standsAlone: Bool) -> CheckpointContent { directory.encodeCheckpoint() }

    /// A snapshot is durable here: its directory takes the place of this one.
    func install(_ restored: DirectoryLedger, _ snapshot: SnapshotHead) {
        precondition(!isLeader && waiting.isEmpty, "a leader takes no snapshot")
        directory = restored
        moved(to: snapshot)
    }

    override func stateHash() -> UInt64 { directory.stateHash }

    override func applyData(_ entry: RaftEntry, in engine: Engine) {
        directory.apply(entry.payload.bytes, index: entry.index, term: entry.term, replies: &replies)
        guard let reply = replies.first else { preconditionFailure("an entry of the directory holds one command") }
        while let command = waiting.first, command.index <= entry.index {
            waiting.removeFirst()
            precondition(
                command.index == entry.index && command.term == entry.term, "a command was answered by another")
            if let connection = engine.connection(command.reply.connection) {
                engine.send(reply, request: command.reply.request, to: connection)
            }
        }
        engine.sendNotices()
    }
}

/// Directory requests of operators and readers.
extension Engine {
    func changeDirectory(_ request: DirectoryChangeRequest, _ reply: ReplyAddress, _ connection: Connection) {
        guard connection.authority.operatorName != nil else {
            return refuse(
                reply, shard: .directory, .unauthorised,
                message: "only an operator changes the directory; this is \(connection.authority.summary)")
        }
        guard let group = directoryGroup, group.isReady else { return refuse(reply, shard: .directory, .notLeader) }
        if phase != .running { return refuse(reply, shard: .directory, .shuttingDown) }
        if isDiskFull { return refuse(reply, shard: .directory, .diskFull) }
        guard group.waiting.count < Limits.maximumUncommittedEntries else {
            return refuse(reply, shard: .directory, .overloaded)
        }
        var builder = EntryBuilder()
        guard builder.add(request) else {
            return refuse(reply, shard: .directory, .frameTooLarge, message: "send fewer changes in one request")
        }
        guard group.raft.mayPropose(now: now, wall: wall) else {
            return refuse(reply, shard: .directory, .overloaded)
        }
        let payload = group.sequence.seal(&builder, wall: wall, flush: false)
        guard case .accepted(let index, let term) = propose(payload, in: group) else {
            return refuse(reply, shard: .directory, .notLeader)
        }
        notice(
            .notice, "directory change",
            [("operator", connection.authority.summary), ("changes", "\(request.changes.count)")])
        group.waiting.append((index, term, reply))
    }

    func listDirectory(_ request: DirectoryListRequest, _ reply: ReplyAddress, _ connection: Connection) {
        guard connection.authority.operatorName != nil || connection.authority.regulatorName != nil else {
            return refuse(
                reply, shard: .directory, .unauthorised, message: "only operators and regulators list the directory")
        }
        guard let directory = directoryGroup?.directory else { return refuse(reply, shard: .directory, .notLeader) }
        send(directory.list(request), request: reply.request, to: connection)
    }
}
