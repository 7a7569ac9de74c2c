import DequeModule
import LogFormat

/// One disk thread of a node: performs operations in order, and tells of them as the node's own threads do.
///
/// The process hears of what ended after every sync, and when there is nothing more to do. After a write or sync of the
/// log that failed, nothing that follows in its lane may succeed: it could become durable behind a hole.
struct DiskLane {
    /// Operations under way; the first is being performed.
    var operations = Deque<DiskOperation>()
    var isBusy = false
    /// What ended and the process was not told of yet.
    private var ended: [DiskCompletion] = []
    private(set) var broken: DiskError?

    /// The first operation has ended.
    /// - Returns: what the process is told now.
    mutating func end(_ operation: DiskOperation, _ result: DiskCompletion.Result) -> [DiskCompletion] {
        operations.removeFirst()
        isBusy = false
        ended.append(DiskCompletion(id: operation.id, result: result))
        var isSync = false
        switch operation.kind {
        case .sync: isSync = true
        case .write, .syncDirectory: break
        default: return tell(operations.isEmpty)
        }
        if case .failed(let error) = result, operation.lane == .write { broken = error }
        return tell(isSync || operations.isEmpty)
    }

    private mutating func tell(_ isDue: Bool) -> [DiskCompletion] {
        guard isDue else { return [] }
        defer { ended.removeAll(keepingCapacity: true) }
        return ended
    }

    static func index(of lane: DiskOperation.Lane) -> Int {
        switch lane {
        case .write: 0
        case .read: 1
        case .background: 2
        }
    }
}
