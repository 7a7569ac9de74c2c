import ClearingModel
import Engine
import Testing
import Wire

/// What tests of whole clusters share: a small directory, a client that finds leaders, payments by number.
final class Scenario {
    let cluster: TestCluster
    let client: TestClient
    let operatorClient = TestClient([.operator("test")])
    let participants: [ParticipantID]
    private var nextRequest: UInt64 = 1

    init(
        nodes: Int = 3, shards: Int = 2, participants count: Int = 12, limit: UInt64 = 1_000_000, seed: UInt64 = 1,
        configure: @escaping (inout EngineConfiguration) -> Void = { _ in }
    ) throws {
        cluster = try TestCluster(nodes: nodes, shards: shards, seed: seed, configure: configure)
        participants = (1...count).map { ParticipantID(UInt32($0)) }
        client = TestClient(participants.map { .participant($0) })
        let led = cluster.reaches(cluster.allGroupsAreLed)
        try #require(led)
        let changes = participants.map {
            DirectoryChange.participant(Participant(id: $0, kind: .bank, currency: 156, limit: limit))
        }
        let leader = try #require(cluster.leader(of: .directory))
        cluster.connect(operatorClient, to: leader)
        var writer = WireWriter()
        DirectoryChangeRequest(changes: changes).encode(request: 1, into: &writer)
        cluster.send(writer.bytes, from: operatorClient)
        let version = UInt64(count)
        let ready = cluster.reaches(cluster.directoryReached(version) && cluster.daysAreOpen)
        try #require(ready)
    }

    var day: BusinessDay { BusinessDay(at: cluster.wall, offsetMinutes: 480) }

    func payment(_ number: UInt64, from debtor: Int, to creditor: Int, amount: UInt64 = 100) -> Instruction {
        let id = TransactionID(
            debtor: participants[debtor], instructing: participants[debtor], day: day, sequence: number)
        return Instruction(id: id, kind: .payout, amount: amount, currency: 156, creditor: participants[creditor])
    }

    /// Pays once per number and gives what was decided.
    func pay(
        _ numbers: ClosedRange<UInt64>, from debtor: Int = 0, to creditor: Int = 1
    ) throws -> [(Instruction, Decision)] {
        try numbers.map { number in
            let payment = payment(number, from: debtor, to: creditor, amount: 1)
            return (payment, try #require(decide(payment)))
        }
    }

    /// Credits posted to a participant, as its shard's leader says.
    func postedCredits(of participant: ParticipantID) -> Int128? {
        let home = cluster.topology.slots.home(of: participant)
        guard let leader = cluster.leader(of: home) else { return nil }
        let reader = TestClient([.regulator("test")])
        cluster.connect(reader, to: leader)
        var writer = WireWriter()
        PositionRequest(participant: participant).encode(request: 9, into: &writer)
        cluster.send(writer.bytes, from: reader)
        cluster.run(milliseconds: 100)
        for (header, body) in reader.frames where header.type == .positionReply {
            let reply = body.withUnsafeBytes { try? PositionReply.decode($0) }
            return reply?.rows.reduce(0) { $0 + $1.postedCredits }
        }
        return nil
    }

    /// What one attempt is refused with, if it is.
    func refusal(_ instruction: Instruction) -> RefusalCode? {
        let shard = cluster.topology.slots.route(instruction.id)
        guard let leader = cluster.leader(of: shard) else { return nil }
        cluster.connect(client, to: leader)
        let request = nextRequest
        nextRequest += 1
        var writer = WireWriter()
        Submit.encode(request: request, shard: shard, instruction, into: &writer)
        cluster.send(writer.bytes, from: client)
        cluster.run(milliseconds: 50)
        return client.refusals[request]?.code
    }

    /// Gives an order to the leader of a group.
    func operate(_ operation: Operation, shard: ShardID) {
        guard let leader = cluster.leader(of: shard) else { return }
        cluster.connect(operatorClient, to: leader)
        var writer = WireWriter()
        OperateRequest(operation).encode(request: 77, into: &writer)
        cluster.send(writer.bytes, from: operatorClient)
        cluster.settle()
    }

    /// Asks the leader of the id's shard, following leadership, until there is an answer.
    func decide(_ instruction: Instruction, atMost milliseconds: Int = 5_000) -> Decision? {
        let shard = cluster.topology.slots.route(instruction.id)
        var waited = 0
        while waited < milliseconds {
            guard let leader = cluster.leader(of: shard) else {
                cluster.run(milliseconds: 5)
                waited += 5
                continue
            }
            if client.connection?.node != leader { cluster.connect(client, to: leader) }
            let request = nextRequest
            nextRequest += 1
            var writer = WireWriter()
            Submit.encode(request: request, shard: shard, instruction, into: &writer)
            cluster.send(writer.bytes, from: client)
            cluster.settle()
            for _ in 0..<200 {
                if let decision = client.decisions[request]?.first { return decision }
                // After a refusal too time has to pass, or one that only time ends would be repeated for ever.
                let isOver = client.refusals[request] != nil || client.connection == nil
                cluster.run(milliseconds: 5)
                waited += 5
                if isOver { break }
            }
        }
        return nil
    }
}

extension TestCluster {
    var allGroupsAreLed: Bool { topology.placements.allSatisfy { leader(of: $0.shard) != nil } }

    var running: [Machine] { machines.filter { $0.engine?.isRunning == true } }

    func directoryReached(_ version: UInt64) -> Bool {
        running.allSatisfy { machine in
            machine.engine!.groupStatuses().allSatisfy { $0.part == .none || $0.directoryVersion.rawValue >= version }
        }
    }

    var daysAreOpen: Bool {
        running.allSatisfy { machine in
            machine.engine!.groupStatuses().allSatisfy {
                $0.shard.isDirectory || $0.part == .none || $0.openDays != nil
            }
        }
    }

    /// Whether the open days of every running clearing replica are like this.
    func daysAre(_ wanted: (ClosedRange<BusinessDay>) -> Bool) -> Bool {
        running.allSatisfy { machine in
            machine.engine!.groupStatuses().allSatisfy {
                $0.shard.isDirectory || $0.part == .none || $0.openDays.map(wanted) ?? false
            }
        }
    }

    func isVoter(_ replica: ReplicaID, of shard: ShardID) -> Bool {
        guard let leader = leader(of: shard), let engine = machine(leader).engine else { return false }
        return engine.groupStatuses().contains { status in
            status.shard == shard && status.replicas.contains { $0.replica == replica && $0.part == .voter }
        }
    }

    /// Replicas that applied the same index of a group hold the same state.
    var hashesAgree: Bool {
        let all = Set(running.flatMap { $0.engine!.stateHashes() })
        let places = Set(all.map { [UInt64($0.shard.rawValue), $0.index.rawValue] })
        return all.count == places.count
    }

    /// Every replica of every group has applied the same index.
    var isLevel: Bool {
        let all = running.flatMap { $0.engine!.groupStatuses() }.filter { $0.part != .none }
        return topology.placements.allSatisfy { placement in
            Set(all.filter { $0.shard == placement.shard }.map(\.applied)).count == 1
        }
    }
}
