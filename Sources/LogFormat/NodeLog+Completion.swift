import ClearingModel
import Wire

/// What waits for an operation.
enum Waiter {
    case ignore
    case recovery
    /// A write, or another step, of the log itself: it must not fail.
    case logWrite
    case groupSynced
    case sealed
    case segmentNamed
    case spareStep
    case spareReady
    case spareFilled(through: Int)
    case freeSpace
    case readPart(job: UInt64, part: Int)
    case tableFooter(segment: UInt64)
    case tableBody(segment: UInt64, checksum: UInt32)
    case checkpointStep(Int)
    case checkpointWritten(Int)
    case checkpointNamed(Int)
    case checkpointRead(Int)
    case checkpointPiece(token: UInt64, count: Int)
    case snapshotOpened(UInt64)
    case snapshotPiece(UInt64, through: UInt64)
    case segmentRemoved(UInt64)
}

extension NodeLog {
    /// Takes what became of an operation; may emit further ones.
    /// - Precondition: each operation completes once, those of one lane in order.
    public mutating func complete(
        _ completion: DiskCompletion, ops: inout [DiskOperation], events: inout [LogEvent]
    ) {
        guard let (waiter, lane) = waiting.removeValue(forKey: completion.id) else {
            preconditionFailure("operation \(completion.id) completed twice, or was never emitted")
        }
        if lane == .background { backgroundOperations -= 1 }
        // After a failed write or sync nothing that follows may look durable.
        guard !hasFailed else { return }
        carryOn(waiter, completion.result, &ops, &events)
        if lane == .background { fillSpare(&ops) }
    }

    private mutating func carryOn(
        _ waiter: Waiter, _ result: DiskCompletion.Result, _ ops: inout [DiskOperation], _ events: inout [LogEvent]
    ) {
        switch waiter {
        case .ignore: break
        case .recovery: recoveryStep(result, &ops, &events)
        case .logWrite: _ = succeeded(result, &events)
        case .groupSynced: if succeeded(result, &events) { groupSynced(&ops, &events) }
        case .sealed: if succeeded(result, &events) { sealed(&ops) }
        case .segmentNamed: if succeeded(result, &events) { segmentNamed(&ops) }
        case .spareStep: spareStep(result, last: false, &ops, &events)
        case .spareReady: spareStep(result, last: true, &ops, &events)
        case .spareFilled(let through): spareFilled(result, through: through, &ops, &events)
        case .freeSpace:
            freeSpaceAsked = false
            if case .number(let bytes) = result { freeSpaceKnown(bytes, &ops, &events) }
        case .readPart(let job, let part): readPart(job, part, result, &ops, &events)
        case .tableFooter(let segment): tableFooter(segment, result, &ops, &events)
        case .tableBody(let segment, let checksum): tableBody(segment, checksum, result, &ops, &events)
        case .checkpointStep(let slot): checkpointStep(slot, result)
        case .checkpointWritten(let slot): checkpointWritten(slot, result, &ops, &events)
        case .checkpointNamed(let slot): checkpointNamed(slot, result, &ops, &events)
        case .checkpointRead(let slot): checkpointRead(slot, result, &ops, &events)
        case .checkpointPiece(let token, let count): checkpointPiece(token, count, result, &events)
        case .snapshotOpened(let id): snapshotPiece(id, through: 0, result, &ops, &events)
        case .snapshotPiece(let id, let through): snapshotPiece(id, through: through, result, &ops, &events)
        case .segmentRemoved(let segment): segmentRemoved(segment, &events)
        }
    }

    private mutating func succeeded(_ result: DiskCompletion.Result, _ events: inout [LogEvent]) -> Bool {
        guard case .failed(let error) = result else { return true }
        if recovery != nil {
            hasFailed = true
            events.append(.recoveryFailed(.disk(error, doing: "writing the first group of the log")))
        } else {
            fail(error, &events)
        }
        return false
    }
}
