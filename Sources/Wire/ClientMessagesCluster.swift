import ClearingModel

/// Asks a node for the cluster as it knows it.
public struct ClusterRequest: ClientMessage, Hashable {
    public static let frameType = FrameType.cluster
    public init() {}
    public func encodeBody(into writer: inout WireWriter) {}
    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> ClusterRequest {
        try WireReader(body).expectEnd()
        return ClusterRequest()
    }
}

/// One replica of a group as the answering node knows it.
public struct ReplicaStatus: Hashable, Sendable {
    public enum Part: UInt8, Sendable, CaseIterable {
        case voter = 1
        case learner = 2
    }

    public var replica: ReplicaID
    public var part: Part
    /// Highest index known to stand on this replica's disk; only a leader knows it of others, 0 = not known.
    public var match: LogIndex

    public init(replica: ReplicaID, part: Part, match: LogIndex) {
        self.replica = replica
        self.part = part
        self.match = match
    }
}

/// One group as the answering node knows it.
public struct GroupStatus: Hashable, Sendable {
    /// What the answering node is in the group.
    public enum Part: UInt8, Sendable, CaseIterable {
        case none = 0
        case follower, learner, candidate, leader
    }

    public var shard: ShardID
    public var part: Part
    public var leader: NodeID?
    public var term: Term
    public var commit: LogIndex
    public var applied: LogIndex
    /// Directory changes that the group has applied; payments need the ones of their participants.
    public var directoryVersion: DirectoryVersion
    /// Business days that the group has open; `nil` = none.
    public var openDays: ClosedRange<BusinessDay>?
    public var replicas: [ReplicaStatus]

    public init(
        shard: ShardID, part: Part, leader: NodeID?, term: Term, commit: LogIndex, applied: LogIndex,
        directoryVersion: DirectoryVersion = .zero, openDays: ClosedRange<BusinessDay>? = nil,
        replicas: [ReplicaStatus]
    ) {
        self.shard = shard
        self.part = part
        self.leader = leader
        self.term = term
        self.commit = commit
        self.applied = applied
        self.directoryVersion = directoryVersion
        self.openDays = openDays
        self.replicas = replicas
    }
}

/// The whole topology, enough to route every payment, and the state of each group on the answering node.
public struct ClusterReply: ClientMessage, Hashable {
    public static let frameType = FrameType.clusterReply

    /// Who answers.
    public var replica: ReplicaID
    public var topology: ClusterTopology
    public var groups: [GroupStatus]

    public init(replica: ReplicaID, topology: ClusterTopology, groups: [GroupStatus]) {
        self.replica = replica
        self.topology = topology
        self.groups = groups
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.replica(replica)
        writer.topology(topology)
        writer.u16(UInt16(groups.count))
        for group in groups {
            writer.id(group.shard)
            writer.u8(group.part.rawValue)
            writer.u8(UInt8(group.replicas.count))
            writer.optionalNode(group.leader)
            writer.id(group.term)
            writer.id(group.commit)
            writer.id(group.applied)
            writer.id(group.directoryVersion)
            writer.u16(group.openDays?.lowerBound.rawValue ?? 0)
            writer.u16(group.openDays?.upperBound.rawValue ?? 0)
            for one in group.replicas {
                writer.replica(one.replica)
                writer.u8(one.part.rawValue)
                writer.id(one.match)
            }
        }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> ClusterReply {
        var reader = WireReader(body)
        let replica = try reader.replica()
        let topology = try reader.topology()
        let count = Int(try reader.u16())
        guard count <= topology.placements.count else { throw .invalid(field: "group count", value: UInt64(count)) }
        var groups: [GroupStatus] = []
        groups.reserveCapacity(count)
        for _ in 0..<count { groups.append(try group(&reader, topology)) }
        try reader.expectEnd()
        return ClusterReply(replica: replica, topology: topology, groups: groups)
    }

    private static func group(
        _ reader: inout WireReader, _ topology: ClusterTopology
    ) throws(WireError) -> GroupStatus {
        let shard: ShardID = try reader.id()
        guard topology.placement(of: shard) != nil else {
            throw .invalid(field: "group shard", value: UInt64(shard.rawValue))
        }
        let part: GroupStatus.Part = try reader.value("group part")
        let replicaCount = Int(try reader.u8())
        var group = GroupStatus(
            shard: shard, part: part, leader: try reader.optionalNode(), term: try reader.id(),
            commit: try reader.id(), applied: try reader.id(), directoryVersion: try reader.id(), replicas: [])
        let first: BusinessDay = try reader.id()
        let last: BusinessDay = try reader.id()
        guard first <= last else { throw .invalid(field: "open days", value: UInt64(first.rawValue)) }
        if last.rawValue > 0 { group.openDays = first...last }
        for _ in 0..<replicaCount {
            group.replicas.append(
                ReplicaStatus(
                    replica: try reader.replica(), part: try reader.value("replica part"), match: try reader.id()))
        }
        return group
    }
}
