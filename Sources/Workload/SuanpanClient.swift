import ClearingModel
import Client
import NIOCore
import NIOPosix
import TLS
import Wire

/// Why a call of `SuanpanClient` brought no reply.
public enum ClientError: Error, Sendable, CustomStringConvertible {
    /// The cluster refused it; nothing was decided or changed.
    case refused(Refusal)
    /// The time given passed without a reply. It may have been carried out: ask again.
    case noReply([String])
    case badReply(WireError)
    /// More requests are pending than the client takes, or the node is unknown.
    case notTaken

    public var description: String {
        switch self {
        case .refused(let refusal):
            "refused: \(refusal.code.name)" + (refusal.message.isEmpty ? "" : ": \(refusal.message)")
        case .noReply(let troubles):
            "no reply within the time given; it may have been carried out" + (troubles.last.map { " (\($0))" } ?? "")
        case .badReply(let error): "a reply that cannot be read: \(error)"
        case .notTaken: "the request was not taken"
        }
    }
}

/// A client for commands: one identity, blocking calls, one event loop of its own. Call from any thread but its loop's.
public final class SuanpanClient: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let worker: NIOLoopBound<Worker>
    private let loop: any EventLoop
    public let topology: ClusterTopology
    /// How long each call may take.
    public let timeoutSeconds: Double

    public init(topology: ClusterTopology, credentials: TLSCredentials, timeoutSeconds: Double = 10) throws {
        self.timeoutSeconds = timeoutSeconds
        self.topology = topology
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        do {
            worker = try loop.submit {
                let worker = Worker()
                var configuration = ClientConfiguration()
                configuration.keepAllConnected = false
                configuration.maximumPending = 65_536
                worker.driver = try ClientDriver(
                    loop: loop, topology: topology, identities: [ClientIdentity(credentials: credentials)],
                    configuration: configuration, owner: worker)
                worker.driver.start()
                return NIOLoopBound(worker, eventLoop: loop)
            }.wait()
        } catch {
            try? group.syncShutdownGracefully()
            throw error
        }
        self.group = group
        self.loop = loop
    }

    /// Says goodbye and ends the loop. Call once; no other call after.
    public func close() {
        let worker = worker
        try? loop.submit { worker.value.driver.close() }.wait()
        try? group.syncShutdownGracefully()
    }

    // MARK: - Payments

    /// Submits instructions; one completion each, in the order of `instructions`.
    public func submit(_ instructions: [Instruction]) throws -> [Completion] {
        let (worker, span) = (worker, timeout)
        return try loop.flatSubmit { worker.value.submit(instructions, within: span) }.wait()
    }

    /// What became of ids, in their order; ids may belong to several shards.
    public func query(_ ids: [TransactionID]) throws -> [Decision] {
        var answers = [Decision?](repeating: nil, count: ids.count)
        let byShard = Dictionary(grouping: ids.indices) { topology.slots.route(ids[$0]) }
        for (shard, positions) in byShard.sorted(by: { $0.key < $1.key }) {
            for start in stride(from: 0, to: positions.count, by: Limits.maximumRecords) {
                let part = positions[start..<min(start + Limits.maximumRecords, positions.count)]
                var writer = WireWriter()
                Query.encode(request: 0, shard: shard, part.map { ids[$0] }, into: &writer)
                let body = Array(writer.bytes[FrameHeader.size...])
                let reply = try call(.query, body: body, to: .leader(shard))
                let decisions = try Self.decisions(reply, count: part.count)
                for (position, id) in part.enumerated() { answers[id] = decisions[position] }
            }
        }
        return answers.map { $0! }
    }

    private static func decisions(_ body: [UInt8], count: Int) throws(ClientError) -> [Decision] {
        let result = body.withUnsafeBytes { bytes -> Result<[Decision], WireError> in
            Result { () throws(WireError) in
                let decisions = try Decisions.decode(bytes)
                guard decisions.count == count else {
                    throw .invalid(field: "decision count", value: UInt64(decisions.count))
                }
                return (0..<count).map { decisions[$0] }
            }
        }
        switch result {
        case .success(let decisions): return decisions
        case .failure(let error): throw .badReply(error)
        }
    }

    /// Where a participant stands.
    public func position(of participant: ParticipantID) throws -> PositionReply {
        try call(PositionRequest(participant: participant), to: .leader(topology.slots.home(of: participant)))
    }

    // MARK: - The cluster

    /// The cluster as one node knows it.
    public func cluster(node: NodeID) throws -> ClusterReply { try call(ClusterRequest(), to: .node(node)) }

    /// Changes the directory, in order; the failures count over all of `changes`.
    public func change(_ changes: [DirectoryChange]) throws -> DirectoryChangeReply {
        var all = DirectoryChangeReply(version: .zero)
        for start in stride(from: 0, to: changes.count, by: DirectoryChangeRequest.maximumChanges) {
            let part = changes[start..<min(start + DirectoryChangeRequest.maximumChanges, changes.count)]
            let reply: DirectoryChangeReply = try call(
                DirectoryChangeRequest(changes: Array(part)), to: .leader(.directory))
            all.version = reply.version
            all.failures += reply.failures.map { .init(change: $0.change + start, fault: $0.fault) }
        }
        return all
    }

    /// All participants, or all mandates.
    public func list(_ subject: DirectoryListRequest.Subject) throws -> [DirectoryChange] {
        var items: [DirectoryChange] = []
        var cursor: UInt64 = 0
        repeat {
            let reply: DirectoryListReply = try call(
                DirectoryListRequest(subject, cursor: cursor), to: .leader(.directory))
            items += reply.items
            cursor = reply.next
        } while cursor != 0
        return items
    }

    /// An operator's order; not repeated when its reply is lost.
    public func operate(_ operation: Operation, at target: CallTarget) throws -> OperateReply {
        try call(OperateRequest(operation), to: target, repeatable: false)
    }

    // MARK: - Calls

    private var timeout: MonotonicTime.Span { .milliseconds(UInt64(max(timeoutSeconds, 0.001) * 1_000)) }

    private func call<Reply: ClientMessage>(
        _ message: some ClientMessage, to target: CallTarget, repeatable: Bool = true
    ) throws -> Reply {
        var writer = WireWriter()
        message.encodeBody(into: &writer)
        let body = try call(type(of: message).frameType, body: writer.bytes, to: target, repeatable: repeatable)
        let result = body.withUnsafeBytes { bytes -> Result<Reply, WireError> in
            Result { () throws(WireError) in try Reply.decode(bytes) }
        }
        switch result {
        case .success(let reply): return reply
        case .failure(let error): throw ClientError.badReply(error)
        }
    }

    private func call(
        _ type: FrameType, body: [UInt8], to target: CallTarget, repeatable: Bool = true
    ) throws -> [UInt8] {
        let (worker, span) = (worker, timeout)
        let result = try loop.flatSubmit {
            worker.value.call(type, body: body, to: target, repeatable: repeatable, within: span)
        }.wait()
        switch result.value {
        case .reply(_, let body): return body
        case .refused(let refusal): throw ClientError.refused(refusal)
        case .unknown: throw ClientError.noReply(result.troubles)
        }
    }
}

/// The part of a `SuanpanClient` that lives on its loop.
private final class Worker: ClientDriverOwner {
    struct Answer: Sendable {
        var value: CallResult
        var troubles: [String]
    }

    var driver: ClientDriver!
    private var submits: [UInt64: (left: Int, completions: [Completion], promise: EventLoopPromise<[Completion]>)] = [:]
    private var calls: [UInt64: EventLoopPromise<Answer>] = [:]
    private var lastToken: UInt64 = 0

    func driverTurn(_ driver: ClientDriver, now: MonotonicTime, isTick: Bool) {}

    func submit(_ instructions: [Instruction], within span: MonotonicTime.Span) -> EventLoopFuture<[Completion]> {
        let promise = driver.loop.makePromise(of: [Completion].self)
        guard !instructions.isEmpty else {
            promise.succeed([])
            return promise.futureResult
        }
        lastToken += 1
        let now = Clocks.monotonic()
        let taken = driver.submit(instructions, identity: 0, deadline: now + span, token: lastToken, now: now)
        guard taken == instructions.count else {
            promise.fail(ClientError.notTaken)
            return promise.futureResult
        }
        submits[lastToken] = (instructions.count, [], promise)
        driver.scheduleTurn()
        return promise.futureResult
    }

    func call(
        _ type: FrameType, body: [UInt8], to target: CallTarget, repeatable: Bool, within span: MonotonicTime.Span
    ) -> EventLoopFuture<Answer> {
        let promise = driver.loop.makePromise(of: Answer.self)
        lastToken += 1
        let now = Clocks.monotonic()
        let taken = driver.call(
            type, body: body, to: target, repeatable: repeatable, deadline: now + span, token: lastToken, now: now)
        if taken { calls[lastToken] = promise } else { promise.fail(ClientError.notTaken) }
        driver.scheduleTurn()
        return promise.futureResult
    }

    func driver(_ driver: ClientDriver, ended output: ClientOutput) {
        for completion in output.completions {
            guard var submit = submits.removeValue(forKey: completion.token) else { continue }
            submit.completions.append(completion)
            submit.left -= 1
            if submit.left == 0 {
                submit.promise.succeed(submit.completions.sorted { $0.position < $1.position })
            } else {
                submits[completion.token] = submit
            }
        }
        for call in output.calls {
            calls.removeValue(forKey: call.token)?.succeed(Answer(value: call.result, troubles: driver.troubles))
        }
    }
}
