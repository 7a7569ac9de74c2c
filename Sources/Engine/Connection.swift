import ClearingModel
import Wire

/// What the engine keeps about one connection.
final class Connection {
    enum Kind {
        /// TLS stands; nobody has said hello yet.
        case greeting
        case client
        case peer(ReplicaID)
    }

    let id: ConnectionID
    let authority: Authority
    /// The peer that this node dialled; `nil` for an accepted connection.
    let dialled: NodeID?
    var kind = Kind.greeting
    var decoder = FrameDecoder()
    var output = OutputQueue()
    /// Whether the connection already stands in `EngineEffects.dirty`.
    var isDirty = false
    var isClosing = false
    /// The other side announced the end: its loss says nothing about its health.
    var saidGoodbye = false
    /// Requests and request bytes that wait for an outcome.
    var pendingRequests = 0
    var pendingBytes = 0
    let openedAt: MonotonicTime

    init(id: ConnectionID, authority: Authority, dialled: NodeID?, openedAt: MonotonicTime) {
        self.id = id
        self.authority = authority
        self.dialled = dialled
        self.openedAt = openedAt
    }
}

/// Where to send the answer of a request.
struct ReplyAddress {
    var connection: ConnectionID
    var request: UInt64
}
