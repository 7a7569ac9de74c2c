import ClearingModel
import Client
import Wire

/// What operators do: fill the directory, change it while it is in use, take wiped nodes back in, move leadership.
struct SimulatedOperator {
    private let parameters: WorldParameters
    var random: SeededRandom
    /// What the directory shall hold, sent until it is acknowledged.
    var changes: [DirectoryChange] = []
    var isLoaded = false
    var changesUnderWay = 0
    var nextToken: UInt64 = 1
    /// Orders to take a replica in, by token.
    var replacements: [UInt64: (replica: ReplicaID, shard: ShardID)] = [:]
    /// By node: groups whose leader has said that it counts the new incarnation among its voters.
    private var takenIn: [(replica: ReplicaID, shards: [ShardID])?]
    var isChanging = false
    /// Changes that do nobody harm keep coming.
    var isRestoring = false
    /// The version that the last acknowledged change made.
    var version: DirectoryVersion = DirectoryVersion(0)

    init(parameters: WorldParameters, seed: UInt64) {
        self.parameters = parameters
        random = SeededRandom(seed: seed)
        takenIn = Array(repeating: nil, count: parameters.nodes + 1)
        let poor = parameters.poorParticipants
        for number in 1...UInt32(parameters.participants) {
            let limit: UInt64 = random.below(100) < poor ? random.within(0...200_000) : 1 << 50
            changes.append(
                .participant(
                    Participant(
                        id: ParticipantID(number), kind: number <= 2 ? .paymentInstitution : .bank, currency: 156,
                        limit: limit)))
        }
        changes.append(
            .mandate(
                Mandate(instructing: ParticipantID(1), debtors: .every(.bank), maximumAmount: 9_000, dailyCap: 400_000))
        )
    }

    /// One change while the cluster works: a limit moves, a participant is suspended or comes back.
    mutating func change() -> DirectoryChange {
        var participant = Self.unlimited(UInt32(1 + random.below(UInt64(parameters.participants))))
        switch random.below(4) {
        case 0: participant.limit = random.within(0...1_000_000)
        case 1: participant.status = random.pick([.suspended, .sendSuspended, .closing])
        default: break
        }
        return .participant(participant)
    }

    /// Everybody may pay again, and without a limit.
    mutating func restoreParticipants() {
        changes += (1...UInt32(parameters.participants)).map { .participant(Self.unlimited($0)) }
    }

    mutating func restoreOne() {
        changes.append(.participant(Self.unlimited(UInt32(1 + random.below(UInt64(parameters.participants))))))
    }

    private static func unlimited(_ number: UInt32) -> Participant {
        Participant(
            id: ParticipantID(number), kind: number <= 2 ? .paymentInstitution : .bank, currency: 156, limit: 1 << 50)
    }

    func isTakenIn(_ replica: ReplicaID, _ shard: ShardID) -> Bool {
        guard let known = takenIn[Int(replica.node.rawValue)] else { return false }
        return known.replica == replica && known.shards.contains(shard)
    }

    mutating func noteTakenIn(_ replica: ReplicaID, _ shard: ShardID) {
        let node = Int(replica.node.rawValue)
        if takenIn[node]?.replica != replica { takenIn[node] = (replica, []) }
        takenIn[node]!.shards.append(shard)
    }

    mutating func token() -> UInt64 {
        defer { nextToken += 1 }
        return nextToken
    }
}

extension World {
    private var operatorClient: SimulatedClient { clients[clients.count - 1] }

    /// Five times a simulated second.
    func operatorTick() {
        defer { queue.push(.operatorTick, at: now + 200_000) }
        if office.changesUnderWay == 0, !office.changes.isEmpty {
            office.changesUnderWay = min(office.changes.count, 16)
            let request = DirectoryChangeRequest(changes: Array(office.changes.prefix(office.changesUnderWay)))
            operatorClient.order(request, to: .leader(.directory), token: office.token(), in: self)
        }
        if office.isChanging, office.changes.isEmpty, office.random.oneIn(10) { office.changes.append(office.change()) }
        if office.isRestoring, office.changes.isEmpty, office.random.oneIn(5) { office.restoreOne() }
        for machine in machines where machine.rejoining { takeIn(machine) }
    }

    private func takeIn(_ machine: Machine) {
        guard office.replacements.isEmpty else { return }
        let mine = topology.placements.filter { $0.nodes.contains(machine.node) }
        let missing = mine.filter { !office.isTakenIn(machine.replica, $0.shard) }
        if missing.isEmpty {
            machine.rejoining = false
            machine.forgiveFailures()
            trace.add(.notice, at: now, node: machine.position, 0, "taken in again")
            return
        }
        for placement in missing {
            let token = office.token()
            office.replacements[token] = (machine.replica, placement.shard)
            operatorClient.order(
                OperateRequest(.replaceReplica(shard: placement.shard, with: machine.replica)),
                to: .leader(placement.shard), token: token, in: self)
        }
    }

    func officeEnded(_ call: CallCompletion) {
        if let order = office.replacements.removeValue(forKey: call.token) {
            if case .reply(.operateReply, let body) = call.result,
                let reply = body.withUnsafeBytes({ try? OperateReply.decode($0) }), reply.result == .done
            {
                office.noteTakenIn(order.replica, order.shard)
            }
            return
        }
        guard office.changesUnderWay > 0 else { return }
        // Whatever was not acknowledged is sent again: a change says how a participant shall be, so twice is harmless.
        if case .reply(.directoryChangeReply, let body) = call.result,
            let reply = body.withUnsafeBytes({ try? DirectoryChangeReply.decode($0) })
        {
            if !reply.failures.isEmpty {
                fail("DirectoryTakesChanges", "a valid change of the directory is taken", "\(reply.failures)")
            }
            office.version = max(office.version, reply.version)
            office.changes.removeFirst(office.changesUnderWay)
            if office.changes.isEmpty { office.isLoaded = true }
        }
        office.changesUnderWay = 0
    }

    /// Moves a group's leadership, in the way an operator does.
    func orderTransfer(_ shard: ShardID, to node: NodeID?) {
        operatorClient.order(
            OperateRequest(.transferLeadership(shard: shard, to: node)), to: .leader(shard), token: office.token(),
            in: self)
    }
}
