import ClearingModel
import LocalCluster

/// The participants of a generated cluster: the same number gives the same population, so launcher, import and load agree.
enum GeneratedPopulation {
    /// What a new cluster with this many generated participants is made from; 0 leaves the directory empty.
    static func request(
        plan: TopologyPlan, allowFaults: Bool, logLevel: String, participants: Int
    ) throws(FlagError) -> Launcher.Request {
        guard participants == 0 || (Population.minimumCount...Limits.maximumParticipants).contains(participants) else {
            throw FlagError(
                "--participants \(participants): give 0, or \(Population.minimumCount) to \(Limits.maximumParticipants)"
            )
        }
        let population = participants == 0 ? nil : Population.generate(count: participants)
        return Launcher.Request(
            plan: plan, allowFaults: allowFaults, logLevel: logLevel, largest: population?.largest ?? [],
            instructing: population?.instructing.map(\.participant) ?? [], participants: participants)
    }
}
