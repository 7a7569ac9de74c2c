import ClearingModel
import Wire

/// Bounds and times of one client. The defaults suit a participant's gateway as well as a load generator.
public struct ClientConfiguration: Sendable {
    public typealias Span = MonotonicTime.Span

    /// What the hello says of this program.
    public var name = "suanpan"
    /// Requests that may be pending at once; a further one is not taken.
    public var maximumPending = 262_144
    /// Connections of each identity, dealt to the nodes in turn; `nil` = one to each node. Never fewer than nodes: whoever
    /// leads must be reachable.
    public var connections: Int?
    /// Keeps a connection to every node, so that a change of leader costs no handshake. Otherwise connects where needed.
    public var keepAllConnected = true
    /// Undecided requests and their bytes on one connection; below what makes a node stop reading it.
    public var maximumInflightRequests = Limits.connectionWindowRequests / 2
    public var maximumInflightBytes = Limits.connectionWindowBytes * 3 / 4
    /// Undecided requests of one shard; further ones wait.
    public var maximumInflightOfShard = Int.max
    /// A connection that owes replies and is silent for this long is suspected: other replicas are asked who leads.
    public var silence = Span.milliseconds(300)
    /// A connection that is silent for this long is closed and opened again.
    public var giveUpSilent = Span.seconds(2)
    /// A request without reply is sent again after this, if its shard has another leader by then.
    public var resendAfter = Span.seconds(1)
    /// And after this in any case.
    public var resendAlways = Span.seconds(8)
    /// First and longest pause between two tries to find a leader: one small request each.
    public var backoffMinimum = Span.milliseconds(10)
    public var backoffMaximum = Span.milliseconds(50)
    /// Longest pause between two tries to connect.
    public var reconnectMaximum = Span.milliseconds(500)
    /// Seed of the jitter on pauses.
    public var seed: UInt64 = 1

    public init() {}
}

/// One connection of a `ClientCore`: an identity, a node, and one of the connections between them.
public struct ConnectionID: Identifier {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// How a record ended.
public enum RecordResult: Hashable, Sendable {
    /// The log decided it, now or at an earlier try (`answer` is `duplicate` then; outcome and place are the original's).
    case decided(Decision)
    /// The id was decided before with another body.
    case conflict(Decision)
    /// Nothing was decided, and nothing that was sent can still be: never sent, or refused before any log.
    case refused(RefusalCode)
    /// The deadline passed without an answer. It may have been accepted, now or later: ask again with this id. While its
    /// day may still open, `dayNotOpen` is the answer of that one question only.
    case unknown
    /// The id's day is older than the records that are kept: what was decided then, if anything, is not known here any
    /// more, and asking again does not change that.
    case expired
}

/// The end of one record; each record that `submit` took ends exactly once.
public struct Completion: Hashable, Sendable {
    /// What the caller gave with the submit.
    public var token: UInt64
    /// The record's place in that submit.
    public var position: UInt32
    public var id: TransactionID
    public var result: RecordResult
}

/// Where a call goes.
public enum CallTarget: Hashable, Sendable {
    /// Whoever leads the group.
    case leader(ShardID)
    case node(NodeID)
}

/// How a call ended.
public enum CallResult: Sendable {
    /// The reply's type and body.
    case reply(FrameType, [UInt8])
    case refused(Refusal)
    /// The deadline passed, or the connection was lost with a call that must not be repeated.
    case unknown
}

/// The end of one call.
public struct CallCompletion: Sendable {
    public var token: UInt64
    public var result: CallResult
}

/// What the owner of a `ClientCore` shall do.
public enum ClientAction: Sendable {
    /// Open this connection (TLS included), then `connectionUp`; or `connectionDown` if that fails.
    case connect(ConnectionID)
    /// Close it. The core has already forgotten it: no `connectionDown` is needed.
    case close(ConnectionID)
    /// The node refused the connection as a whole, for people to read: wrong cluster, version, certificate.
    case connectionRefused(ConnectionID, Refusal)
}

/// Effects of `ClientCore`, collected for its owner, who empties it after acting on it. Reused: no allocation per payment.
public struct ClientOutput: Sendable {
    public var actions: [ClientAction] = []
    public var completions: [Completion] = []
    public var calls: [CallCompletion] = []

    public init() {}
    public var isEmpty: Bool { actions.isEmpty && completions.isEmpty && calls.isEmpty }

    public mutating func removeAll() {
        actions.removeAll(keepingCapacity: true)
        completions.removeAll(keepingCapacity: true)
        calls.removeAll(keepingCapacity: true)
    }
}
