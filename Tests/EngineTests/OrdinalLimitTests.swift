import ClearingModel
import Engine
import LogFormat
import Testing
import Wire

@Suite("A shard that has numbered all the records it can")
struct OrdinalLimitTests {
    private let shard = ShardID(1)

    /// The newest checkpoint of the shard, where nothing was applied after it.
    private func checkpoint(_ machine: TestCluster.Machine) -> FileName? {
        let applied = machine.engine?.groupStatuses().first { $0.shard == shard }?.applied
        return machine.disk.names.last { name in
            if case .checkpoint(shard, let index) = name { index == applied } else { false }
        }
    }

    private func put<T: FixedWidthInteger>(_ value: T, _ bytes: inout [UInt8], at offset: Int) {
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }

    /// Changes the next ordinal in a checkpoint's state, and the checksums over it (docs/LOG.md, docs/ENTRIES.md).
    private func setNextOrdinal(_ ordinal: UInt64, _ bytes: inout [UInt8]) {
        put(ordinal, &bytes, at: 4_096 + 48)
        let length = (0..<8).reduce(0) { $0 | Int(bytes[72 + $1]) << (8 * $1) }
        let state = bytes[4_096..<4_096 + length].withUnsafeBytes { crc32c($0) }
        put(state, &bytes, at: 80)
        let header = bytes[0..<4_092].withUnsafeBytes { crc32c($0) }
        put(header, &bytes, at: 4_092)
    }

    @Test("refuses the next one, says why, and starts again")
    func last() throws {
        let scenario = try Scenario(shards: 1) { $0.ledgerOptions.checkpointIntervalBytes = 512 }
        let cluster = scenario.cluster
        var number: UInt64 = 0
        while !cluster.machines.allSatisfy({ checkpoint($0) != nil }), number < 100 {
            number += 1
            #expect(scenario.decide(scenario.payment(number, from: 0, to: 1))?.outcome == .accepted)
            cluster.run(milliseconds: 200)
        }
        let names = try cluster.machines.map { try #require(checkpoint($0)) }
        for machine in cluster.machines { cluster.kill(machine.replica.node) }
        for (machine, name) in zip(cluster.machines, names) {
            machine.disk.edit(name) { setNextOrdinal(Ordinal.count - 3, &$0) }
            cluster.start(machine.replica.node)
        }
        let led = cluster.reaches(cluster.allGroupsAreLed)
        try #require(led)
        let paid = try scenario.pay(201...203)
        #expect(paid.allSatisfy { $0.1.outcome == .accepted })
        #expect(scenario.refusal(scenario.payment(204, from: 0, to: 1)) == .notSupported)
        let message = scenario.client.refusals.values.first { $0.code == .notSupported }?.message
        #expect(message?.contains("\(Ordinal.count) records") == true)

        cluster.run(milliseconds: 1_000)
        for machine in cluster.machines { cluster.kill(machine.replica.node, power: true) }
        for machine in cluster.machines { cluster.start(machine.replica.node) }
        let again = cluster.reaches(cluster.allGroupsAreLed && cluster.isLevel)
        #expect(again && cluster.machines.allSatisfy { $0.fatal == nil } && cluster.hashesAgree)
        for (payment, decision) in paid {
            // A record that is known takes an ordinal as well: it is asked for, not sent again.
            #expect(scenario.refusal(payment) == .notSupported)
            #expect(decision.answer == .decided)
        }
    }
}
