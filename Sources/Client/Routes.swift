import ClearingModel

/// What the client knows of one group: who leads it, and if nobody does, whom to ask next.
///
/// ```
///            reply, or hint of a leader                     connection lost, silent, refused
///   unknown ────────────────────────────▶ leader = node ─────────────────────────────────────▶ unknown
///      │ ▲
///      ▼ │ notLeader without a useful hint: pause, next replica
///   one probe in flight, everything else waits in the lanes
/// ```
struct Route {
    /// Nodes that hold replicas, as positions in the topology; for a fixed route the one node.
    var replicas: [Int]
    /// The one node of a `CallTarget.node`: no leader to look for.
    var isFixed = false
    /// Position of the leading node, or `Pending.none`.
    var leader: Int
    /// Which of `replicas` is asked next while the leader is unknown.
    var nextReplica = 0
    /// The request that is out to find the leader, or `Pending.none`.
    var probe = Pending.none
    /// Nothing is sent before: the shard asked for a pause, or the last probe failed.
    var holdUntil = MonotonicTime(0)
    /// When its leader was last doubted because one request had no reply.
    var doubtedAt = MonotonicTime(0)
    /// Failed probes and redirects in a row; sizes the pause.
    var failures = 0
    /// Requests in this route's lanes, over all identities.
    var waiting = 0
    /// Requests that were sent and have not ended.
    var inflight = 0

    static let unknown = -1

    init(replicas: [Int], isFixed: Bool = false) {
        precondition(!replicas.isEmpty, "a group has replicas")
        self.replicas = replicas
        self.isFixed = isFixed
        leader = replicas[0]
    }
}

/// One node, over all connections to it.
struct NodeSigns {
    /// When bytes last came from it.
    var lastHeard = MonotonicTime(0)
    /// It owes replies and is silent on every connection: frozen, or cut off.
    var isSuspect = false
}

/// One connection as the core sees it.
struct Connection {
    enum Phase: UInt8 {
        case idle
        /// The owner is opening it.
        case connecting
        /// Our hello is out, the node's is not here yet.
        case greeting
        case ready
        /// The node said goodbye: nothing new is sent, what is in flight may still be answered.
        case draining
    }

    var phase = Phase.idle
    var identity: Int
    var node: Int
    var inflight = 0
    var inflightBytes = 0
    /// When it last gave a sign of life, or began to owe one.
    var lastProgress = MonotonicTime(0)
    /// Owes replies and is silent.
    var isSuspect = false
    var failures = 0
    /// Not opened again before.
    var retryAt = MonotonicTime(0)
    var isDirty = false
    /// It has to be closed: what it sent cannot be read.
    var isBroken = false
}
