import Audit
import ClearingModel
import Ledger
import Raft
import Testing
import Wire

/// Data directories as they should be: the verdict is valid.
struct ValidTests {
    @Test(arguments: UInt64(1)...4)
    func everythingThatHoldsIsValid(seed: UInt64) {
        let cluster = AuditedCluster(seed: seed)
        cluster.prepare()
        for _ in 0..<40 { cluster.round() }
        let report = cluster.audit()
        #expect(report.verdict == .valid, "\(report.table)")
        #expect(report.payments == UInt64(cluster.accepted))
        #expect(report.acknowledged == UInt64(cluster.journal.count))
        #expect(report.imbalance == 0 && report.missing == 0 && report.doubled == 0)
        #expect(report.balances.first?.inFlight ?? 0 > 0, "\(report.table)")
        #expect(report.repeated > 0)
    }
}
