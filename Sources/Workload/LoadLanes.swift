import ClearingModel

/// Records on their way into requests of many: one open batch for each identity and shard.
struct LoadLanes {
    struct Batch {
        var instructions: [Instruction] = []
        /// When each was intended, in nanoseconds from the start.
        var intended: [UInt64] = []
        /// Records that have not ended.
        var left = 0
    }

    private static let none = -1

    private let shards: Int
    private let size: Int
    /// Batch being filled in each lane.
    private var open: [Int]
    private var openedAt: [UInt64]
    /// Lanes with an open batch, in the order in which they were opened; some may have been sent since.
    private var order: [(lane: Int, opened: UInt64)] = []
    private var orderHead = 0
    private(set) var batches: [Batch] = []
    private var free: [Int] = []

    init(identities: Int, shards: Int, size: Int) {
        precondition(size >= 1 && size <= Limits.maximumRecords, "records in a request")
        self.shards = shards
        self.size = size
        open = [Int](repeating: Self.none, count: identities * shards)
        openedAt = [UInt64](repeating: 0, count: identities * shards)
    }

    func identity(_ lane: Int) -> Int { lane / shards }
    func shard(_ lane: Int) -> Int { lane % shards }
    func isFull(_ lane: Int) -> Bool { batches[open[lane]].instructions.count >= size }

    /// Appends a record to its lane's open batch; the lane.
    @inline(__always)
    mutating func add(
        _ instruction: Instruction, identity: Int, shard: ShardID, _ intended: UInt64, opened now: UInt64
    ) -> Int {
        let lane = identity * shards + Int(shard.rawValue)
        if open[lane] == Self.none {
            open[lane] = newBatch()
            openedAt[lane] = now
            order.append((lane, now))
        }
        let batch = open[lane]
        batches[batch].instructions.append(instruction)
        batches[batch].intended.append(intended)
        waiting += 1
        return lane
    }

    /// The lane that was opened first, if that was before `time`.
    mutating func oldest(openedBefore time: UInt64) -> Int? {
        while orderHead < order.count {
            let (lane, opened) = order[orderHead]
            if open[lane] != Self.none, openedAt[lane] == opened {
                guard opened < time else { return nil }
                return lane
            }
            orderHead += 1
            if orderHead == order.count {
                order.removeAll(keepingCapacity: true)
                orderHead = 0
            }
        }
        return nil
    }

    /// Closes a lane's batch.
    mutating func take(_ lane: Int) -> Int {
        let batch = open[lane]
        precondition(batch != Self.none, "a lane with an open batch")
        open[lane] = Self.none
        waiting -= batches[batch].instructions.count
        return batch
    }

    /// Records in open batches.
    private(set) var waiting = 0

    /// The records of a batch leave without having been due: they count from now.
    mutating func restamp(_ batch: Int, _ now: UInt64) {
        for position in batches[batch].intended.indices { batches[batch].intended[position] = now }
    }

    /// The first `taken` records of the batch were submitted, the others dropped.
    mutating func sent(_ batch: Int, taken: Int) {
        batches[batch].left = taken
        batches[batch].instructions.removeAll(keepingCapacity: true)
        if taken == 0 { release(batch) }
    }

    /// One record ended; when it was intended.
    @inline(__always)
    mutating func ended(batch: Int, position: Int) -> UInt64 {
        let intended = batches[batch].intended[position]
        batches[batch].left -= 1
        if batches[batch].left == 0 { release(batch) }
        return intended
    }

    private mutating func newBatch() -> Int {
        if let batch = free.popLast() { return batch }
        batches.append(Batch())
        return batches.count - 1
    }

    private mutating func release(_ batch: Int) {
        batches[batch].intended.removeAll(keepingCapacity: true)
        free.append(batch)
    }
}
