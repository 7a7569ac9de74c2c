import ClearingModel

/// A hashed timer wheel over the slab: setting and clearing a timer is O(1), a tick looks at the buckets it passes.
///
/// A bucket is 2²² ns (about 4 ms) wide and there are 1,024; a timer further ahead than one turn stays in its bucket
/// until its time has come.
struct TimerWheel {
    private static let shift: UInt64 = 22
    private static let size: UInt64 = 1_024

    private var heads = [Int32](repeating: Pending.none, count: Int(TimerWheel.size))
    private var passed: UInt64

    init(now: MonotonicTime) { passed = now.rawValue >> Self.shift }

    /// Sets the timer of `slot`, which must have none.
    mutating func set(_ slot: Int32, due: MonotonicTime, _ entries: inout [Pending]) {
        // Never into a bucket that the current turn has already passed.
        let tick = max(due.rawValue >> Self.shift, passed + 1)
        let bucket = Int32(truncatingIfNeeded: tick % Self.size)
        let head = heads[Int(bucket)]
        entries[Int(slot)].due = due
        entries[Int(slot)].bucket = bucket
        entries[Int(slot)].timerPrevious = Pending.none
        entries[Int(slot)].timerNext = head
        if head != Pending.none { entries[Int(head)].timerPrevious = slot }
        heads[Int(bucket)] = slot
    }

    mutating func clear(_ slot: Int32, _ entries: inout [Pending]) {
        let bucket = entries[Int(slot)].bucket
        guard bucket != Pending.none else { return }
        let (previous, next) = (entries[Int(slot)].timerPrevious, entries[Int(slot)].timerNext)
        if previous == Pending.none { heads[Int(bucket)] = next } else { entries[Int(previous)].timerNext = next }
        if next != Pending.none { entries[Int(next)].timerPrevious = previous }
        entries[Int(slot)].bucket = Pending.none
    }

    /// Clears the timers that are due and appends their slots to `fired`, which the caller has emptied.
    mutating func advance(to now: MonotonicTime, _ entries: inout [Pending], _ fired: inout [Int32]) {
        let current = now.rawValue >> Self.shift
        guard current > passed else { return }
        let first = current - passed > Self.size ? current - Self.size + 1 : passed + 1
        passed = current
        for tick in first...current {
            var slot = heads[Int(tick % Self.size)]
            while slot != Pending.none {
                let next = entries[Int(slot)].timerNext
                // Due within this bucket's width counts as due: a timer fires up to one bucket early, never one turn late.
                if entries[Int(slot)].due.rawValue >> Self.shift <= current {
                    clear(slot, &entries)
                    fired.append(slot)
                }
                slot = next
            }
        }
    }
}
