import Simulation

/// Leaves faults out while a seed still fails with the same invariant (delta debugging: Zeller and Hildebrandt, TSE 2002).
struct SimShrink {
    let command: SimCommand
    let seed: UInt64

    func run() throws -> Int32 {
        let parameters = command.parameters(seed: seed)
        Console.note("seed \(seed): \(parameters.summary)")
        let all = World(parameters: parameters).plan.map(\.number)
        var omitted = try command.omitted
        guard let first = violation(omitting: omitted) else {
            Console.note("seed \(seed) shows no violation: nothing to shrink")
            return ExitStatus.ok
        }
        Console.note("\(first.invariant) with \(all.count - omitted.count) faults")
        var chunk = max(1, all.count / 2)
        while true {
            var left = all.filter { !omitted.contains($0) }
            var shrunk = false
            while !left.isEmpty {
                let candidates = Array(left.prefix(chunk))
                left.removeFirst(candidates.count)
                guard violation(omitting: omitted + candidates)?.invariant == first.invariant else { continue }
                omitted += candidates
                shrunk = true
                Console.note("still \(first.invariant) with \(all.count - omitted.count) faults")
            }
            if chunk == 1 && !shrunk { break }
            chunk = max(1, chunk / 2)
        }
        omitted.sort()
        guard let last = violation(omitting: omitted) else { return ExitStatus.failed }
        for fault in World(parameters: parameters).plan where !omitted.contains(fault.number) {
            Console.note("needed: \(fault)")
        }
        let explained = SimRun.explained(last, in: parameters, omitting: omitted)
        Console.note(explained.report(command: command.command(seed: seed, omitting: omitted)))
        return ExitStatus.failed
    }

    private func violation(omitting omitted: [Int]) -> SimRun.Outcome.Finding? {
        SimRun.start([command.parameters(seed: seed)], omitting: omitted)?.finish().violation
    }
}
