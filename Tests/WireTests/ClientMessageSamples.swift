import ClearingModel
import Wire

/// One of each message, filled with values that differ from one another.
enum Samples {
    static let nodes = [node(1), node(2), node(3)]

    static func node(_ number: UInt16) -> TopologyNode {
        TopologyNode(
            id: NodeID(UInt32(number)), city: "city-\(number)", dataCentre: "dc-\(number)",
            address: "127.77.1.\(number)", port: 7_400 + number, adminPort: 7_500 + number)
    }

    static func placement(_ shard: UInt16) -> Placement {
        Placement(shard: ShardID(shard), nodes: [NodeID(1), NodeID(2), NodeID(3)])
    }

    static let topology = ClusterTopology(
        cluster: ClusterID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210), nodes: nodes,
        placements: (0...4).map { placement($0) },
        slots: SlotMap(shardCount: 4, largest: [(ParticipantID(1), 0.26), (ParticipantID(2), 0.08)]),
        calendar: ClearingCalendar(zoneOffsetMinutes: -60, nextDayOpens: 1_300, previousDayCloses: 90))
    static let bank = Participant(
        id: ParticipantID(104), kind: .bank, status: .sendSuspended, currency: 156, limit: 1 << 50, funding: 77,
        sponsor: ParticipantID(9))
    static let mandates = [
        Mandate(instructing: ParticipantID(7), debtors: .every(.bank), maximumAmount: 5_000, dailyCap: 1 << 40),
        Mandate(
            instructing: ParticipantID(8), debtors: .one(ParticipantID(104)), kinds: InstructionKinds(.payout),
            maximumAmount: 1, revoked: true),
    ]
    static let replica = ReplicaID(node: NodeID(2), incarnation: Incarnation(3))
    static let hello = Hello(cluster: topology.cluster, side: .peer, replica: replica, name: "suanpan ünï")
    static let refusal = Refusal(
        .notLeader, shard: ShardID(3), record: 17, retryAfterMilliseconds: 250, leader: NodeID(2),
        leaderAddress: "127.77.1.2:7402", message: "ask node 2")
    static let position = PositionReply(
        participant: ParticipantID(104), shard: ShardID(2), status: .active, currency: 156, applied: LogIndex(99),
        directoryVersion: DirectoryVersion(12), settled: -5, funding: 6, limit: 7, reserved: 8,
        available: -(1 << 100),
        rows: [
            PositionRow(
                window: WindowID(scheme: .domestic, number: 4), currency: 156, postedDebits: 1 << 90,
                postedCredits: 3)
        ])
    static let clusterReply = ClusterReply(
        replica: replica, topology: topology,
        groups: [
            GroupStatus(
                shard: ShardID(1), part: .leader, leader: NodeID(2), term: Term(5), commit: LogIndex(10),
                applied: LogIndex(9), directoryVersion: DirectoryVersion(8),
                openDays: BusinessDay(20_000)...BusinessDay(20_001),
                replicas: [
                    ReplicaStatus(replica: replica, part: .voter, match: LogIndex(10)),
                    ReplicaStatus(
                        replica: ReplicaID(node: NodeID(1), incarnation: Incarnation(1)), part: .learner,
                        match: .zero),
                ]),
            GroupStatus(
                shard: .directory, part: .none, leader: nil, term: .zero, commit: .zero, applied: .zero, replicas: []),
        ])
    static let operations: [Operation] = [
        .transferLeadership(shard: ShardID(3), to: NodeID(1)), .transferLeadership(shard: ShardID(3), to: nil),
        .replaceReplica(shard: ShardID(1), with: replica),
        .setLink(peer: nil, incoming: .delay(milliseconds: 30), outgoing: nil),
        .setLink(peer: NodeID(2), incoming: .drop, outgoing: .reset), .offsetClock(milliseconds: -3_000),
    ]

    static func instruction(_ n: UInt64) -> Instruction {
        var instruction = Instruction(
            id: TransactionID(
                debtor: ParticipantID(104), instructing: ParticipantID(7), day: BusinessDay(20_000), sequence: n),
            kind: .payout, amount: 1_000 + n, currency: 156, creditor: ParticipantID(9))
        instruction.digest = (n, 2, 3, 4)
        return instruction
    }

    static func decision(_ n: Int) -> Decision {
        Decision(
            outcome: n % 2 == 0 ? .accepted : .insufficientFunds, answer: .decided, slot: UInt16(n),
            window: WindowID(scheme: .domestic, number: 2), index: LogIndex(UInt64(40 + n)), shard: ShardID(3),
            ledgerTime: WallTime(rawValue: 1_790_000_000_000_000))
    }

    static var all: [any ClientMessage] {
        let changes = [DirectoryChange.participant(bank)] + mandates.map { .mandate($0) }
        return [
            hello, Hello(cluster: topology.cluster, side: .client, name: ""), refusal, Refusal(.overloaded),
            Refusal(.notLeader, inDoubt: true, shard: ShardID(3)),
            PositionRequest(participant: ParticipantID(104)), position, ClusterRequest(), clusterReply,
            DirectoryChangeRequest(changes: changes),
            DirectoryChangeReply(
                version: DirectoryVersion(4),
                failures: [DirectoryChangeReply.Failure(change: 2, fault: .unknownDebtor)]),
            DirectoryListRequest(.mandates, cursor: 77, maximumItems: 100),
            DirectoryListReply(version: DirectoryVersion(4), next: 78, items: changes),
            OperateReply(.notNow, message: "not before the own term has committed"),
        ] + operations.map { OperateRequest($0) }
    }
}
