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
        "ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "Client", "Simulation",
    ]
    /// What a sans-IO target may import besides the rows above it.
    private static let pureModules: Set<String> = ["DequeModule", "Synchronization"]

    /// Words that have no place in a sans-IO target, with what to use instead.
    private static let forbidden: [(pattern: String, instead: String)] = [
        (
            #"\bclock_gettime\b|\bgettimeofday\b|\bDate\(|\b(Continuous|Suspending)Clock\b"#,
            "time that comes in as input"
        ),
        (#"\bSystemRandomNumberGenerator\b|\.random\(in: [^,)]*\)|\.randomElement\(\)|\.shuffled\(\)"#, "a seed"),
        (#"\bTask\s*[{.<(]|\bactor\b|\bawait\b|\basync\b|\bThread\b|\bDispatchQueue\b|\bpthread_"#, "effects"),
        (#"\bHasher\(\)|\.hashValue\b"#, "a hash of our own: Hasher is seeded per process"),
    ]

    @Test(arguments: sansIO)
    func sansIOTargetsTouchNoMachine(target: String) throws {
        for file in try SourceFile.all(of: target) {
            for (number, line) in file.lines {
                for (pattern, instead) in Self.forbidden where line.matches(pattern) {
                    Issue.record("\(file.path):\(number): \(line.trimmed) — use \(instead)")
                }
            }
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
                    if Self.sansIO.contains(target), !above.contains(module), !Self.pureModules.contains(module) {
                        Issue.record("\(file.path):\(number): sans-IO target \(target) must not import \(module)")
                    }
                }
            }
        }
    }

    /// The order of a Set or Dictionary is seeded per process, so two runs of a deterministic target would differ.
    @Test(arguments: sansIO)
    func noIterationOverUnorderedCollections(target: String) throws {
        let files = try SourceFile.all(of: target)
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
        #expect(findings(bad) == 3)
        #expect(findings(good) == 0)
    }
}
