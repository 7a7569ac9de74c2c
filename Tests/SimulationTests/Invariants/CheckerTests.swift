import ClearingModel
import Simulation
import Testing

struct InvariantsCheckerTests {
    @Test func nothingHappenedNothingIsWrong() {
        let topology = ClusterTopology(
            cluster: ClusterID(high: 1, low: 2), nodes: [], placements: [], slots: SlotMap(shardCount: 1))
        let checker = Checker(topology: topology)
        #expect(checker.violation == nil)
    }
}
