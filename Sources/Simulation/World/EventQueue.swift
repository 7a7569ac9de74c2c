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
        let item = Item(time: time, sequence: next, event: event)
        next += 1
        heap.append(item)
        heap.withUnsafeMutableBufferPointer { heap in
            var place = heap.count - 1
            while place > 0 {
                let parent = (place - 1) / 2
                guard item < heap[parent] else { break }
                heap[place] = heap[parent]
                place = parent
            }
            heap[place] = item
        }
    }

    /// The time of the next event.
    var nextTime: UInt64? { heap.first?.time }

    mutating func pop() -> (time: UInt64, event: Event)? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return (last.time, last.event) }
        // The hole at the top sinks to where the last item belongs.
        heap.withUnsafeMutableBufferPointer { heap in
            var place = 0
            while true {
                var child = 2 * place + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
                guard heap[child] < last else { break }
                heap[place] = heap[child]
                place = child
            }
            heap[place] = last
        }
        return (first.time, first.event)
    }
}
