import Audit
import ClearingModel
import Ledger
import LogFormat
import Raft
import Testing
import Wire

/// A data directory as a follower of its log sees it.
private final class Files: Audit.DataFiles {
    private let directory: String
    init(_ directory: String) { self.directory = directory }

    var names: [String] { TemporaryDirectory.names(directory) }
    func size(of name: String) -> Int? {
        names.contains(name) ? AuditTests.DataFiles.read("\(directory)/\(name)").count : nil
    }
    func read(_ name: String, _ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let bytes = AuditTests.DataFiles.read("\(directory)/\(name)").dropFirst(offset).prefix(buffer.count)
        buffer.copyBytes(from: bytes)
        return bytes.count
    }
}

/// Damage, restarts, truncations and nodes that are not there.
struct DamageTests {
    private func cluster(rounds: Int = 15, seed: UInt64 = 9, segmentBytes: Int = 256 << 10) -> AuditedCluster {
        let cluster = AuditedCluster(seed: seed, segmentBytes: segmentBytes)
        cluster.prepare()
        for _ in 0..<rounds { cluster.round() }
        return cluster
    }

    private func id(_ line: String) -> TransactionID { TransactionID(String(line.split(separator: "\"")[3]))! }

    private func flip(_ cluster: AuditedCluster, nodes: [Int]) {
        cluster.settle()
        let id = id(cluster.journal[5])
        for node in nodes {
            let place = DataFiles.find(id, in: cluster.nodes[node].directory)!
            DataFiles.edit(place.path) { $0[place.offset + 40] ^= 4 }
        }
    }

    @Test(arguments: [0, 1, 2])
    func aFlippedBitOnOneReplicaIsTakenFromAnother(node: Int) {
        let cluster = cluster()
        flip(cluster, nodes: [node])
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.notes.contains { $0.contains("damaged") && $0.contains("node \(node + 1)") }, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
    }

    @Test func aFlippedBitOnEveryReplicaCannotBeJudged() {
        let cluster = cluster()
        flip(cluster, nodes: [0, 1, 2])
        let report = cluster.audit()
        #expect(report.verdict == .unknown, "\(report.table)")
        #expect(report.missing == 0)
        #expect(report.unchecked.contains { $0.contains("cannot be read anywhere") }, "\(report.table)")
    }

    @Test func aMinorityThatIsGoneIsNoProblem() {
        let cluster = cluster()
        let report = cluster.audit(without: [1])
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.nodesRead == 2)
    }

    @Test func aMajorityThatIsGoneCannotBeJudged() {
        let cluster = cluster()
        let report = cluster.audit(without: [0, 2])
        #expect(report.verdict == .unknown, "\(report.table)")
        #expect(report.unchecked.contains { $0.contains("no majority") }, "\(report.table)")
    }

    @Test func nothingAtAllCannotBeJudged() {
        #expect(cluster(rounds: 1).audit(without: [0, 1, 2]).verdict == .unknown)
    }

    @Test func aDirectoryOfAnotherNodeIsLeftOut() {
        let cluster = cluster()
        cluster.settle()
        let directories = [NodeID(1): cluster.nodes[0].directory, NodeID(2): cluster.nodes[0].directory]
        let report = Auditor.run(AuditInput(topology: cluster.topology, directories: directories))
        #expect(report.verdict == .unknown)
        #expect(report.notes.contains { $0.contains("belongs to node 1") })
    }

    @Test func restartsTornTailsAndNewLivesAreNoProblem() {
        let cluster = cluster()
        for turn in 0..<6 {
            cluster.settle()
            let node = turn % 3
            // Half of the last group never reached the disk, and was not acknowledged by anyone.
            let lost = cluster.nodes[node].log.lastAddress
            cluster.nodes[node].change {
                $0.appendHardState(HardState(term: cluster.term, vote: nil, commit: .zero), shard: ShardID(1))
            }
            cluster.nodes[node].settle()
            let path = "\(cluster.nodes[node].directory)/\(FileName.segment(lost.segment))"
            // First the group's header, then its record's.
            let torn = turn < 3 ? 100 : 200
            DataFiles.edit(path) { for at in torn..<torn + 50 { $0[lost.offset + at] = 0xEE } }
            let dead = cluster.audit()
            #expect(dead.verdict == .valid && dead.noteCount == 0, "\(dead.table)")
            cluster.nodes[node].open()
            for _ in 0..<4 { cluster.round() }
        }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
    }

    /// Found as seed 9816: the entries in front of the next life's log start were taken for those behind it.
    @Test func aLostStartOfTheLogMovesNoEntry() {
        let cluster = cluster(rounds: 3, segmentBytes: 1 << 20)
        cluster.settle()
        DataFiles.edit("\(cluster.nodes[0].directory)/segment-0000000001.log") { bytes in
            var at = 4_096
            for _ in 0..<2 {
                let length = Int(bytes[at + 64]) | Int(bytes[at + 65]) << 8 | Int(bytes[at + 66]) << 16
                for place in at..<at + length { bytes[place] = 0 }
                at += length
            }
        }
        let follower = LogFollower(
            replica: cluster.nodes[0].replica, cluster: cluster.topology.cluster, shardCount: 3)
        follower.restart(from: Files(cluster.nodes[0].directory), isIntact: false)
        let place = cluster.nodes[0].log.lastAddress
        cluster.nodes[0].open()
        let bytes = Array(DataFiles.read("\(cluster.nodes[0].directory)/segment-0000000001.log")[place.offset...])
        // The group that opens the life, as it is written: its head, then the payloads.
        func word(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
        let payloads = (0..<word(68)).map { word(192 + 64 * $0 + 4) }.filter { $0 > 0 }
        bytes.withUnsafeBytes { raw in
            var at = word(64) - payloads.reduce(0, +)
            var parts = [UnsafeRawBufferPointer(rebasing: raw[..<at])]
            for length in payloads {
                parts.append(UnsafeRawBufferPointer(rebasing: raw[at..<at + length]))
                at += length
            }
            #expect(follower.wrote(segment: 1, offset: UInt64(place.offset), parts) { _, _ in } == nil)
        }
        follower.synced(segment: 1)
        for shard in 1...3 { #expect(follower.last(of: ShardID(UInt16(shard))) == cluster.indexes[shard]) }
    }

    @Test func truncatedEntriesDoNotCount() {
        let cluster = cluster()
        let before = cluster.indexes[2]
        cluster.stray(on: 0, ShardID(2))
        #expect(cluster.audit().verdict == .valid)
        cluster.term = Term(2)
        cluster.nodes[0].change { $0.appendTruncate(shard: ShardID(2), from: before.next, term: Term(2)) }
        cluster.noop(ShardID(2))
        for _ in 0..<5 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
    }

    /// The truncation and two of the entries that came instead stood in the groups that are gone: what they voided is still there.
    @Test func entriesWhoseTruncationIsLostAreNoContradiction() {
        let cluster = cluster(rounds: 3, segmentBytes: 1 << 20)
        let shard = ShardID(2)
        let stray = cluster.stray(on: 0, shard)
        let begin = cluster.nodes[0].log.lastAddress.offset
        cluster.term = Term(2)
        cluster.nodes[0].change { $0.appendTruncate(shard: shard, from: stray.index, term: Term(2)) }
        cluster.noop(shard)
        let records = cluster.records(2, 5)
        cluster.commit(2) { for record in records { $0.append(record) } }
        cluster.settle()
        let end = cluster.nodes[0].log.lastAddress.offset
        #expect(begin < end)
        for _ in 0..<5 { cluster.round() }
        DataFiles.edit("\(cluster.nodes[0].directory)/segment-0000000001.log") { bytes in
            for place in begin..<end { bytes[place] = 0 }
        }
        let report = cluster.audit()
        #expect(report.problemCount == 0 && report.verdict == .valid, "\(report.table)")
        let follower = LogFollower(
            replica: cluster.nodes[0].replica, cluster: cluster.topology.cluster, shardCount: 3)
        follower.restart(from: Files(cluster.nodes[0].directory), isIntact: false)
        #expect(follower.entry(of: shard, at: stray.index) == nil)
    }

    @Test func aDamagedGroupHeaderInASealedSegmentHidesNothing() {
        let cluster = cluster(rounds: 60)
        cluster.settle()
        let segments = DataFiles.segments(cluster.nodes[0].directory)
        #expect(segments.count > 2)
        for node in 0..<3 {
            DataFiles.edit("\(cluster.nodes[node].directory)/segment-0000000001.log") { $0[8_192 + 50] ^= 1 }
        }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.noteCount >= 3)
    }

    @Test func aDamagedTableIsReadAround() {
        let cluster = cluster(rounds: 60)
        cluster.settle()
        for node in 0..<3 {
            DataFiles.edit("\(cluster.nodes[node].directory)/segment-0000000001.log") { $0[$0.count - 100] ^= 1 }
        }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.notes.contains { $0.contains("table") })
    }

    @Test func aMissingSegmentOnOneNode() {
        let cluster = cluster(rounds: 60)
        cluster.settle()
        TemporaryDirectory.remove("\(cluster.nodes[2].directory)/segment-0000000002.log")
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.notes.contains { $0.contains("are missing") })
    }
}
