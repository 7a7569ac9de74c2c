import ClearingModel

/// How a link between two nodes treats frames; changed on purpose, in nodes started with `--allow-faults` only.
public enum LinkPolicy: Hashable, Sendable {
    case pass
    /// Every frame waits this long, in order.
    case delay(milliseconds: UInt32)
    /// Frames vanish; the connection stays.
    case drop
    /// The connection is closed at once, and again whenever it comes back.
    case reset
}

/// What an operator asks a node to do.
public enum Operation: Hashable, Sendable {
    /// The node, which must lead the shard, hands it to `to`, or to the fittest replica where that is `nil`.
    case transferLeadership(shard: ShardID, to: NodeID?)
    /// `with` takes the place of every older incarnation of its node in the shard: remove, add as learner, promote.
    case replaceReplica(shard: ShardID, with: ReplicaID)
    /// Frames from (`incoming`) and to (`outgoing`) the peer; all peers where that is `nil`. `nil` policy = unchanged.
    case setLink(peer: NodeID?, incoming: LinkPolicy?, outgoing: LinkPolicy?)
    /// Added to the node's wall clock from now on. Only with `--allow-faults`.
    case offsetClock(milliseconds: Int64)
}

/// An operator's order to one node.
public struct OperateRequest: ClientMessage, Hashable {
    public static let frameType = FrameType.operate

    public var operation: Operation
    public init(_ operation: Operation) { self.operation = operation }

    public func encodeBody(into writer: inout WireWriter) {
        switch operation {
        case .transferLeadership(let shard, let to):
            writer.u8(1)
            writer.id(shard)
            writer.optionalNode(to)
        case .replaceReplica(let shard, let replica):
            writer.u8(2)
            writer.id(shard)
            writer.replica(replica)
        case .setLink(let peer, let incoming, let outgoing):
            writer.u8(3)
            writer.optionalNode(peer)
            writer.linkPolicy(incoming)
            writer.linkPolicy(outgoing)
        case .offsetClock(let milliseconds):
            writer.u8(4)
            writer.u64(UInt64(bitPattern: milliseconds))
        }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> OperateRequest {
        var reader = WireReader(body)
        let tag = try reader.u8()
        let operation: Operation
        switch tag {
        case 1: operation = .transferLeadership(shard: try reader.id(), to: try reader.optionalNode())
        case 2: operation = .replaceReplica(shard: try reader.id(), with: try reader.replica())
        case 3:
            operation = .setLink(
                peer: try reader.optionalNode(), incoming: try reader.linkPolicy(),
                outgoing: try reader.linkPolicy())
        case 4: operation = .offsetClock(milliseconds: Int64(bitPattern: try reader.u64()))
        default: throw .invalid(field: "operation", value: UInt64(tag))
        }
        try reader.expectEnd()
        return OperateRequest(operation)
    }
}

/// What became of an operator's order.
public struct OperateReply: ClientMessage, Hashable {
    public static let frameType = FrameType.operateReply

    public enum Result: UInt8, Sendable, CaseIterable {
        case done = 0
        /// It runs on; `cluster` shows how far it is.
        case started = 1
        /// The node was not started with `--allow-faults`.
        case faultsNotAllowed = 2
        case unknownShard = 3
        case unknownNode = 4
        /// Another change of the same group is under way.
        case busy = 5
        /// The rules of Raft do not allow it now; the message says which.
        case notNow = 6
    }

    public var result: Result
    public var message: String

    public init(_ result: Result, message: String = "") {
        self.result = result
        self.message = message
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.u8(result.rawValue)
        writer.text(message)
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> OperateReply {
        var reader = WireReader(body)
        let reply = OperateReply(try reader.value("operate result"), message: try reader.text())
        try reader.expectEnd()
        return reply
    }
}

extension WireWriter {
    /// A tag (0 unchanged, 1 pass, 2 delay, 3 drop, 4 reset) and milliseconds.
    mutating func linkPolicy(_ policy: LinkPolicy?) {
        switch policy {
        case nil: u8(0)
        case .pass: u8(1)
        case .delay: u8(2)
        case .drop: u8(3)
        case .reset: u8(4)
        }
        if case .delay(let milliseconds) = policy { u32(milliseconds) } else { u32(0) }
    }
}

extension WireReader {
    mutating func linkPolicy() throws(WireError) -> LinkPolicy? {
        let tag = try u8()
        let milliseconds = try u32()
        guard milliseconds == 0 || tag == 2 else { throw .invalid(field: "link delay", value: UInt64(milliseconds)) }
        switch tag {
        case 0: return nil
        case 1: return .pass
        case 2: return .delay(milliseconds: milliseconds)
        case 3: return .drop
        case 4: return .reset
        default: throw .invalid(field: "link policy", value: UInt64(tag))
        }
    }
}
