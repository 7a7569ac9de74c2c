import ClearingModel
import Engine
import Ledger
import Raft
import Simulation
import Wire

/// A record of a group that no engine wrote: docs/LOG.md names the fields.
struct ForgedRecord {
    var kind: UInt8 = 1
    var detail: UInt8 = 1
    var shard: ShardID
    var term: Term
    var index: LogIndex
    /// Of a hard state: the vote.
    var vote: ReplicaID?
    var previousTerm = Term.zero
    var payload: [UInt8] = []
    /// Added to the payload's checksum: another one than it has.
    var checksumError: UInt32 = 0
}

enum ForgedWrites {
    /// The slabs of a write of one group.
    static func group(
        _ cluster: ClusterID, _ replica: ReplicaID, segment: UInt64, offset: UInt64, _ records: [ForgedRecord]
    ) -> [Slab] {
        let payloads = records.reduce(0) { $0 + $1.payload.count }
        let length = (192 + records.count * 64 + payloads + 4_095) / 4_096 * 4_096
        var head = WireWriter()
        func checksum(from start: Int) -> UInt32 {
            head.bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[start...])) }
        }
        let number: UInt64 = 99 << 40 | 1
        head.u32(0x4752_5053)
        head.u16(1)
        head.u16(0)
        head.u64(cluster.high)
        head.u64(cluster.low)
        head.id(replica.node)
        head.id(replica.incarnation)
        head.u64(segment << 32 | offset)
        head.u64(number)
        head.u64(0)
        head.u64(0)
        head.u32(UInt32(length))
        head.u32(UInt32(records.count))
        head.bytes += [UInt8](repeating: 0, count: 188 - head.count)
        head.u32(checksum(from: 0))
        var place = Int(offset) + length - payloads
        for record in records {
            let start = head.count
            head.u8(record.kind)
            head.u8(record.detail)
            head.id(record.shard)
            head.u32(UInt32(record.payload.count))
            head.u32(record.payload.isEmpty ? 0 : UInt32(place))
            head.u32(record.payload.withUnsafeBytes { crc32c($0) } &+ record.checksumError)
            head.id(record.term)
            head.id(record.index)
            head.u64(number)
            head.u64(record.vote.map { UInt64($0.node.rawValue) | UInt64($0.incarnation.rawValue) << 32 } ?? 0)
            head.id(record.previousTerm)
            head.u32(0)
            head.u32(checksum(from: start))
            place += record.payload.count
        }
        head.bytes += [UInt8](repeating: 0, count: length - payloads - head.count)
        return [Slab(head.bytes)] + records.filter { !$0.payload.isEmpty }.map { Slab($0.payload) }
    }
}

/// An engine that shows what it is told to show.
final class TamperedEngine: EngineView {
    let real: Engine
    var change: (inout GroupInspection) -> Void = { _ in }
    /// Terms that the log shows, in place of its own.
    var terms: [LogIndex: Term?] = [:]
    var streams: (inout StreamInspection) -> Void = { _ in }
    var hash: UInt64 = 0
    var overdraft: Int128 = 0
    var resources: (inout ResourceInspection) -> Void = { _ in }
    var forgetsIDs = false
    var members: Membership?
    /// Another one at every look.
    private var stamp: UInt64

    init(_ real: Engine, stamp: UInt64) {
        self.real = real
        self.stamp = stamp
    }

    var inspectedGroups: Int { real.inspectedGroups }

    func inspectionStamp(_ place: Int) -> UInt64 {
        stamp += 1
        return stamp
    }

    func inspectGroup(_ place: Int) -> GroupInspection {
        var group = real.inspectGroup(place)
        if group.shard == ShardID(1) { change(&group) }
        return group
    }

    func membership(of shard: ShardID) -> Membership { members ?? real.membership(of: shard) }

    func term(of shard: ShardID, at index: LogIndex) -> Term? {
        if shard == ShardID(1), let term = terms[index] { return term }
        return real.term(of: shard, at: index)
    }

    func forEachStream(of shard: ShardID, _ body: (ShardID, StreamInspection) -> Void) {
        real.forEachStream(of: shard) { other, inspection in
            var inspection = inspection
            if shard == ShardID(1) { streams(&inspection) }
            body(other, inspection)
        }
    }

    func encodedState(of shard: ShardID) -> Slab? { real.encodedState(of: shard) }
    func stateHash(of shard: ShardID) -> UInt64? { real.stateHash(of: shard).map { $0 ^ hash } }

    func indexHit(of id: TransactionID, in shard: ShardID) -> IndexHit? {
        forgetsIDs ? nil : real.indexHit(of: id, in: shard)
    }

    func isExpired(_ id: TransactionID, in shard: ShardID) -> Bool { real.isExpired(id, in: shard) }

    func forEachAvailable(in shard: ShardID, _ body: (ParticipantID, Int128) -> Void) {
        real.forEachAvailable(in: shard) { body($0, $1 - overdraft) }
    }

    func inspectResources() -> ResourceInspection {
        var found = real.inspectResources()
        resources(&found)
        return found
    }
}
