import ClearingModel

/// A message of the client protocol that is small or rare: encoded and decoded whole.
///
/// Payments do not pass through it: `Submit` and `SubmitReply` write and read their records in place.
public protocol ClientMessage: Sendable {
    static var frameType: FrameType { get }
    /// Appends the frame's body, without its header.
    func encodeBody(into writer: inout WireWriter)
    /// Reads a body; every length, count and enum is checked, and nothing may follow the last field.
    static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Self
}

extension ClientMessage {
    /// Appends the whole frame.
    public func encode(request: UInt64, into writer: inout WireWriter) {
        writer.frame(Self.frameType, request: request) { encodeBody(into: &$0) }
    }

    /// Appends the whole frame to what waits for a connection.
    public func encode(request: UInt64, into queue: inout OutputQueue) {
        queue.write { encode(request: request, into: &$0) }
    }
}

extension WireReader {
    /// A value of an enum; a raw value without a case is an error that names `field`.
    @inlinable
    public mutating func value<E: RawRepresentable>(
        _ field: StaticString, _: E.Type = E.self
    ) throws(WireError) -> E where E.RawValue == UInt8 {
        let raw = try u8()
        guard let value = E(rawValue: raw) else { throw .invalid(field: field, value: UInt64(raw)) }
        return value
    }

    /// 0 or 1; anything else is an error that names `field`.
    public mutating func flag(_ field: StaticString) throws(WireError) -> Bool {
        let raw = try u8()
        guard raw <= 1 else { throw .invalid(field: field, value: UInt64(raw)) }
        return raw == 1
    }

    /// Reserved bytes that must be zero.
    public mutating func zeros(_ count: Int, _ field: StaticString) throws(WireError) {
        for byte in try raw(count) where byte != 0 { throw .invalid(field: field, value: UInt64(byte)) }
    }

    /// A 128-bit two's complement sum of money, low half first.
    public mutating func sum() throws(WireError) -> Int128 {
        let low = try u64()
        return Int128(truncatingIfNeeded: UInt128(try u64()) << 64 | UInt128(low))
    }

    /// A node, or nobody where it is 0.
    public mutating func optionalNode() throws(WireError) -> NodeID? {
        let node: NodeID = try id()
        return node.rawValue == 0 ? nil : node
    }
}

extension WireWriter {
    public mutating func flag(_ value: Bool) { u8(value ? 1 : 0) }

    /// A 128-bit two's complement sum of money, low half first.
    public mutating func sum(_ value: Int128) {
        u64(UInt64(truncatingIfNeeded: value))
        u64(UInt64(truncatingIfNeeded: value >> 64))
    }

    public mutating func optionalNode(_ node: NodeID?) { u32(node?.rawValue ?? 0) }
}

/// The first frame of either side of a connection. Nothing else is read before it.
public struct Hello: ClientMessage, Hashable {
    public static let frameType = FrameType.hello

    /// What the sender is. The certificate decides what it may do; this only says which messages will come.
    public enum Side: UInt8, Sendable, CaseIterable {
        /// A participant, operator or regulator.
        case client = 0
        case peer = 1
        /// A node that answers a client.
        case node = 2
    }

    /// Protocol versions that the sender speaks; both sides use the highest that both speak.
    public var minimumVersion: UInt16
    public var maximumVersion: UInt16
    public var cluster: ClusterID
    public var side: Side
    /// The sending node's replica identity; `nil` from a client.
    public var replica: ReplicaID?
    /// Free text for logs: program and version.
    public var name: String

    public init(
        minimumVersion: UInt16 = UInt16(FrameHeader.version), maximumVersion: UInt16 = UInt16(FrameHeader.version),
        cluster: ClusterID, side: Side, replica: ReplicaID? = nil, name: String
    ) {
        self.minimumVersion = minimumVersion
        self.maximumVersion = maximumVersion
        self.cluster = cluster
        self.side = side
        self.replica = replica
        self.name = name
    }

    /// Whether the sender speaks the version of this build.
    public var speaksOurVersion: Bool {
        minimumVersion <= UInt16(FrameHeader.version) && UInt16(FrameHeader.version) <= maximumVersion
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.u16(minimumVersion)
        writer.u16(maximumVersion)
        writer.u64(cluster.high)
        writer.u64(cluster.low)
        writer.u8(side.rawValue)
        writer.optionalNode(replica?.node)
        writer.u32(replica?.incarnation.rawValue ?? 0)
        writer.text(name)
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> Hello {
        var reader = WireReader(body)
        let minimum = try reader.u16()
        let maximum = try reader.u16()
        guard minimum <= maximum else { throw .invalid(field: "hello versions", value: UInt64(minimum)) }
        let cluster = ClusterID(high: try reader.u64(), low: try reader.u64())
        let side: Side = try reader.value("hello side")
        let node = try reader.optionalNode()
        let incarnation: Incarnation = try reader.id()
        let replica: ReplicaID?
        switch (side, node, incarnation.rawValue) {
        case (.client, nil, 0): replica = nil
        case (.client, _, _): throw .invalid(field: "hello node of a client", value: UInt64(node?.rawValue ?? 0))
        case (_, let node?, 1...): replica = ReplicaID(node: node, incarnation: incarnation)
        default: throw .invalid(field: "hello incarnation", value: UInt64(incarnation.rawValue))
        }
        let name = try reader.text()
        try reader.expectEnd()
        return Hello(
            minimumVersion: minimum, maximumVersion: maximum, cluster: cluster, side: side, replica: replica,
            name: name)
    }
}
