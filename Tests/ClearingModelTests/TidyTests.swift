import Foundation
import Testing

/// Style that tests itself: the sans-IO targets stay free of clocks, randomness, tasks and unordered iteration, and a
/// target imports only from the rows above it (DESIGN, "Layers").
struct TidyTests {
    /// The layers, lowest first: every target with the modules of ours that it may import.
    private static let layers: [(target: String, above: Set<String>)] = [
        ("ClearingModel", []),
        ("Wire", ["ClearingModel", "CChecksum"]),
        ("Raft", ["ClearingModel", "Wire"]),
        ("Ledger", ["ClearingModel", "Wire"]),
        ("LogFormat", ["ClearingModel", "Wire", "Raft", "Ledger"]),
        ("Engine", ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat"]),
        ("Client", ["ClearingModel", "Wire"]),
        ("TLS", ["ClearingModel", "Wire", "COpenSSL"]),
        (
            "Node",
            ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "TLS", "CPlatform"]
        ),
        ("Workload", ["ClearingModel", "Wire", "Client", "TLS", "CPlatform"]),
        ("Audit", ["ClearingModel", "CChecksum"]),
        ("Simulation", ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "Client", "Audit"]),
        ("LocalCluster", ["ClearingModel", "Wire", "TLS", "CPlatform"]),
        ("Bench", ["ClearingModel", "Workload", "Audit", "LocalCluster"]),
    ]
    private static let sansIO = [
        "ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "Client", "Audit", "Simulation",
    ]
    /// Files of the audit that read a data directory; its decoder and its model run inside the simulated world.
    private static let withIO: Set<String> = [
        "Sources/Audit/Auditor.swift", "Sources/Audit/DataFile.swift", "Sources/Audit/JournalCheck.swift",
        "Sources/Audit/NodeReader.swift",
    ]
    /// What a sans-IO target may import besides the rows above it.
    private static let pureModules: Set<String> = ["DequeModule", "Synchronization"]

    /// Words that have no place in a sans-IO target, with what to use instead.
    private static let forbidden: [(pattern: String, instead: String)] = [
        (
            #"\bclock_gettime\b|\bgettimeofday\b|\bDate\(|\b(Continuous|Suspending)Clock\b"#,
            "time that comes in as input"
        ),
        (
            #"\bSystemRandomNumberGenerator\b|\.random\((?!.*\busing:)|\.randomElement\(\)|\.shuffled?\(\)"#,
            "a seed"
        ),
        (#"\bTask\s*[{.<(]|\bactor\b|\bawait\b|\basync\b|\bThread\b|\bDispatchQueue\b|\bpthread_"#, "effects"),
        (#"\bHasher\(\)|\.hashValue\b"#, "a hash of our own: Hasher is seeded per process"),
    ]

    private static func sansIOFiles(of target: String) throws -> [SourceFile] {
        try SourceFile.all(of: target).filter { !withIO.contains($0.path) }
    }

    private static func touchesOfTheMachine(_ file: SourceFile) -> [String] {
        file.lines.flatMap { number, line in
            forbidden.filter { line.matches($0.pattern) }
                .map { "\(file.path):\(number): \(line.trimmed) — use \($0.instead)" }
        }
    }

    @Test(arguments: sansIO)
    func sansIOTargetsTouchNoMachine(target: String) throws {
        for file in try Self.sansIOFiles(of: target) {
            for finding in Self.touchesOfTheMachine(file) { Issue.record("\(finding)") }
        }
    }

    @Test func importsGoOnlyUpward() throws {
        let ours = Set(Self.layers.map(\.target)).union(["CChecksum", "COpenSSL", "CPlatform"])
        for (target, above) in Self.layers {
            for file in try SourceFile.all(of: target) {
                for (number, module) in file.imports {
                    if ours.contains(module), !above.contains(module) {
                        Issue.record("\(file.path):\(number): \(target) must not import \(module)")
                    }
                    if Self.sansIO.contains(target), !Self.withIO.contains(file.path), !above.contains(module),
                        !Self.pureModules.contains(module)
                    {
                        Issue.record("\(file.path):\(number): sans-IO target \(target) must not import \(module)")
                    }
                }
            }
        }
    }

    /// The order of a Set or Dictionary is seeded per process, so two runs of a deterministic target would differ.
    @Test(arguments: sansIO)
    func noIterationOverUnorderedCollections(target: String) throws {
        let files = try Self.sansIOFiles(of: target)
        var members: [String: Set<String>] = [:]
        for file in files { file.collectUnorderedMembers(into: &members) }
        for file in files {
            for finding in file.unorderedIterations(members: members) {
                Issue.record("\(finding) — sort the keys first, or keep an array")
            }
        }
    }

    @Test func theScannerSeesWhatItShould() {
        let bad = SourceFile(
            path: "Bad.swift",
            text: """
                struct A {
                    var table: [Int: String] = [:]
                    func f(seen: Set<Int>) {
                        for (key, value) in table { use(key, value) }
                        seen.forEach { use($0) }
                        let keys = table.keys.map { $0 }
                        for one in Set(list) { use(one) }
                        for (key, value) in Dictionary(grouping: list, by: f) { use(key, value) }
                        let all = Set(list.map { g(f($0)) }).map { $0 }
                    }
                }
                """)
        let good = SourceFile(
            path: "Good.swift",
            text: """
                struct A {
                    var table: [Int: String] = [:]
                    var rows: [[Int]]
                    func f(seen: Set<Int>) {
                        for key in table.keys.sorted() { use(key) }
                        let ordered = seen.map { $0 }.sorted()
                        for one in Set(list).sorted() { use(one) }
                        let known = Set(list.filter(f).map(g))
                        if Set(list.map(\\.id)).count > 1 { use(known) }
                        for one in list where Set(list).contains(one) { use(one) }
                    }
                    func g(seen: [Int]) { for one in seen { use(one) } }
                    // for x in table {}
                }
                """)
        func findings(_ file: SourceFile) -> Int {
            var members: [String: Set<String>] = [:]
            file.collectUnorderedMembers(into: &members)
            return file.unorderedIterations(members: members).count
        }
        #expect(findings(bad) == 6)
        #expect(findings(good) == 0)
    }

    @Test(arguments: [
        "clock_gettime(CLOCK_REALTIME, &time)", "gettimeofday(&time, nil)", "let now = Date()",
        "let clock = ContinuousClock()", "SuspendingClock.now", "var random = SystemRandomNumberGenerator()",
        "Int.random(in: 0..<n)", "Int.random(in: 0..<f(a, b))", "Bool.random()", "list.randomElement()",
        "list.shuffled()", "list.shuffle()", "Task { run() }", "Task.detached { run() }", "actor Node {", "await run()",
        "func run() async {", "Thread.current", "DispatchQueue.main", "pthread_self()", "var hasher = Hasher()",
        "id.hashValue",
    ])
    func aLineThatTouchesTheMachine(line: String) {
        #expect(Self.touchesOfTheMachine(SourceFile(path: "Bad.swift", text: line)).count == 1)
    }

    @Test(arguments: [
        "Int.random(in: 0..<n, using: &random)", "list.shuffled(using: &random)", "list.randomElement(using: &random)",
        "random.next()", "// Date() is the machine's", "let text = \"await\"", "updateDate(now)",
    ])
    func aLineThatDoesNot(line: String) {
        #expect(Self.touchesOfTheMachine(SourceFile(path: "Good.swift", text: line)).isEmpty)
    }

    @Test func aTargetThatIsNotThereIsNoProof() {
        #expect(throws: SourceFile.NoSources.self) { try SourceFile.all(of: "NoSuchTarget") }
    }
}
