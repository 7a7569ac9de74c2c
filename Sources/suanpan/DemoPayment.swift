import CPlatform
import ClearingModel
import Client
import Glibc
import LocalCluster
import Workload

/// One payment followed from its id to three log positions; then the same id again, and altered.
struct DemoPayment {
    let directory: ClusterDirectory
    let population: Population
    let topology: ClusterTopology

    func run() throws {
        let debtor = population.banks[0].participant
        let institution = population.instructing[0].participant
        let now = WallTime(rawValue: suanpan_wall_microseconds())
        let day = BusinessDay(at: now, offsetMinutes: Int(topology.calendar.zoneOffsetMinutes))
        // Far above the sequences of a load, which count from the time of day.
        let id = TransactionID(
            debtor: debtor, instructing: institution, day: day,
            sequence: TransactionID.maximumSequence - now.rawValue % 86_400_000_000)
        var payment = Instruction(
            id: id, kind: .agreementDebit, amount: 5_200, currency: Population.currency, creditor: institution)
        payment.reference = 42
        let shard = topology.slots.route(id)
        let placement = topology.placement(of: shard)!
        Console.out("One payment: bank \(debtor) pays 52.00 to institution \(institution), which instructs it.")
        Console.out("  id        \(id)   (debtor-instructing-day-sequence; routes to shard \(shard) without a look-up)")

        let client = try Access.asParticipant(institution, directory)
        defer { client.close() }
        let result = try client.submit([payment])[0].result
        guard case .decided(let decision) = result, decision.outcome?.isAccepted == true else {
            throw LaunchError.failed("the payment was not accepted: \(PaymentText.text(id, result))")
        }
        Console.out("  outcome   \(PaymentText.describe(decision))")
        for node in placement.nodes {
            let place = try locate(payment, node)
            Console.out("  on disk   node \(node), \(topology.node(node)!.dataCentre): \(place)")
        }
        Console.out("  again     \(answer(try client.submit([payment])[0].result))")
        payment.amount += 1
        Console.out("  altered   \(answer(try client.submit([payment])[0].result))\n")
    }

    private func answer(_ result: RecordResult) -> String {
        switch result {
        case .decided(let decision): PaymentText.describe(decision)
        case .conflict: "52.01 under the same id: refused (AM05), the original stands"
        case .refused(let code): "not decided: \(code.name)"
        case .unknown, .expired: "unknown"
        }
    }

    /// Looks for the record's 128 bytes in a replica's log, as they were submitted; followers may be a moment behind.
    private func locate(_ payment: Instruction, _ node: NodeID) throws -> String {
        let wanted = payment.withBytes { Array($0) }
        let found = Deadline(seconds: 3).await { () -> String? in
            for name in Self.segments(directory.dataDirectory(node)) {
                if let offset = Self.find(wanted, "\(directory.dataDirectory(node))/\(name)") {
                    return "\(name), byte \(offset)"
                }
            }
            return nil
        }
        guard let found else { throw LaunchError.failed("node \(node) has no copy of the payment in its log") }
        return found
    }

    private static func segments(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix("segment-") { names.append(name) }
        }
        return names.sorted()
    }

    /// Offset of `wanted` in the first 64 MiB of a file: the log of a new cluster is short.
    private static func find(_ wanted: [UInt8], _ path: String) -> Int? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let chunk = 1 << 20
        var buffer = [UInt8](repeating: 0, count: chunk + wanted.count)
        for start in stride(from: 0, to: 64 << 20, by: chunk) {
            let count = pread(file, &buffer, buffer.count, start)
            guard count >= wanted.count else { return nil }
            let hit = buffer.withUnsafeBytes {
                ByteSearch.first(wanted, in: UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
            if let hit { return start + hit }
        }
        return nil
    }
}
