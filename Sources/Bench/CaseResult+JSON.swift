import Workload

extension CaseResult {
    /// DESIGN's object of one case: the load's fields, and what the case adds.
    public var json: String {
        var cpu: [(name: String, value: String)] = processes.map { process in
            (process.name, time(process.use.cpu.user, process.use.cpu.system))
        }
        cpu.append(("nodes", time(ofNodes { $0.cpu.user }, ofNodes { $0.cpu.system })))
        var rest: [(name: String, value: String)] = [
            ("cpu", JSONText.object(cpu)), ("machine", machineJSON),
            ("bytesWrittenPerTransaction", JSONText.number(perPayment(ofNodes { $0.writtenBytes }))),
            ("logBytesPerTransaction", JSONText.number(perPayment(ofNodes { $0.logBytes }))),
            ("syncs", "\(ofNodes { $0.syncs })"),
            ("syncsPerTransaction", JSONText.number(perPayment(ofNodes { $0.syncs }))),
            ("residentBytes", JSONText.object(processes.map { ($0.name, "\($0.use.residentBytes)") })),
            ("generatorBusy", JSONText.number(load.generatorBusy)), ("audit", auditJSON),
        ]
        if let step { rest.append(("step", step.json)) }
        if let failover { rest.append(("failover", failover.json)) }
        if let long { rest.append(("long", long.json)) }
        rest += [
            ("verdict", JSONText.string(verdict.rawValue)), ("void", "\(isVoid)"),
            ("notes", JSONText.array((failures + voidReason + notes).map(JSONText.string))),
        ]
        let head = "{\"name\": \(JSONText.string(name)), \"measuredSeconds\": \(JSONText.number(load.seconds)), "
        return head + load.jsonFields + ", " + JSONText.object(rest).dropFirst()
    }

    /// Microseconds a payment.
    private func time(_ user: UInt64, _ system: UInt64) -> String {
        JSONText.object([
            ("userMicros", JSONText.number(perPayment(user, in: 1_000))),
            ("systemMicros", JSONText.number(perPayment(system, in: 1_000))),
        ])
    }

    private var machineJSON: String {
        JSONText.object([
            ("userMicros", JSONText.number(perPayment(machine.user, in: 1_000))),
            ("systemMicros", JSONText.number(perPayment(machine.system, in: 1_000))),
            ("interruptMicros", JSONText.number(perPayment(machine.interrupts, in: 1_000))),
            ("otherMicros", JSONText.number(perPayment(otherCPU, in: 1_000))),
            ("busy", JSONText.number(share(machine.busy))), ("otherBusy", JSONText.number(share(otherCPU))),
            ("stolen", JSONText.number(share(machine.stolen))),
        ])
    }

    private var auditJSON: String {
        guard let audit else { return "null" }
        return JSONText.object([
            ("verdict", JSONText.string(audit.verdict.rawValue)), ("payments", "\(audit.payments)"),
            ("acknowledged", "\(audit.acknowledged)"), ("missing", "\(audit.missing)"),
            ("doubled", "\(audit.doubled)"), ("problems", JSONText.array(audit.problems.map(JSONText.string))),
        ])
    }
}

extension StepFigures {
    var json: String {
        JSONText.object([
            ("recoverySeconds", JSONText.number(recoverySeconds)), ("worstP99Ms", JSONText.number(worstP99Ms)),
            ("backlog", "\(backlog)"),
        ])
    }
}

extension FailoverFigures {
    var json: String {
        let list = pauses.map {
            JSONText.object([
                ("kill", "\($0.kill)"), ("node", "\($0.node)"), ("shard", "\($0.shard)"),
                ("pauseMs", JSONText.number($0.milliseconds)),
            ])
        }
        return JSONText.object([
            ("kills", "\(kills)"), ("medianMs", JSONText.number(medianMs)), ("maximumMs", JSONText.number(maximumMs)),
            ("unanswered", "\(unanswered)"), ("pauses", JSONText.array(list)),
        ])
    }
}

extension LongFigures {
    var json: String {
        let list = marks.map {
            JSONText.object([
                ("payments", "\($0.payments)"), ("acceptedPerSecond", JSONText.number($0.acceptedPerSecond)),
                ("p99Ms", JSONText.number($0.p99Ms)), ("residentBytes", "\($0.residentBytes)"),
            ])
        }
        return JSONText.object([
            ("marks", JSONText.array(list)), ("bytesPerPaymentAndNode", JSONText.number(bytesPerPaymentAndNode)),
            ("restartSeconds", JSONText.number(restartSeconds)),
        ])
    }
}

/// All cases of one run.
public struct BenchReport: Sendable {
    public var manifest: Manifest
    public var cases: [CaseResult] = []
    public init(manifest: Manifest) { self.manifest = manifest }

    public var json: String {
        "{\"manifest\": \(manifest.json), \"cases\": \(JSONText.array(cases.map { "\n" + $0.json }))}\n"
    }
}
