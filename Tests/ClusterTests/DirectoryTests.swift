import Foundation
import Testing

extension RealProcesses {
    @Test func participantsFromAFile() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let before = try cluster.mustRun(["participants", "list", "--csv"]).out
        let broken = try cluster.file(
            "broken.csv", "id,kind,currency,limit\n31,bank,156,500\n32,bank,156,5.00\n33,wallet,156,1\n31,bank,156,1\n")
        let refused = try cluster.run("participants", "import", broken)
        #expect(refused.code == 1)
        for fault in [
            "\(broken): line 3, column 13 (limit): '5.00' is no whole number",
            "\(broken): line 4, column 4 (kind): 'wallet' is none of",
            "\(broken): line 5, column 1 (id): participant 31 stands in line 2 already", "nothing was imported",
        ] {
            #expect(refused.error.contains(fault), "'\(fault)' is missing: \(refused)")
        }
        #expect(try cluster.mustRun(["participants", "list", "--csv"]).out == before)

        let unknownSponsor = try cluster.file("sponsor.csv", "id,kind,currency,limit,sponsor\n34,indirect,156,1,999\n")
        let fault = try cluster.run("participants", "import", unknownSponsor)
        #expect(fault.code == 1 && fault.error.contains("line 2, column 1 (sponsor)"), "\(fault)")

        // A new bank pays, up to its limit, without a restart of anything.
        let good = try cluster.file("good.csv", "id,kind,currency,limit\n31,bank,156,500\n")
        try cluster.mustRun(["participants", "import", good])
        #expect(try cluster.submit(Payment(debtor: 31, sequence: 1, amount: 500)).code == 0)
        let over = try cluster.submit(Payment(debtor: 31, sequence: 2, amount: 1))
        #expect(over.json["outcome"] as? String == "insufficientFunds" && over.json["isoReason"] as? String == "AM04")

        try cluster.mustRun(["participants", "set", "17", "--status", "suspended"])
        let debtor = try cluster.submit(Payment(debtor: 17, sequence: 1))
        #expect(debtor.code == 1 && debtor.json["isoReason"] as? String == "AG10", "\(debtor)")
        let creditor = try cluster.submit(Payment(debtor: 18, sequence: 1, creditor: 17))
        #expect(creditor.code == 1 && creditor.json["isoReason"] as? String == "AG11", "\(creditor)")
        try cluster.mustRun(["participants", "set", "17", "--status", "active"])
        #expect(try cluster.submit(Payment(debtor: 17, sequence: 2)).code == 0)
        // A decision stands: the id that was refused stays refused.
        #expect(try cluster.submit(Payment(debtor: 17, sequence: 1)).json["isoReason"] as? String == "AG10")
        #expect(try cluster.run("participants", "set", "99", "--limit", "1").code == 1)
    }
}
