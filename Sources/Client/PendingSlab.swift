import ClearingModel
import Wire

/// Where a pending request is.
enum PendingState: UInt8 {
    case free
    /// In its lane's queue.
    case waiting
    /// In flight on `connection`.
    case sent
    /// Answered with what is not its last word; sent again when its timer fires.
    case parked
    /// Between the two, while one method decides where it goes.
    case held
}

/// One request from submit to its end. Fixed size; lists run through it by slot number.
struct Pending {
    static let none: Int32 = -1

    var state = PendingState.free
    var type = FrameType.submit
    /// It was in flight when its connection was lost or gave no answer: a refusal no longer proves that it is undecided.
    var inDoubt = false
    /// May be sent again after it was in doubt.
    var repeatable = true
    /// A leader that had put it into its log gave up leading: no more proof either, but no reason to ask twice.
    var mayBeLogged = false
    /// Why it was last refused for the time being.
    var lastRefusal: RefusalCode?
    var generation: UInt32 = 1
    var identity: Int32 = 0
    var route: Int32 = 0
    var connection = Pending.none
    /// Records in it.
    var count: Int32 = 1
    /// Its contents stand in `PendingSlab.batches`; a single record stands in `PendingSlab.records`.
    var isBatch = false
    var bytes: Int32 = 0
    // The lane's queue while waiting; the free list while free (next only).
    var previous = Pending.none
    var next = Pending.none
    // The timer wheel's bucket.
    var timerPrevious = Pending.none
    var timerNext = Pending.none
    var bucket = Pending.none
    var token: UInt64 = 0
    var deadline = MonotonicTime(0)
    var due = MonotonicTime(0)
    var sentAt = MonotonicTime(0)
}

/// The records of a submit of many, or the body of a call.
struct Batch {
    var records: [Instruction] = []
    /// Where each record stood in the caller's submit.
    var positions: [UInt32] = []
    var body: [UInt8] = []

    mutating func clear() {
        records.removeAll(keepingCapacity: true)
        positions.removeAll(keepingCapacity: true)
        body = []
    }
}

/// Pending requests by slot, with a free list: the slot and its generation are the request id.
struct PendingSlab {
    var entries: [Pending] = []
    var records: [Instruction] = []
    var batches: [Batch] = []
    private(set) var used = 0
    let capacity: Int
    private var free = Pending.none
    private let blank = Instruction.queryOrVoid(.none)

    init(capacity: Int) {
        precondition(capacity >= 1 && capacity < Int(Int32.max), "pending requests")
        self.capacity = capacity
    }

    /// A slot whose entry holds defaults; `nil` when `capacity` requests are pending.
    mutating func allocate() -> Int32? {
        if free != Pending.none {
            let slot = free
            free = entries[Int(slot)].next
            let generation = entries[Int(slot)].generation
            entries[Int(slot)] = Pending()
            entries[Int(slot)].generation = generation
            used += 1
            return slot
        }
        guard entries.count < capacity else { return nil }
        entries.append(Pending())
        records.append(blank)
        batches.append(Batch())
        used += 1
        return Int32(entries.count - 1)
    }

    mutating func release(_ slot: Int32) {
        let index = Int(slot)
        precondition(entries[index].state != .free, "a request ends once")
        if entries[index].isBatch { batches[index].clear() }
        entries[index].state = .free
        entries[index].generation = entries[index].generation == .max ? 1 : entries[index].generation + 1
        entries[index].next = free
        free = slot
        used -= 1
    }

    /// Gives a request whose records have changed a new id: an answer to what it was before is none to what it is now.
    mutating func renew(_ slot: Int32) {
        let generation = entries[Int(slot)].generation
        entries[Int(slot)].generation = generation == .max ? 1 : generation + 1
    }

    func requestID(_ slot: Int32) -> UInt64 {
        UInt64(entries[Int(slot)].generation) << 32 | UInt64(UInt32(slot))
    }

    /// The pending request with this id; `nil` where it has ended or never was.
    func slot(of request: UInt64) -> Int32? {
        let index = Int(request & 0xFFFF_FFFF)
        guard index < entries.count, entries[index].state != .free,
            UInt64(entries[index].generation) == request >> 32
        else { return nil }
        return Int32(index)
    }
}

/// Requests of one identity for one route that wait to be sent, oldest first: a list through the slab.
struct Lane {
    private(set) var head = Pending.none
    private(set) var tail = Pending.none
    private(set) var count = 0

    var isEmpty: Bool { head == Pending.none }

    mutating func pushBack(_ slot: Int32, _ entries: inout [Pending]) {
        entries[Int(slot)].previous = tail
        entries[Int(slot)].next = Pending.none
        if tail == Pending.none { head = slot } else { entries[Int(tail)].next = slot }
        tail = slot
        count += 1
    }

    mutating func pushFront(_ slot: Int32, _ entries: inout [Pending]) {
        entries[Int(slot)].previous = Pending.none
        entries[Int(slot)].next = head
        if head == Pending.none { tail = slot } else { entries[Int(head)].previous = slot }
        head = slot
        count += 1
    }

    mutating func remove(_ slot: Int32, _ entries: inout [Pending]) {
        let (previous, next) = (entries[Int(slot)].previous, entries[Int(slot)].next)
        if previous == Pending.none { head = next } else { entries[Int(previous)].next = next }
        if next == Pending.none { tail = previous } else { entries[Int(next)].previous = previous }
        count -= 1
    }
}
