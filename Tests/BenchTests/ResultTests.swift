import Audit
import Bench
import Foundation
import LocalCluster
import Testing
import Workload

@Suite("The benchmark's figures")
struct ResultTests {
    /// A case in which a million payments were decided.
    static func result(name: String = "single-max", factor: UInt64 = 1) -> CaseResult {
        var load = LoadResult()
        (load.seconds, load.sent, load.accepted) = (20, 1_000_000, 1_000_000)
        (load.decidedInTime, load.acceptedInTime, load.acceptedPerSecond) = (1_000_000, 1_000_000, 50_000)
        (load.p50Ms, load.p99Ms, load.maxMs, load.generatorBusy) = (2, 8 * Double(factor), 20, 0.3)
        var processes = [ProcessFigures(name: "load", use: ProcessUse())]
        processes[0].use.cpu = ProcessCPU(user: 1_000_000_000, system: 500_000_000)
        for node in 1...3 {
            var use = ProcessUse()
            use.cpu = ProcessCPU(user: 1_000_000_000 * factor, system: 1_000_000_000)
            (use.writtenBytes, use.logBytes, use.syncs, use.residentBytes) = (200_000_000, 150_000_000, 1_000, 1 << 28)
            processes.append(ProcessFigures(name: "node-\(node)", use: use))
        }
        var machine = MachineTime()
        (machine.user, machine.system, machine.idle) = (5_000_000_000 * factor, 4_000_000_000, 30_000_000_000)
        var result = CaseResult(name: name, load: load, processes: processes, machine: machine)
        result.audit = .init(verdict: .valid, payments: 1_000_000, acknowledged: 1_000_000)
        return result
    }

    static func report(_ cases: [CaseResult]) -> BenchReport {
        let disk = FileSystem(type: "ext4", device: "/dev/\"a\"", options: "rw")
        var report = BenchReport(
            manifest: Manifest(
                commit: "abc", fileSystem: disk, directory: "/x", seconds: 20, seed: 1, mix: .transfers, nodes: 3,
                shards: 6, participants: 3_000, time: 1_700_000_000))
        report.cases = cases
        return report
    }

    static func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test("the JSON has DESIGN's fields, and times are per payment")
    func json() throws {
        var failover = Self.result(name: "failover")
        failover.failover = FailoverFigures(
            kills: 1,
            pauses: [40, 80, nil].enumerated().map {
                .init(kill: 1, node: 2, shard: UInt16($0.offset), milliseconds: $0.element)
            })
        let json = try Self.object(Self.report([Self.result(), failover]).json)
        let manifest = try #require(json["manifest"] as? [String: Any])
        for field in [
            "commit", "kernel", "cpu", "cores", "fileSystem", "tls", "fsync", "seed", "mix", "generatorOnSameCores",
        ] {
            #expect(manifest[field] != nil, "\(field)")
        }
        let cases = try #require(json["cases"] as? [[String: Any]])
        #expect(cases.map { $0["name"] as? String } == ["single-max", "failover"])
        let one = cases[0]
        for field in [
            "offeredRate", "sent", "acceptedPerSecond", "p50Ms", "p9999Ms", "maxMs", "generatorLimited",
            "cpuMicrosPerTransaction", "cpu", "bytesWrittenPerTransaction", "syncs", "residentBytes", "void", "audit",
        ] {
            #expect(one[field] != nil, "\(field)")
        }
        let cpu = try #require(one["cpu"] as? [String: [String: Double]])
        #expect(cpu["load"] == ["userMicros": 1, "systemMicros": 0.5])
        #expect(cpu["node-2"] == ["userMicros": 1, "systemMicros": 1])
        #expect(cpu["nodes"] == ["userMicros": 3, "systemMicros": 3])
        #expect(one["cpuMicrosPerTransaction"] as? Double == 7.5)
        #expect((one["machine"] as? [String: Double])?["otherMicros"] == 1.5)
        #expect(one["bytesWrittenPerTransaction"] as? Double == 600 && one["syncs"] as? Int == 3_000)
        #expect(one["void"] as? Bool == false && one["verdict"] as? String == "valid")
        let pauses = try #require(cases[1]["failover"] as? [String: Any])
        #expect(pauses["medianMs"] as? Double == 60 && pauses["maximumMs"] as? Double == 80)
        #expect(pauses["unanswered"] as? Int == 1)
    }

    @Test("void, failed and unknown, and the worst decides how the run ends")
    func verdicts() {
        let valid = Self.result()
        #expect(valid.verdict == .valid && CaseResult.exitCode([valid]) == 0)
        var void = valid
        (void.load.generatorLimited, void.load.late) = (true, 50_000)
        #expect(void.verdict == .void && CaseResult.exitCode([valid, void]) == 3)
        #expect(Self.report([void]).text.contains("void: 5.0% of the payments left 10 ms or more after they were due"))
        var unknown = void
        unknown.audit = .init(verdict: .unknown, problems: ["node 3: unreadable"])
        #expect(unknown.verdict == .unknown && CaseResult.exitCode([void, unknown]) == 2)
        #expect(Self.report([unknown]).text.contains("node 3: unreadable"))
        var invalid = valid
        invalid.audit = .init(verdict: .invalid, missing: 1)
        #expect(invalid.verdict == .failed && CaseResult.exitCode([invalid, unknown, void]) == 1)
        var none = valid
        none.load.acceptedInTime = 0
        #expect(none.verdict == .failed)
        var killed = valid
        killed.failures = ["node 1 did not stop"]
        #expect(killed.verdict == .failed)
    }

    @Test("a comparison has the ratio of each figure, and says what else differs")
    func comparison() throws {
        let old = Self.report([Self.result()])
        let new = Self.report([Self.result(factor: 2), Self.result(name: "lone")])
        let comparison = try Comparison(old: old.json, file: "old.json", new: new.json)
        #expect(Set(comparison.rows.map(\.name)) == ["single-max"], "only cases that both have")
        let ratio = { (figure: String) in comparison.rows.first { $0.figure == figure }?.ratio }
        #expect(ratio("p99Ms") == 2 && ratio("acceptedPerSecond") == 1)
        #expect(ratio("cpu.nodes.userMicros") == 2 && ratio("cpuMicrosPerTransaction") == 1.4)
        #expect(comparison.differences.isEmpty && comparison.text.contains("cpu.nodes.userMicros"))
        let other = old.json.replacingOccurrences(of: "\"shards\": 6", with: "\"shards\": 12")
        #expect(
            try Comparison(old: other, file: "o", new: new.json).differences == ["shards: 12 then, 6 now"])
        for text in ["", "[]", "{\"cases\": 1}"] {
            #expect(throws: LaunchError.self) { try Comparison(old: text, file: "o", new: new.json) }
        }
    }

    @Test("a process that is killed and started again keeps what it had used")
    func meter() {
        func use(_ user: UInt64, _ syncs: UInt64) -> ProcessUse {
            var use = ProcessUse()
            (use.cpu.user, use.syncs, use.residentBytes) = (user, syncs, user * 10)
            return use
        }
        var meter = ProcessMeter()
        meter.begin("node-1", use(100, 10))
        meter.end("node-1", use(150, 14))
        meter.begin("node-1", ProcessUse())
        meter.end("node-1", use(30, 3))
        #expect(meter.uses.map(\.name) == ["node-1"])
        let used = meter.uses[0].use
        #expect(used.cpu.user == 80 && used.syncs == 7 && used.residentBytes == 300)
    }

    @Test("recovery from a step: the first moment after which p99 is small for a second")
    func step() {
        func intervals(_ p99: [Double]) -> [LoadInterval] {
            p99.enumerated().map { index, value in
                var interval = LoadInterval()
                (interval.end, interval.seconds) = (Double(index + 1) / 10, 0.1)
                (interval.p99Ms, interval.accepted, interval.inFlight) = (value, 1, Int(value) * 10)
                return interval
            }
        }
        let calm = [Double](repeating: 5, count: 10)
        // The step comes after a second.
        let figures = StepFigures(intervals(calm + [80, 30, 5, 5, 40] + calm + [90]), at: 1)
        #expect(abs((figures.recoverySeconds ?? 0) - 0.5) < 1e-9 && figures.worstP99Ms == 90 && figures.backlog == 900)
        #expect(StepFigures(intervals(calm + calm), at: 1).recoverySeconds == 0)
        #expect(StepFigures(intervals(calm + [80, 5, 5]), at: 1).recoverySeconds == nil)
    }

    @Test("long: rates of the five million before each mark, memory between the marks")
    func long() throws {
        let intervals = (1...100).map { second in
            var interval = LoadInterval()
            (interval.end, interval.seconds) = (Double(second), 1)
            (interval.accepted, interval.p99Ms) = (second <= 50 ? 600_000 : 400_000, second <= 50 ? 10 : 20)
            return interval
        }
        let first = LongMark(payments: 5_000_000, intervals, residentBytes: 100 << 20)
        let last = LongMark(payments: 50_000_000, intervals, residentBytes: 100 << 20 + 45_000_000 * 3 * 26)
        #expect(first.acceptedPerSecond == 600_000 && first.p99Ms == 10)
        #expect(last.acceptedPerSecond == 400_000 && last.p99Ms == 20)
        let figures = LongFigures(marks: [first, last], nodes: 3, restartSeconds: 4)
        #expect(figures.bytesPerPaymentAndNode == 26)
        #expect(LongFigures(marks: [first], nodes: 3, restartSeconds: nil).bytesPerPaymentAndNode == nil)
        var result = Self.result(name: "long")
        result.long = figures
        let json = try Self.object(result.json)["long"] as? [String: Any]
        #expect(json?["restartSeconds"] as? Double == 4 && (json?["marks"] as? [Any])?.count == 2)
    }

    @Test("what the kernel says is read right")
    func kernel() {
        let stat = "cpu  100 1 50 800 10 2 3 4 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
        let time = MachineTime(stat: stat)
        #expect(time?.user == 1_010_000_000 && time?.system == 500_000_000 && time?.interrupts == 50_000_000)
        #expect(time?.idle == 8_100_000_000 && time?.stolen == 40_000_000)
        #expect(MachineTime(stat: "intr 1 2 3 4 5 6 7 8 9") == nil && MachineTime(stat: "") == nil)
        #expect(Machine.time.total > 0 && Machine.processors > 0 && !Machine.kernel.isEmpty)
        #expect(ProcessUse.own.residentBytes > 0 && ProcessUse.own.cpu.total > 0)
    }
}
