import Testing

@Suite("A simulated world")
struct DeterminismTests {
    @Test("is the same, byte for byte, in two processes, and another one with another seed")
    func hashes() throws {
        let simulator = try Simulator()
        let runs = try [11, 11, 12].map { try simulator.run(["--seed", "\($0)", "--seconds", "20"]) }
        for run in runs { try #require(run.hash != nil, "\(run.text)") }
        #expect(runs[0].hash == runs[1].hash)
        #expect(runs[0].hash != runs[2].hash)
    }

    @Test("breaks no invariant in a few seeds")
    func fewSeeds() throws {
        let run = try Simulator().run(["--count", "6", "--seconds", "20", "--workers", "1"])
        #expect(run.status == 0, "\(run.text)")
    }
}
