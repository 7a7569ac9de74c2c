import Foundation

/// A `suanpan load` that runs beside the test, with its journal.
final class Load {
    /// How a load may end that ran its time: done, or on a busy machine with the generator as the limit.
    static let ends: Set<Int32> = [0, 3]

    private let child: Child
    let journal: String

    init(_ cluster: LocalCluster, rate: Int, seconds: Int, seed: Int = 1) throws {
        journal = "\(cluster.root)/journal-\(seed).jsonl"
        child = try cluster.start(
            "load", "--rate", "\(rate)", "--duration", "\(seconds)s", "--batch", "16", "--seed", "\(seed)", "--json",
            "-",
            "--journal", journal)
    }

    /// Waits until it has reported so many seconds of work.
    func awaitSecond(_ second: Int) throws {
        try eventually("second \(second) of the load", seconds: 30) {
            guard child.isRunning else { throw Failure("the load is over already: \(try child.wait())") }
            return child.error.contains("\n\(second) s:") || child.error.hasPrefix("\(second) s:")
        }
    }

    func interrupt() { child.signal(SIGINT) }

    /// Its result, once it has ended.
    func finish(seconds: Double = 60) throws -> Outcome { try child.wait(seconds: seconds) }
}

/// One line of a journal.
struct JournalLine: Decodable {
    var id: String
    var outcome: String
    var shard: Int
    var index: UInt64
    var slot: Int
    var ledgerTime: UInt64
}

/// How long a shard decided nothing.
struct Pause: CustomStringConvertible {
    var shard: Int
    var milliseconds: Double
    var description: String { "shard \(shard) \(milliseconds) ms" }
}

enum Journal {
    static func read(_ path: String) throws -> [JournalLine] {
        let decoder = JSONDecoder()
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        return try data.split(separator: 10).map { try decoder.decode(JournalLine.self, from: Data($0)) }
    }

    /// From a moment to the first payment that each of the shards decided after another, in milliseconds.
    static func pauses(_ lines: [JournalLine], shards: [Int], since moment: Date, after gone: Date) -> [Pause] {
        func microseconds(_ date: Date) -> UInt64 { UInt64(date.timeIntervalSince1970 * 1e6) }
        return shards.compactMap { shard in
            let times = lines.lazy.filter { $0.shard == shard && $0.ledgerTime > microseconds(gone) }.map(\.ledgerTime)
            return times.min().map { Pause(shard: shard, milliseconds: Double($0 - microseconds(moment)) / 1_000) }
        }
    }
}

/// What `suanpan audit --json` found.
struct Audit: Decodable {
    var verdict: String
    var payments: UInt64
    var acknowledged: UInt64
    var missing: UInt64
    var doubled: UInt64
    var problems: [String]
}
