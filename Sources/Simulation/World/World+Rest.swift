import ClearingModel
import Engine
import Raft

/// What a cluster in which nothing is broken any more looks like when no work is left.
extension World {
    /// What is not yet so, for people; empty when all is well.
    var unfinished: String {
        var list: [String] = []
        let living = machines.filter { !$0.isDeadForEver }
        for machine in living {
            guard let engine = machine.engine, engine.isRunning else {
                list.append("node \(machine.node) does not run")
                continue
            }
            if machine.rejoining { list.append("node \(machine.node) is not taken in") }
            list += unhealed(machine.node, engine)
        }
        for placement in topology.placements {
            let statuses = living.compactMap { machine in
                machine.engine?.groupStatuses().first { $0.shard == placement.shard && $0.part != .none }
                    .map { (node: machine.node, status: $0) }
            }
            if !statuses.contains(where: { $0.status.part == .leader }) {
                list.append("shard \(placement.shard) has no leader")
            }
            if Set(statuses.map(\.status.applied)).count > 1 {
                let replicas = statuses.map { node, status in
                    "node \(node) \(status.part) in term \(status.term) \(status.applied) of \(status.commit)"
                }
                list.append("shard \(placement.shard)'s replicas differ: " + replicas.joined(separator: ", "))
            }
        }
        list += checker.creditsUnderWay
        for client in clients where !client.isOperator && !client.workload.isSettled {
            list.append("client \(client.number) waits: \(client.workload.waiting)")
        }
        if !office.changes.isEmpty { list.append("\(office.changes.count) changes of the directory wait") }
        if isHealing { list += newWork.missing }
        return list.joined(separator: "; ")
    }

    /// Whether a node runs, and nothing is left of any harm that was done to its disk.
    func isWhole(_ machine: Machine) -> Bool {
        guard let engine = machine.engine, engine.isRunning, !machine.isDraining, !machine.rejoining, !machine.isDamaged
        else { return false }
        return !checker.isHarmed(machine.node) && unhealed(machine.node, engine).isEmpty
    }

    /// A replica that does less than its part: it waits for a repair, or for its doubts to be settled.
    private func unhealed(_ node: NodeID, _ engine: Engine) -> [String] {
        (0..<engine.inspectedGroups).compactMap { place in
            let group = engine.inspectGroup(place)
            let raft = group.raft
            var faults = raft.fence.isEmpty ? [] : ["is fenced (\(raft.fence.rawValue))"]
            if let hole = raft.hole { faults.append("has a hole at \(hole)") }
            if raft.isHalted { faults.append("is halted") }
            return faults.isEmpty ? nil : "node \(node), shard \(group.shard) \(faults.joined(separator: " and "))"
        }
    }
}
