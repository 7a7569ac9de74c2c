import ClearingModel
import LogFormat
import Raft
import Wire

extension Microbenchmark {
    /// Entries of 64 payments, staged, grouped, written and synced by a disk that does nothing.
    static func logAppend() -> (Int, () -> Void) {
        let me = ReplicaID(node: NodeID(1), incarnation: Incarnation(1))
        let shard = ShardID(1)
        var log = NodeLog(cluster: cluster, me: me, shards: [.directory, shard])
        var operations: [DiskOperation] = []
        var events: [LogEvent] = []
        func settle() {
            while !operations.isEmpty {
                let batch = operations
                operations.removeAll(keepingCapacity: true)
                for operation in batch {
                    log.complete(
                        DiskCompletion(id: operation.id, result: answer(operation.kind)), ops: &operations,
                        events: &events)
                }
            }
        }
        log.recover(&operations)
        settle()
        for group in [ShardID.directory, shard] {
            log.appendLogStart(shard: group, index: .zero, term: .zero, membership: Membership(voters: [me]))
        }
        log.flush(&operations)
        settle()
        let records = 64
        let payload = Slab([UInt8](repeating: 3, count: records * Instruction.size))
        let entries = (1...UInt64(count / records)).map {
            RaftEntry(index: LogIndex($0), term: Term(1), kind: .data, payload: payload)
        }
        return (
            entries.count * records,
            {
                for entry in entries {
                    log.append([entry], shard: shard)
                    log.flush(&operations)
                    settle()
                    events.removeAll(keepingCapacity: true)
                }
            }
        )
    }

    /// What an empty disk says.
    private static func answer(_ kind: DiskOperation.Kind) -> DiskCompletion.Result {
        switch kind {
        case .list: .names([])
        case .read: .bytes(.empty)
        case .size: .number(0)
        case .freeSpace: .number(1 << 40)
        case .open(_, create: false): .failed(DiskError(code: 2, message: "no such file"))
        default: .done
        }
    }
}
