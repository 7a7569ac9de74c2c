import ClearingModel
import Raft

/// Plays a golden script: blocks of commands, `----`, and what the cluster did, in order.
///
///     cluster N [learners=A,B] [preferred=N]   N voters numbered from 1
///     stranger N                               a replica that no membership names
///     timeout N            N's own clock runs until it campaigns
///     pass MS [N...]       time passes in steps of 10 ms, for all or for these
///     run MS [without=N,..] time passes with everything delivered and synced, except around `without`
///     deliver [A->B|->B|A->]                   once, what is on the way now
///     drop [A->B|->B|A->]                      loses what is on the way now
///     sync [N...]          everything asked of these disks becomes durable
///     settle [without=N,..] delivers and syncs until nothing moves; what touches `without` is lost
///     propose N TEXT, read N TOKEN, transfer N [M], lost N PEER, stall N MS
///     add N LEARNER, promote N LEARNER, remove N REPLICA
///     crash N, restart N, compact N
///     quiet COMMAND        runs it and shows nothing
///     status               a line per replica
final class ScriptRunner {
    private var cluster: TestCluster?
    private var lines: [String] = []
    private var isQuiet = false

    /// The script with its expected parts replaced by what happened.
    static func play(_ script: String) -> String {
        let runner = ScriptRunner()
        var output: [String] = []
        var block: [String] = []
        var isExpectation = false
        for line in script.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) + [""] {
            if line == "----" {
                runner.lines = []
                for command in block { runner.run(command) }
                output += block + ["----"] + (runner.lines.isEmpty ? ["nothing"] : runner.lines) + [""]
                (block, isExpectation) = ([], true)
            } else if line.isEmpty {
                if !isExpectation, !block.isEmpty { output += block + [""] }
                (block, isExpectation) = ([], false)
            } else if !isExpectation {
                block.append(line)
            }
        }
        return output.joined(separator: "\n")
    }

    private var live: TestCluster { cluster ?? { preconditionFailure("a script begins with `cluster`") }() }

    private func show(_ line: String) { if !isQuiet { lines.append(line) } }

    private func run(_ command: String) {
        if command.hasPrefix("#") { return }
        if command.hasPrefix("quiet ") {
            isQuiet = true
            defer { isQuiet = false }
            return run(String(command.dropFirst(6)))
        }
        let words = command.split(separator: " ").map(String.init)
        let arguments = Array(words.dropFirst())
        let numbers = arguments.compactMap { UInt32($0) }
        let node = numbers.first ?? 0
        switch words[0] {
        case "cluster": make(node, arguments)
        case "stranger": live.addStranger(replica(node))
        case "timeout": live.timeOut(node)
        case "pass": pass(milliseconds: node, numbers.dropFirst().map { replica($0) })
        case "run":
            live.run(.milliseconds(UInt64(node)), cut: Set(list(arguments, "without=").map { replica($0) }))
        case "deliver":
            let passes = filter(arguments.first)
            live.deliverAll(where: passes)
        case "drop":
            let passes = filter(arguments.first)
            for message in live.network where passes(message) { show("lost \(message.from.node)->\(message.to.node)") }
            live.network.removeAll(where: passes)
        case "sync": for id in numbers.isEmpty ? up : numbers.map({ replica($0) }) { live.sync(id) }
        case "settle": live.settle(cut: Set(list(arguments, "without=").map { replica($0) }))
        case "propose": show("\(node) answers \(live.propose(node, arguments.dropFirst().joined(separator: " ")))")
        case "read": live.read(node, token: UInt64(numbers[1]))
        case "transfer":
            let start = live.transfer(node, to: numbers.count > 1 ? numbers[1] : nil)
            show("\(node) answers \(start.map { "\($0)" } ?? "nothing")")
        case "add": show("\(node) answers \(live.change(node, .addLearner(replica(numbers[1]))))")
        case "promote": show("\(node) answers \(live.change(node, .promote(replica(numbers[1]))))")
        case "remove": show("\(node) answers \(live.change(node, .remove(replica(numbers[1]))))")
        case "lost": live.act(replica(node)) { $0.peerLost(NodeID(numbers[1]), now: $1, &$2) }
        case "stall": live.act(replica(node)) { $0.logSyncAge(.milliseconds(UInt64(numbers[1])), now: $1, &$2) }
        case "crash": live.crash(replica(node))
        case "restart": live.restart(replica(node))
        case "compact": live.compact(replica(node))
        case "status": for node in live.nodes { show(status(node)) }
        default: show("unknown command: \(command)")
        }
    }

    private var up: [ReplicaID] { live.nodes.filter { $0.raft != nil }.map(\.id) }

    private func list(_ arguments: [String], _ key: String) -> [UInt32] {
        arguments.first { $0.hasPrefix(key) }?.dropFirst(key.count).split(separator: ",").compactMap { UInt32($0) }
            ?? []
    }

    private func make(_ voters: UInt32, _ arguments: [String]) {
        let made = TestCluster(
            voters: (1...voters).map { replica($0) }, learners: list(arguments, "learners=").map { replica($0) },
            preferred: list(arguments, "preferred=").first.map { NodeID($0) })
        made.watch = { [unowned self] in show(EffectText.line($0, $1)) }
        cluster = made
    }

    private func pass(milliseconds: UInt32, _ only: [ReplicaID]) {
        for _ in 0..<milliseconds / 10 {
            for id in only.isEmpty ? up : only { live.tick(id, after: .milliseconds(10)) }
        }
    }

    /// `A->B`, `->B` or `A->`; nothing passes everything.
    private func filter(_ text: String?) -> (RaftMessage) -> Bool {
        guard let text else { return { _ in true } }
        let ends = text.replacing("->", with: ",").split(separator: ",", omittingEmptySubsequences: false)
        precondition(ends.count == 2, "a link is A->B, ->B or A->, not \(text)")
        let (from, to) = (UInt32(ends[0]), UInt32(ends[1]))
        return { message in
            (from.map { message.from.node.rawValue == $0 } ?? true)
                && (to.map { message.to.node.rawValue == $0 } ?? true)
        }
    }

    private func status(_ node: TestNode) -> String {
        guard let raft = node.raft else { return "\(node.id.node) down, log durable to \(node.disk.lastIndex)" }
        let fence = raft.isFenced ? " fenced" : ""
        let followers = raft.followerStatus.map { " \($0.replica.node):\($0.state)@\($0.match)" }.joined()
        return
            "\(node.id.node) \(raft.role) term \(raft.term) commit \(raft.commit) log \(raft.firstIndex)...\(raft.lastIndex)"
            + " durable \(raft.durableIndex)\(fence)\(followers)"
    }
}
