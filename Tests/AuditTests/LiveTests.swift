import Audit
import ClearingModel
import Synchronization
import Testing

/// A cluster that works while it is read.
struct LiveTests {
    /// Crosses into the auditor's progress callback, which runs on this thread.
    private final class Box: @unchecked Sendable {
        let cluster: AuditedCluster
        init(_ cluster: AuditedCluster) { self.cluster = cluster }
    }

    @Test(arguments: UInt64(1)...6)
    func theCutIsConsistentWhileShardsGoOn(seed: UInt64) {
        let cluster = AuditedCluster(seed: seed, segmentBytes: 512 << 10)
        cluster.prepare()
        for _ in 0..<10 { cluster.round() }
        let box = Box(cluster)
        // Each shard has another follower that lags, so that majorities are seen at different moments.
        cluster.isHeldBack = { node, shard in shard > 0 && (node + shard + Int(seed)) % 3 == 0 }
        // Between the readings of two nodes the cluster decides and credits on.
        let report = cluster.audit { text in
            guard text.hasPrefix("node") else { return }
            for _ in 0..<7 { box.cluster.round() }
        }
        cluster.isHeldBack = { _, _ in false }
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.imbalance == 0)
        let all = cluster.audit()
        #expect(all.verdict == .valid, "\(all.table)")
        #expect(all.payments == UInt64(cluster.accepted) && report.payments <= all.payments)
    }
}
