import ClearingModel

/// What happens at one instant of simulated time.
enum Event {
    /// A node's loop ends its turn.
    case turn(node: Int, life: Int)
    case tick(node: Int, life: Int)
    /// The operation at the head of a disk lane ends.
    case disk(node: Int, life: Int, lane: Int)
    /// The head of one direction of a wire arrives.
    case arrival(wire: Int, toSecond: Bool)
    /// A node calls a peer, or a client a node.
    case dial(link: Int)
    case established(link: Int, attempt: Int)
    case clientDial(client: Int, connection: UInt32, attempt: Int)
    case clientTick(client: Int)
    case clientTurn(client: Int)
    case operatorTick
    case fault(Int)
    case heal(Int)
    case start(node: Int, life: Int)
    case drained(node: Int, life: Int)
    case interval
}

/// Events by time; those of one instant in the order in which they were made.
struct EventQueue {
    private struct Item {
        var time: UInt64
        var sequence: UInt64
        var event: Event

        static func < (a: Item, b: Item) -> Bool {
            a.time < b.time || a.time == b.time && a.sequence < b.sequence
        }
    }

    private var heap: [Item] = []
    private var next: UInt64 = 0

    mutating func push(_ event: Event, at time: UInt64) {
        heap.append(Item(time: time, sequence: next, event: event))
        next += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// The time of the next event.
    var nextTime: UInt64? { heap.first?.time }

    mutating func pop() -> (time: UInt64, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child] < heap[least] {
                    least = child
                }
                if least == parent { break }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        return (first.time, first.event)
    }
}
