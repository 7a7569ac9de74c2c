import ClearingModel
import Wire

/// The replicas of a group. A replica uses the newest one in its log, committed or not (Raft §6).
public struct Membership: Hashable, Sendable, CustomStringConvertible {
    /// Replicas that vote and count for commit, ascending.
    public private(set) var voters: [ReplicaID]
    /// Replicas that only receive the log, ascending.
    public private(set) var learners: [ReplicaID]

    public init(voters: [ReplicaID] = [], learners: [ReplicaID] = []) {
        self.voters = voters.sorted()
        self.learners = learners.sorted()
    }

    public static let empty = Membership()

    public func isVoter(_ replica: ReplicaID) -> Bool { voters.contains(replica) }
    public func isLearner(_ replica: ReplicaID) -> Bool { learners.contains(replica) }
    public func contains(_ replica: ReplicaID) -> Bool { isVoter(replica) || isLearner(replica) }

    /// The member that lives on `node`, whichever its incarnation.
    public func replica(on node: NodeID) -> ReplicaID? {
        voters.first { $0.node == node } ?? learners.first { $0.node == node }
    }

    /// Votes, or acknowledgements, that decide.
    public var quorum: Int { voters.count / 2 + 1 }

    public var description: String {
        "voters [\(voters.map(\.description).joined(separator: " "))]"
            + (learners.isEmpty ? "" : " learners [\(learners.map(\.description).joined(separator: " "))]")
    }
}

/// One step of a membership change: one server at a time (Raft thesis §4.1).
public enum MembershipChange: Hashable, Sendable {
    case addLearner(ReplicaID)
    /// Makes a learner that has caught up a voter.
    case promote(ReplicaID)
    case remove(ReplicaID)
}

extension Membership {
    /// The membership after `change`, or why there is none. Says nothing about when a leader may propose it.
    public func applying(_ change: MembershipChange) -> Result<Membership, MembershipRefusal> {
        var after = self
        switch change {
        case .addLearner(let replica):
            if let present = self.replica(on: replica.node) { return .failure(.nodeIsMember(present)) }
            if voters.count + learners.count >= Limits.maximumReplicas { return .failure(.tooManyReplicas) }
            after.learners = (learners + [replica]).sorted()
        case .promote(let replica):
            guard isLearner(replica) else { return .failure(.notLearner) }
            after.learners.removeAll { $0 == replica }
            after.voters = (voters + [replica]).sorted()
        case .remove(let replica):
            guard contains(replica) else { return .failure(.notMember) }
            if voters == [replica] { return .failure(.lastVoter) }
            after.voters.removeAll { $0 == replica }
            after.learners.removeAll { $0 == replica }
        }
        return .success(after)
    }
}

/// Why a membership change was not proposed.
public enum MembershipRefusal: Error, Hashable, Sendable {
    case notLeader(ReplicaID?)
    /// The leader has not committed an entry of its own term yet: ask again in a moment.
    case termNotCommitted
    /// The change at this index is not committed yet.
    case changeInProgress(LogIndex)
    case transferring
    /// The node is there already; remove that replica first.
    case nodeIsMember(ReplicaID)
    case notMember
    case notLearner
    /// The learner lacks this many entries still.
    case behind(Int)
    /// A group without voters could never decide again.
    case lastVoter
    case tooManyReplicas
    /// A newer incarnation of that node is known.
    case oldIncarnation(ReplicaID)
}

/// What became of a proposed membership change.
public enum MembershipProposal: Hashable, Sendable {
    /// In the log; in force at once, final when `RaftEffect.membershipCommitted` comes.
    case accepted(LogIndex, Term)
    case refused(MembershipRefusal)
}

// MARK: - Wire

extension Membership {
    /// Wire form: counts (16 bits each), then node and incarnation (32 bits each) of voters and of learners.
    public func encode(into writer: inout WireWriter) {
        writer.u16(UInt16(voters.count))
        writer.u16(UInt16(learners.count))
        for replica in voters { writer.replica(replica) }
        for replica in learners { writer.replica(replica) }
    }

    /// The payload of a configuration entry.
    public func encoded() -> Slab {
        var writer = WireWriter(reserving: 4 + 8 * (voters.count + learners.count))
        encode(into: &writer)
        return Slab(writer.bytes)
    }

    public init(decoding reader: inout WireReader) throws(WireError) {
        let voterCount = try reader.u16()
        let learnerCount = try reader.u16()
        guard Int(voterCount) + Int(learnerCount) <= Limits.maximumReplicas else {
            throw .invalid(field: "membership replicas", value: UInt64(voterCount) + UInt64(learnerCount))
        }
        var all: [ReplicaID] = []
        for _ in 0..<voterCount + learnerCount {
            let replica = try reader.replica()
            // One replica per node: links, acknowledgements and votes are counted by replica and carried by node.
            guard !all.contains(where: { $0.node == replica.node }) else {
                throw .invalid(field: "membership node (twice)", value: UInt64(replica.node.rawValue))
            }
            all.append(replica)
        }
        self.init(voters: Array(all.prefix(Int(voterCount))), learners: Array(all.dropFirst(Int(voterCount))))
    }

    /// Reads a configuration entry's payload, which must hold nothing else.
    public init(decoding payload: Slab) throws(WireError) {
        var reader = WireReader(payload.bytes)
        try self.init(decoding: &reader)
        try reader.expectEnd()
    }
}

extension WireWriter {
    /// A replica id: node and incarnation, 32 bits each.
    public mutating func replica(_ replica: ReplicaID) {
        id(replica.node)
        id(replica.incarnation)
    }
}

extension WireReader {
    /// A replica id: node and incarnation, 32 bits each.
    public mutating func replica() throws(WireError) -> ReplicaID {
        ReplicaID(node: try id(NodeID.self), incarnation: try id(Incarnation.self))
    }
}
