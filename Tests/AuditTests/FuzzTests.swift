import Audit
import ClearingModel
import Ledger
import Raft
import Testing
import Wire

/// Whatever the bytes are, the audit ends with a verdict.
struct FuzzTests {
    @Test(arguments: UInt64(1)...24)
    func garbageInFilesNeverStopsTheAudit(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let cluster = AuditedCluster(seed: seed, segmentBytes: 128 << 10)
        cluster.prepare()
        for _ in 0..<8 { cluster.round(records: 5) }
        cluster.checkpoint(shard: 1, node: 0)
        cluster.settle()
        for node in cluster.nodes {
            for name in TemporaryDirectory.names(node.directory) where random.below(3) > 0 {
                DataFiles.edit("\(node.directory)/\(name)") { bytes in
                    switch random.below(4) {
                    case 0: bytes.removeLast(Int(random.below(UInt64(bytes.count + 1))))
                    case 1:
                        let start = Int(random.below(UInt64(bytes.count)))
                        for at in start..<min(start + 5_000, bytes.count) {
                            bytes[at] = UInt8(truncatingIfNeeded: random.next())
                        }
                    case 2:
                        for _ in 0..<20 { bytes[Int(random.below(UInt64(bytes.count)))] ^= 1 << UInt8(random.below(8)) }
                    default:
                        bytes += (0..<Int(random.below(9_000))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                    }
                }
            }
        }
        for at in cluster.journal.indices where random.below(4) == 0 {
            var line = Array(cluster.journal[at].utf8)
            for _ in 0..<3 {
                line[Int(random.below(UInt64(line.count)))] = UInt8(truncatingIfNeeded: random.next() & 0x7F | 0x20)
            }
            cluster.journal[at] = String(decoding: line, as: UTF8.self)
        }
        let report = cluster.audit()
        #expect(!report.json.isEmpty && !report.table.isEmpty)
    }

    /// Entries whose checksum is right and whose content is not.
    @Test(arguments: UInt64(1)...24)
    func malformedEntriesNeverStopTheAudit(seed: UInt64) {
        var random = SeededRandom(seed: seed &+ 1_000)
        let cluster = AuditedCluster(seed: seed)
        cluster.prepare()
        for _ in 0..<6 { cluster.round(records: 3) }
        for shard in 0...3 {
            var builder = EntryBuilder()
            if shard > 0 {
                cluster.exchange(shard, &builder)
                for record in cluster.records(shard, 3) { builder.append(record) }
            } else {
                _ = builder.add(DirectoryChangeRequest(changes: [.participant(cluster.population.participants[3])]))
            }
            let next = shard > 0 ? cluster.ledger(shard).nextOrdinal : .zero
            var bytes = Array(
                builder.seal(
                    ledgerTime: WallTime(cluster.wall.rawValue + 1), firstOrdinal: next,
                    window: WindowID(scheme: .domestic, number: 1), flush: true
                ).bytes)
            switch random.below(3) {
            case 0: bytes.removeLast(Int(random.below(UInt64(bytes.count))))
            case 1: for _ in 0..<6 { bytes[Int(random.below(UInt64(bytes.count)))] ^= 1 << UInt8(random.below(8)) }
            default: for _ in 0..<3 { bytes[Int(random.below(64))] = UInt8(truncatingIfNeeded: random.next()) }
            }
            cluster.append(.data, Slab(bytes), shard: shard)
        }
        cluster.hint()
        #expect(!cluster.audit().table.isEmpty)
    }
}
