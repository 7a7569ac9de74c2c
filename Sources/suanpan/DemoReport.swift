import Audit
import Bench
import ClearingModel
import LocalCluster
import Workload

extension Demo {
    /// Ends the cluster, audits what is on its disks, and prints what became of every payment. Returns the audit's exit code.
    func finish(_ load: DemoLoad) throws -> Int32 {
        let killed = try launcher.drain { false }
        Console.out(
            killed.isEmpty
                ? "\nAll nodes stopped in order. Auditing their disks against the load's journal …"
                : "\nNode \(killed.map(\.description).joined(separator: ", ")) had to be killed. Auditing the disks …")
        let report = try AuditSetup.run(directory, journal: load.journal) { _ in }
        let result = load.result

        for balance in report.balances {
            let holds = balance.debits == balance.credits + balance.inFlight
            Console.out(
                "  Σ debits \(Self.money(balance.debits)) \(holds ? "=" : "≠") Σ credits \(Self.money(balance.credits)) "
                    + "+ in flight \(Self.money(balance.inFlight))   (currency \(balance.currency), window \(balance.window))"
            )
        }
        let pauses = load.failover?.pauses(journal: load.journal) ?? []
        var rows = [
            ["acknowledged", "\(report.acknowledged)"], ["lost", "\(report.missing)"],
            ["doubled", "\(report.doubled)"],
            ["unknown to the load", "\(result.unknown)"],
            ["offered / accepted a second", "\(Int(result.offeredRate)) / \(Int(result.acceptedPerSecond))"],
            ["p50 / p99 from intended send time, ms", "\(Int(result.p50Ms)) / \(Int(result.p99Ms))"],
            ["longest gap of a shard, ms", "\(Int(result.longestGapMs))"],
            ["CPU per payment, all processes, µs", "\((result.cpuMicrosPerTransaction * 10).rounded() / 10)"],
        ]
        if !pauses.isEmpty {
            let text = pauses.map { "\($0.shard): \(Int($0.milliseconds))" }.joined(separator: ", ")
            rows.append(["kill to the next decision by shard, ms", text])
        }
        rows.append(["audit of six disks", "\(report.verdict)"])
        let width = rows.map { $0[0].count }.max() ?? 0
        for row in rows {
            Console.out("  " + row[0] + String(repeating: " ", count: width - row[0].count) + "  " + row[1])
        }
        for text in (report.problems + report.unchecked).prefix(10) { Console.out("  ! \(text)") }
        if let shortfall = shortfall(load) { Console.out("  \(shortfall)") }
        return report.verdict.exitCode
    }

    /// Why less than the rate was accepted; `nil` where it was reached.
    private func shortfall(_ load: DemoLoad) -> String? {
        let result = load.result
        guard result.acceptedPerSecond < Double(load.rate) * 0.98 || result.notSent > 0 else { return nil }
        let busy = Int(load.machineBusy * 100)
        let reason =
            if result.generatorLimited {
                "the generator was late or busy (\(Int(result.generatorBusy * 100))% of its thread)"
            } else if busy >= 90 {
                "all \(Machine.processors) cores were busy (\(busy)%) with six nodes, the load and the failover"
            } else {
                "the cores were \(busy)% busy: the disk or other work on this machine held it back"
            }
        return "Below the \(load.rate)/s offered: \(Int(result.acceptedPerSecond))/s, because \(reason)."
    }

    /// Minor units of a two-decimal currency.
    private static func money(_ minor: UInt128) -> String {
        let cents = String(minor % 100)
        return "\(minor / 100)." + (cents.count == 1 ? "0" + cents : cents)
    }
}
