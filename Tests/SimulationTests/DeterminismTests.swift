import Testing

@Suite("A simulated world")
struct DeterminismTests {
    /// One node; then three to seven nodes with three to six shards, under power cuts, damage, partitions and wipes.
    @Test("is the same, byte for byte, in two processes", arguments: [11, 14, 18, 22, 39] as [UInt64])
    func sameHash(seed: UInt64) throws {
        let simulator = try Simulator()
        let runs = try (0..<2).map { _ in try simulator.run(["--seed", "\(seed)", "--seconds", "20"]) }
        for run in runs {
            try #require(run.hash != nil, "\(run.text)")
            #expect(run.lastLine == "hash \(run.hash!)")
        }
        #expect(runs[0].hash == runs[1].hash)
        #expect(runs[0].text == runs[1].text)
    }

    @Test("is another one with another seed")
    func otherHash() throws {
        let simulator = try Simulator()
        let hashes = try [11, 12].map { try simulator.run(["--seed", "\($0)", "--seconds", "5"]).hash }
        #expect(hashes[0] != nil && hashes[1] != nil && hashes[0] != hashes[1])
    }

    @Test("breaks no invariant in a few seeds")
    func fewSeeds() throws {
        let run = try Simulator().run(["--count", "6", "--seconds", "20", "--workers", "1"])
        #expect(run.status == 0, "\(run.text)")
    }
}
