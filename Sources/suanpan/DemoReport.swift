import ClearingModel
import LocalCluster
import Workload

extension Demo {
    /// Ends the cluster and prints what became of every payment; returns the audit's exit code.
    func finish(_ load: DemoLoad) throws -> Int32 {
        let pauses = load.failover?.pauses(journal: load.journal) ?? []
        for pause in pauses {
            Console.out("  shard \(pause.shard): first payment decided \(Int(pause.milliseconds)) ms after the kill")
        }
        Console.out(LoadSetup.table(load.result))
        Console.out("machine busy \(Int(load.machineBusy * 100))%")
        _ = try launcher.drain { false }
        return ExitStatus.ok
    }
}
