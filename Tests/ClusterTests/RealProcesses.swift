import Foundation
import Testing

/// Clusters of real processes on real disks, broken on purpose. One test at a time: each has the machine for itself.
@Suite(.serialized)
struct RealProcesses {
    @Test func aPaymentFromStartToEnd() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 4)
        defer { cluster.end() }
        let status = try cluster.status()
        #expect(status.nodes.map(\.id) == [1, 2, 3])
        #expect(status.nodes.allSatisfy { $0.state == "running" && !$0.city.isEmpty && !$0.dataCentre.isEmpty })
        #expect(Set(status.nodes.compactMap(\.pid)) == Set(cluster.processes))
        #expect(status.shards.map(\.id) == [1, 2, 3, 4])
        #expect(status.shards.allSatisfy { $0.leader != nil && $0.term > 0 && Set($0.replicas) == [1, 2, 3] })

        let payment = Payment(debtor: 17, sequence: 42, creditor: 2, amount: 5_200)
        let first = try cluster.submit(payment)
        #expect(first.code == 0, "\(first)")
        #expect(first.json["id"] as? String == "\(payment.id)")
        #expect(first.json["outcome"] as? String == "accepted")
        #expect(first.json["answer"] as? String == "decided")
        let index = first.json["index"] as? Int

        let again = try cluster.submit(payment)
        #expect(again.code == 0, "\(again)")
        #expect(again.json["answer"] as? String == "duplicate")
        #expect(again.json["index"] as? Int == index, "the same id gets the original answer")

        let altered = try cluster.run(["submit"] + payment.altered(amount: 5_201).arguments)
        #expect(altered.code == 1)
        #expect(altered.out.contains("AM05"), "\(altered)")

        let asked = try cluster.run("transaction", "\(payment.id)", "--json")
        #expect(asked.code == 0 && asked.json["index"] as? Int == index, "\(asked)")
        #expect(try cluster.run("transaction", "17-1-20200101-1").code == 1)

        #expect(try cluster.position(of: 17) == (5_200, 0))
        try eventually("the credit on the creditor's shard") { try cluster.position(of: 2) == (0, 5_200) }

        try cluster.down()
        #expect(cluster.processes.isEmpty)
        #expect(
            try cluster.run("submit", "--debtor", "17", "--instructing", "1", "--creditor", "2", "--amount", "1").code
                == 69)
        try cluster.mustRun(["cluster", "purge"])
        #expect(!FileManager.default.fileExists(atPath: cluster.path))
    }
}
