import ClearingModel

/// What a frame carries. Raw values are the protocol and never change.
public enum FrameType: UInt8, Sendable, CaseIterable {
    // Both kinds of connection
    /// First frame of either side: protocol version, cluster, and for a peer its replica identity.
    case hello = 1
    /// The sender closes on purpose.
    case goodbye = 2
    // Participants, operators and regulators
    case submit = 16
    case submitReply = 17
    case query = 18
    case queryReply = 19
    case refusal = 20
    case position = 21
    case positionReply = 22
    case cluster = 23
    case clusterReply = 24
    case directoryChange = 25
    case directoryChangeReply = 26
    case directoryList = 27
    case directoryListReply = 28
    case operate = 29
    case operateReply = 30
    // Peers
    case raft = 64
    case creditBatch = 65
    case creditConfirmation = 66
    case notice = 67
    case directoryPull = 68
    case directoryUpdate = 69
    case stateHash = 70
    case snapshotChunk = 71
    case snapshotReply = 72
    case recordRequest = 73
    case recordReply = 74
    case repairRequest = 75
    case repairReply = 76
}

/// The 16 bytes in front of every frame: length of the whole frame (32), type (8), protocol version (8), reserved
/// zero (16), request id (64). A reply repeats the request id of what it answers.
public struct FrameHeader: Hashable, Sendable {
    public static let size = 16
    public static let version: UInt8 = 1

    public var length: Int
    public var type: FrameType
    public var request: UInt64

    public init(length: Int, type: FrameType, request: UInt64) {
        self.length = length
        self.type = type
        self.request = request
    }
}

/// Why a stream of bytes cannot be read on: the connection is closed after a `refusal` that says this.
public enum FrameError: Error, Hashable, Sendable, CustomStringConvertible {
    case tooLong(Int)
    case tooShort(Int)
    case unknownType(UInt8)
    case unsupportedVersion(UInt8)
    case reservedNotZero(UInt16)

    public var description: String {
        switch self {
        case .tooLong(let length): "frame of \(length) bytes; the limit is \(Limits.maximumFrameBytes)"
        case .tooShort(let length): "frame of \(length) bytes; a header alone has \(FrameHeader.size)"
        case .unknownType(let type): "unknown frame type \(type)"
        case .unsupportedVersion(let version): "protocol version \(version); this side speaks \(FrameHeader.version)"
        case .reservedNotZero(let value): "reserved header bytes hold \(value)"
        }
    }

    public var refusal: RefusalCode {
        switch self {
        case .tooLong: .frameTooLarge
        case .unsupportedVersion: .unsupportedVersion
        default: .malformed
        }
    }
}

extension FrameHeader {
    /// Reads a header from at least 16 bytes, checking every field.
    @inlinable
    public static func parse(_ bytes: UnsafeRawBufferPointer) -> Result<FrameHeader, FrameError> {
        precondition(bytes.count >= size)
        let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        let type = bytes[4]
        let version = bytes[5]
        let reserved = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self))
        let request = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        guard version == Self.version else { return .failure(.unsupportedVersion(version)) }
        guard length >= size else { return .failure(.tooShort(length)) }
        guard length <= Limits.maximumFrameBytes else { return .failure(.tooLong(length)) }
        guard reserved == 0 else { return .failure(.reservedNotZero(reserved)) }
        guard let type = FrameType(rawValue: type) else { return .failure(.unknownType(type)) }
        return .success(FrameHeader(length: length, type: type, request: request))
    }
}

extension WireWriter {
    /// Writes a whole frame: header, then what `body` appends; the length is filled in after.
    @inlinable
    public mutating func frame(_ type: FrameType, request: UInt64, _ body: (inout WireWriter) -> Void) {
        let start = count
        frameHeader(length: 0, type: type, request: request)
        body(&self)
        patch(u32: UInt32(count - start), at: start)
    }

    /// Writes a header alone, for a frame whose tail (a slab) is sent behind it without copying.
    @inlinable
    public mutating func frameHeader(length: Int, type: FrameType, request: UInt64) {
        u32(UInt32(length))
        u8(type.rawValue)
        u8(FrameHeader.version)
        u16(0)
        u64(request)
    }
}
