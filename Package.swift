// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target of ours: language mode 6 comes from the tools version, warnings are errors.
///
/// With SUANPAN_MUTATIONS in the environment the known bugs of `Mutation` are compiled in: for tests, never for a binary that is run.
let strict: [SwiftSetting] =
    [.treatAllWarnings(as: .error)]
    + (Context.environment["SUANPAN_MUTATIONS"] == nil ? [] : [.define("SUANPAN_MUTATIONS")])

/// A target of ours. The order of the list below is the order of the layers: a target imports only from rows above it.
func layer(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let collections = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "suanpan",
    products: [.executable(name: "suanpan", targets: ["suanpan"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Sans-IO: no clock, socket, file, thread, random source or Foundation.
        .target(name: "CChecksum"),
        layer("ClearingModel"),
        layer("Wire", ["ClearingModel", "CChecksum"]),
        layer("Raft", ["ClearingModel", "Wire", collections]),
        layer("Ledger", ["ClearingModel", "Wire", collections]),
        layer("LogFormat", ["ClearingModel", "Wire", "Raft", "Ledger", collections]),
        layer("Engine", ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", collections]),
        layer("Client", ["ClearingModel", "Wire", collections]),
        // The machine.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "CPlatform"),
        layer("TLS", ["ClearingModel", "Wire", "COpenSSL", nioCore]),
        layer(
            "Node",
            [
                "ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "TLS", "CPlatform", nioCore, nioPosix,
                nioHTTP1, logging, collections,
            ]),
        layer("Workload", ["ClearingModel", "Wire", "Client", "TLS", "CPlatform", nioCore, nioPosix, histogram]),
        layer("Audit", ["ClearingModel", "CChecksum"]),
        layer(
            "Simulation",
            ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "Client", "Audit", collections]),
        layer("LocalCluster", ["ClearingModel", "Wire", "TLS", "CPlatform", yams]),
        layer("Bench", ["ClearingModel", "Workload", "Audit", "LocalCluster"]),
        .executableTarget(
            name: "suanpan",
            dependencies: [
                "ClearingModel", "Wire", "LogFormat", "Client", "TLS", "Node", "Workload", "Audit", "LocalCluster",
                "Bench", "Simulation", "CPlatform",
                arguments, logging, yams, nioCore, nioPosix,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "microbench",
            dependencies: ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "TLS", "CPlatform", nioCore],
            swiftSettings: strict),
        // Tests mirror the sources; ClusterTests starts real processes.
        tests("ClearingModelTests", ["ClearingModel"]),
        tests("WireTests", ["ClearingModel", "CChecksum", "Wire"]),
        tests("RaftTests", ["ClearingModel", "Wire", "Raft"], resources: [.copy("Scripts")]),
        tests("LedgerTests", ["ClearingModel", "Wire", "Ledger"]),
        tests("LogFormatTests", ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat"]),
        tests("EngineTests", ["ClearingModel", "Wire", "LogFormat", "Engine"]),
        tests("ClientTests", ["ClearingModel", "Wire", "Client"]),
        tests("TLSTests", ["ClearingModel", "Wire", "TLS", nioCore, nioEmbedded]),
        tests("NodeTests", ["ClearingModel", "Wire", "LogFormat", "TLS", "Node", nioCore, nioPosix, logging]),
        tests("WorkloadTests", ["ClearingModel", "Wire", "Client", "TLS", "Workload", nioCore, nioPosix]),
        tests("AuditTests", ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Audit"]),
        tests(
            "SimulationTests",
            ["ClearingModel", "Wire", "Raft", "Ledger", "LogFormat", "Engine", "Client", "Audit", "Simulation"]),
        tests("LocalClusterTests", ["ClearingModel", "Wire", "LocalCluster"]),
        tests("BenchTests", ["ClearingModel", "Workload", "Audit", "LocalCluster", "Bench"]),
        tests("ClusterTests", ["ClearingModel", "Wire", "TLS", nioCore, yams]),
    ]
)
