import ClearingModel
import DequeModule
import Engine
import Wire

/// One end of a wire.
enum WireEnd {
    case node(Int, life: Int, ConnectionID)
    case client(Int, connection: UInt32)

    var isClient: Bool { if case .client = self { true } else { false } }
}

/// One TCP connection: two directions, each in order; bytes may wait, and may be lost only with the whole connection.
final class SimulatedWire {
    enum Packet {
        case parts([OutputQueue.Part])
        /// The end of this direction: a FIN or a RST.
        case end
    }

    struct Direction {
        var packets: Deque<(time: UInt64, packet: Packet)> = []
        /// When the last packet arrives: none overtakes it.
        var last: UInt64 = 0
        var isScheduled = false
        /// Bytes under way or waiting for a reader.
        var bytes = 0
    }

    let number: Int
    @exclusivity(unchecked) var first: WireEnd
    @exclusivity(unchecked) var second: WireEnd
    @exclusivity(unchecked) var toFirst = Direction()
    @exclusivity(unchecked) var toSecond = Direction()
    /// The side that still holds it open.
    @exclusivity(unchecked) var firstIsOpen = true
    @exclusivity(unchecked) var secondIsOpen = true
    /// The first end, a node, takes nothing off the wire until the second, a client, has read half of what waits for it.
    @exclusivity(unchecked) var isLimited = false
    /// Bytes that the node may still send then: answers to what it had taken before.
    @exclusivity(unchecked) var owedBytes = 0

    /// Bytes that may wait for a client before its node stops reading from it. `Node` has 16 MiB (`SecureConnection.queueLimit`);
    /// here it is small, so that what simulated clients ask for reaches it.
    static let queueLimit = 512
    /// More than an answer to one request takes.
    static let answerBytes = 256

    init(number: Int, first: WireEnd, second: WireEnd) {
        self.number = number
        self.first = first
        self.second = second
    }

    var isGone: Bool { !firstIsOpen && !secondIsOpen }
}

/// Which way is blocked or slow, between nodes and between clients and nodes.
struct SimulatedNetwork {
    private let nodes: Int
    /// How many faults block the way from a node (or a client, behind the nodes) to another.
    private var blocks: [Int]
    private var delays: [UInt64]
    /// How many faults keep an end from reading.
    private var deaf: [Int]
    let ends: Int

    init(nodes: Int, clients: Int) {
        self.nodes = nodes
        ends = nodes + clients
        blocks = Array(repeating: 0, count: ends * ends)
        delays = Array(repeating: 0, count: ends * ends)
        deaf = Array(repeating: 0, count: ends)
    }

    func isBlocked(_ from: Int, _ to: Int) -> Bool { blocks[from * ends + to] > 0 }
    func delay(_ from: Int, _ to: Int) -> UInt64 { delays[from * ends + to] }
    mutating func block(_ from: Int, _ to: Int, by count: Int) { blocks[from * ends + to] += count }
    mutating func slow(_ from: Int, _ to: Int, by microseconds: UInt64) { delays[from * ends + to] = microseconds }
    func isDeaf(_ end: Int) -> Bool { deaf[end] > 0 }
    mutating func deafen(_ end: Int, by count: Int) { deaf[end] += count }
    mutating func heal() {
        for index in blocks.indices {
            blocks[index] = 0
            delays[index] = 0
        }
        for end in deaf.indices { deaf[end] = 0 }
    }
}
