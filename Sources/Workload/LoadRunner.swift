import ClearingModel
import Client
import NIOCore
import NIOPosix

/// Runs a load from start to end.
public enum LoadRunner {
    /// Runs a load and returns when everything that was sent has ended. Blocks the calling thread; the load has one event
    /// loop of its own.
    ///
    /// - Throws: `LoadError` where it cannot run; a load that ran badly has a result that says so.
    public static func run(_ configuration: LoadConfiguration) throws -> LoadResult {
        try check(configuration)
        let journal = try configuration.journalPath.map { try LineFile(path: $0) }
        let series: LineFile?
        do { series = try configuration.seriesPath.map { try LineFile(path: $0) } } catch {
            try? journal?.finish()
            throw error
        }
        series?.buffer.append(contentsOf: LoadInterval.header.utf8)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let loop = group.next()
        let finished = loop.makePromise(of: LoadResult.self)
        let kept = journal == nil ? nil : configuration.journalKept.map { KeptJournal(payments: $0) }
        let files = Confined((journal, series, kept))
        loop.execute {
            do {
                let engine = try LoadEngine(
                    configuration: configuration, loop: loop, journal: files.value.0, series: files.value.1,
                    kept: files.value.2, finished: finished)
                // The driver knows its owner weakly: the engine lives until the load has ended.
                let keep = NIOLoopBound(engine, eventLoop: loop)
                finished.futureResult.whenComplete { _ in _ = keep.value.phase }
                engine.begin()
            } catch {
                finished.fail(error)
            }
        }
        let result: LoadResult
        do {
            result = try finished.futureResult.wait()
        } catch {
            try? journal?.finish()
            try? series?.finish()
            throw error
        }
        if let journal { kept?.write(to: journal, slots: configuration.topology.slots) }
        try journal?.finish()
        try series?.finish()
        return result
    }

    private static func check(_ configuration: LoadConfiguration) throws(LoadError) {
        guard !configuration.identities.isEmpty else { throw .noIdentity }
        guard (1...Limits.maximumRecords).contains(configuration.batch) else {
            throw .invalid("a batch has 1 to \(Limits.maximumRecords) records")
        }
        let nodes = configuration.topology.nodes.count
        guard configuration.connections ?? nodes >= nodes else {
            throw .invalid("\(nodes) nodes need \(nodes) connections at least: any of them may lead")
        }
        guard configuration.paymentsInFlight >= 1, configuration.maximumPending >= 1, configuration.timeoutSeconds > 0,
            configuration.requestsPerConnection ?? 1 >= 1, configuration.requestsPerShard ?? 1 >= 1
        else { throw .invalid("window, pending, requests in flight and timeout must be positive") }
        guard configuration.warmUpSeconds >= 0, configuration.warmUpSeconds < configuration.plan.totalSeconds,
            configuration.intervalSeconds > 0
        else { throw .invalid("the warm-up must be shorter than the load") }
    }

    /// Hands values to the loop that only it uses until the load has ended.
    private struct Confined<Value>: @unchecked Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }
}
