import ClearingModel
import Client
import Engine
import Simulation

/// What a world told while it ran: its own lines, and what its clients heard.
final class Story {
    /// A fault, a start, a stop or a notice of an engine.
    struct Line {
        /// Simulated microseconds since the world began.
        var at: UInt64
        /// Counted from 1.
        var node: Int
        var text: String
        /// Requests that the node's process has refused so far.
        var refused: UInt64

        /// The value of a notice's field.
        subscript(_ field: String) -> Substring? {
            text.split(separator: " ").first { $0.hasPrefix(field + "=") }?.dropFirst(field.count + 1)
        }

        func number(_ field: String) -> Int? { self[field].flatMap { Int($0) } }

        var shard: Substring? { self["shard"] }
    }

    private(set) var lines: [Line] = []
    private(set) var heard: [Heard] = []
    let result: SimulationResult
    let topology: ClusterTopology

    init(_ world: World) {
        topology = world.topology
        var (lines, heard): ([Line], [Heard]) = ([], [])
        world.watch { [unowned world] text in
            // "12.345678 node 1 notice leader shard=2 term=3"
            let words = text.split(separator: " ", maxSplits: 4)
            guard words.count == 5, let seconds = Double(words[0]), let node = Int(words[2]) else { return }
            let refused = world.metrics(of: node - 1)?.refused.reduce(0, +) ?? 0
            lines.append(
                Line(
                    at: UInt64((seconds * 1e6).rounded()), node: node, text: String(words[4]), refused: refused))
        }
        world.heard = { heard.append($0) }
        result = world.run()
        self.lines = lines
        self.heard = heard
    }

    /// Lines that begin so, of one node or of all.
    func lines(_ beginning: String, node: Int? = nil) -> [Line] {
        lines.filter { $0.text.hasPrefix(beginning) && (node ?? $0.node) == $0.node }
    }

    /// Shards that a node leads at a time, by what it said until then.
    func led(by node: Int, at time: UInt64) -> [Substring] {
        var led: [Substring] = []
        for line in lines where line.at <= time && line.node == node {
            if line.text.hasPrefix("leader "), let shard = line.shard { led.append(shard) }
            if line.text.hasPrefix("leadership lost ") { led.removeAll { $0 == line.shard } }
        }
        return led
    }

    /// Requests that clients waited for at a time.
    func underWay(at time: UInt64) -> Int { heard.count { $0.sentAt <= time && $0.at > time } }

    func shard(of heard: Heard) -> Substring { "\(topology.slots.route(heard.id))" }

    /// Requests that a node's process had refused when it last said something before a time.
    func refused(by node: Int, before time: UInt64) -> UInt64 {
        lines.last { $0.node == node && $0.at < time }?.refused ?? 0
    }
}

extension Heard {
    var id: TransactionID {
        switch answer {
        case .submit(let instruction, _): instruction.id
        case .query(let id, _): id
        }
    }

    var decision: Decision? { if case .submit(_, .decided(let decision)) = answer { decision } else { nil } }
    var isQuery: Bool { if case .query = answer { true } else { false } }
    var isVoid: Bool {
        if case .submit(let instruction, _) = answer { instruction.kind == .queryOrVoid } else { false }
    }
    /// For a day that does not open in these worlds. If it is in doubt, "not open" is no last word: the caller waits as long as it will.
    var isEarly: Bool { id.day > BusinessDay(rawValue: 20_780) }
    var took: UInt64 { at - sentAt }
}

extension SeededRandom {
    /// The first seeds whose draws, made by `draws` in the order in which a fault makes its own, are as a scenario needs them.
    static func seeds(_ count: Int, _ draws: (inout SeededRandom) -> Bool) -> [UInt64] {
        var seeds: [UInt64] = []
        var seed: UInt64 = 0
        while seeds.count < count {
            seed += 1
            var random = SeededRandom(seed: seed)
            if draws(&random) { seeds.append(seed) }
        }
        return seeds
    }
}
