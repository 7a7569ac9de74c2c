import ClearingModel
import LogFormat

/// Finds its way in a segment's bytes by docs/LOG.md, so that tests can damage what they mean to damage.
struct Anatomy {
    struct Group {
        var offset: Int
        var length: Int
        var records: [Record]
        var flags: Int
        var number: UInt64
        var synced: UInt64
    }

    struct Record {
        /// Of the header.
        var offset: Int
        var kind: Int
        var shard: Int
        var index: UInt64
        var payloadOffset: Int
        var payloadLength: Int
    }

    var groups: [Group] = []

    init(_ bytes: [UInt8]) {
        func integer(_ at: Int, _ count: Int) -> UInt64 {
            (0..<count).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
        }
        var at = 4_096
        while at + 192 <= bytes.count, integer(at, 4) == 0x4752_5053 {
            let length = Int(integer(at + 64, 4))
            let records = (0..<Int(integer(at + 68, 4))).map { i in
                let record = at + 192 + 64 * i
                return Record(
                    offset: record, kind: Int(bytes[record]), shard: Int(integer(record + 2, 2)),
                    index: integer(record + 24, 8), payloadOffset: Int(integer(record + 8, 4)),
                    payloadLength: Int(integer(record + 4, 4)))
            }
            groups.append(
                Group(
                    offset: at, length: length, records: records, flags: Int(integer(at + 6, 2)),
                    number: integer(at + 40, 8), synced: integer(at + 48, 8)))
            at += length
        }
    }

    var records: [Record] { groups.flatMap(\.records) }

    /// The record of an entry.
    func entry(_ shard: ShardID, _ index: UInt64) -> Record? {
        records.last { $0.kind == 1 && $0.shard == Int(shard.rawValue) && $0.index == index }
    }

    func group(of record: Record) -> Group {
        groups.first { $0.offset <= record.offset && record.offset < $0.offset + $0.length }!
    }
}

extension SimulatedDisk {
    func anatomy(_ segment: UInt64 = 1) -> Anatomy { Anatomy(bytes(.segment(segment))) }

    var segmentNumbers: [UInt64] {
        fileNames.compactMap { if case .segment(let number) = $0 { number } else { nil } }.sorted()
    }
}
