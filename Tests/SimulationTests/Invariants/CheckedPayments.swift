import ClearingModel
import Engine
import Ledger
import Testing
import Wire

/// Payments through a checked cluster: every send and every answer goes to the checker.
final class CheckedPayments {
    let cluster: CheckedCluster
    let client: CheckedClient
    let operatorClient = CheckedClient([.operator("test")])
    let participants: [ParticipantID]
    /// The checker is told nothing of what clients do.
    var isSilent = false
    /// Turns that were shown otherwise than they were.
    var shown: UInt64 = 0
    private var request: UInt64 = 0

    init(
        nodes: Int = 3, shards: Int = 2, participants count: Int = 12, limit: UInt64 = 1_000_000, seed: UInt64 = 1,
        options: LedgerOptions = LedgerOptions()
    ) throws {
        cluster = try CheckedCluster(nodes: nodes, shards: shards, seed: seed, options: options)
        participants = (1...count).map { ParticipantID(UInt32($0)) }
        client = CheckedClient(participants.map { .participant($0) })
        let isLed = cluster.reaches(isLed)
        try #require(isLed)
        change(participants.map { .participant(Participant(id: $0, kind: .bank, currency: 156, limit: limit)) })
        let isReady = cluster.reaches(isReady(UInt64(count)))
        try #require(isReady)
    }

    private var isLed: Bool { cluster.topology.placements.allSatisfy { cluster.leader(of: $0.shard) != nil } }

    private func isReady(_ version: UInt64) -> Bool {
        cluster.machines.allSatisfy { machine in
            machine.engine!.groupStatuses().allSatisfy {
                $0.part == .none
                    || ($0.directoryVersion.rawValue >= version && ($0.shard.isDirectory || $0.openDays != nil))
            }
        }
    }

    func change(_ changes: [DirectoryChange]) {
        guard let leader = cluster.leader(of: .directory) else { return }
        cluster.connect(operatorClient, to: leader)
        var writer = WireWriter()
        DirectoryChangeRequest(changes: changes).encode(request: 1, into: &writer)
        cluster.send(writer.bytes, from: operatorClient)
        cluster.settle()
    }

    /// Orders a wiped replica back into a group.
    func replace(_ replica: ReplicaID, in shard: ShardID) {
        guard let leader = cluster.leader(of: shard) else { return }
        cluster.connect(operatorClient, to: leader)
        var writer = WireWriter()
        OperateRequest(.replaceReplica(shard: shard, with: replica)).encode(request: 77, into: &writer)
        cluster.send(writer.bytes, from: operatorClient)
        cluster.run(milliseconds: 1_500)
    }

    var day: BusinessDay { BusinessDay(at: cluster.wall, offsetMinutes: 480) }

    func payment(_ number: UInt64, from debtor: Int, to creditor: Int, amount: UInt64 = 100) -> Instruction {
        let id = TransactionID(
            debtor: participants[debtor], instructing: participants[debtor], day: day, sequence: number)
        return Instruction(id: id, kind: .payout, amount: amount, currency: 156, creditor: participants[creditor])
    }

    /// Sends until there is an answer.
    @discardableResult
    func decide(_ instruction: Instruction) -> Decision? {
        let shard = cluster.topology.slots.route(instruction.id)
        let sentAt = cluster.now
        if !isSilent { cluster.checker.sent(client: 0, instruction: instruction, at: sentAt) }
        let answer = ask(shard) { Submit.encode(request: $0, shard: shard, instruction, into: &$1) }
        if let answer, !isSilent {
            cluster.checker.decided(
                client: 0, instruction: instruction, decision: answer, shard: shard, sentAt: sentAt)
        }
        return answer
    }

    @discardableResult
    func query(_ id: TransactionID) -> Decision? {
        let shard = cluster.topology.slots.route(id)
        let sentAt = cluster.now
        guard let answer = ask(shard, { Query.encode(request: $0, shard: shard, [id], into: &$1) }) else { return nil }
        cluster.checker.queried(client: 0, id: id, decision: answer, shard: shard, sentAt: sentAt)
        return answer
    }

    private func ask(_ shard: ShardID, _ encode: (UInt64, inout WireWriter) -> Void) -> Decision? {
        for _ in 0..<100 {
            guard let leader = cluster.leader(of: shard) else {
                cluster.run(milliseconds: 20)
                continue
            }
            if client.link?.machine !== leader { cluster.connect(client, to: leader) }
            request += 1
            var writer = WireWriter()
            encode(request, &writer)
            cluster.send(writer.bytes, from: client)
            cluster.settle()
            for _ in 0..<100 {
                if let decision = client.decisions[request] { return decision }
                if client.refused.contains(request) || client.link == nil { break }
                cluster.run(milliseconds: 5)
            }
            cluster.run(milliseconds: 20)
        }
        return nil
    }
}
