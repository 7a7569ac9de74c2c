import ClearingModel

// The fixed structures of a node's data directory, decoded from docs/LOG.md alone.

/// A place in a node's log: segment number × 2³² + offset.
struct LogPlace: Comparable, CustomStringConvertible {
    var raw: UInt64
    init(_ raw: UInt64) { self.raw = raw }
    init(segment: UInt64, offset: Int) { raw = segment << 32 | UInt64(offset) }
    var segment: UInt64 { raw >> 32 }
    var offset: Int { Int(raw & 0xFFFF_FFFF) }
    static func < (a: LogPlace, b: LogPlace) -> Bool { a.raw < b.raw }
    var description: String { "segment \(segment), offset \(offset)" }
}

/// Whose directory it is.
struct Identity {
    static let block = 4_096
    var cluster: ClusterID
    var replica: ReplicaID

    /// The first of the two blocks that is whole.
    init?(_ bytes: UnsafeRawBufferPointer) {
        for start in [0, Self.block] where bytes.count >= start + 64 {
            let block = bytes.slice(start, 64)
            guard block.little(0, UInt64.self) == 0x4644_494E_4150_5553, block.little(8, UInt32.self) == 1,
                block.little(60, UInt32.self) == block.slice(0, 60).crc()
            else { continue }
            cluster = block.cluster(16)
            replica = block.replica(32)
            return
        }
        return nil
    }
}

/// The first block of a segment.
struct SegmentHeader {
    static let size = 4_096
    var cluster: ClusterID
    var replica: ReplicaID
    var number: UInt64

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 64, bytes.little(0, UInt64.self) == 0x4745_534E_4150_5553,
            bytes.little(8, UInt32.self) == 1, bytes.little(12, UInt32.self) == 4_096,
            bytes.little(60, UInt32.self) == bytes.slice(0, 60).crc()
        else { return nil }
        cluster = bytes.cluster(16)
        replica = bytes.replica(32)
        number = bytes.little(40)
    }
}

/// The last 64 bytes of a sealed segment.
struct SegmentFooter {
    static let size = 64
    var records: Int
    var lastGroup: UInt64
    var end: Int
    var isIncomplete: Bool
    var tableCRC: UInt32

    init?(_ bytes: UnsafeRawBufferPointer, cluster: ClusterID, number: UInt64) {
        guard bytes.count == Self.size, bytes.little(0, UInt64.self) == 0x4C42_544E_4150_5553,
            bytes.little(8, UInt32.self) == 1, bytes.cluster(16) == cluster, bytes.little(32, UInt64.self) == number,
            bytes.little(60, UInt32.self) == bytes.slice(0, 60).crc()
        else { return nil }
        records = Int(bytes.little(12, UInt32.self))
        lastGroup = bytes.little(40)
        end = Int(bytes.little(48, UInt32.self))
        isIncomplete = bytes.little(52, UInt32.self) & 1 != 0
        tableCRC = bytes.little(56)
    }
}

/// The 192 bytes in front of every group.
struct GroupHeader {
    static let size = 192
    static let alignment = 4_096
    static let maximumBytes = 8 << 20
    static let maximumRecords = 8_192

    var place: LogPlace
    var number: UInt64
    var synced: LogPlace
    var lifeStart: LogPlace
    var length: Int
    var records: Int

    var life: UInt64 { number >> 40 }

    /// `nil` unless everything that the format asks of a valid header at this place holds.
    init?(_ bytes: UnsafeRawBufferPointer, at place: LogPlace, cluster: ClusterID, replica: ReplicaID, fileSize: Int) {
        guard bytes.count >= Self.size, bytes.little(0, UInt32.self) == 0x4752_5053, bytes.little(4, UInt16.self) == 1,
            bytes.little(32, UInt64.self) == place.raw, bytes.cluster(8) == cluster, bytes.replica(24) == replica,
            bytes.little(188, UInt32.self) == bytes.slice(0, 188).crc()
        else { return nil }
        self.place = place
        number = bytes.little(40)
        synced = LogPlace(bytes.little(48))
        lifeStart = LogPlace(bytes.little(56))
        length = Int(bytes.little(64, UInt32.self))
        records = Int(bytes.little(68, UInt32.self))
        guard length > 0, length % Self.alignment == 0, length <= Self.maximumBytes,
            place.offset + length <= fileSize, records <= Self.maximumRecords,
            Self.size + records * LogRecord.size <= length
        else { return nil }
    }
}

/// One record of the log, without its payload.
struct LogRecord {
    static let size = 64

    enum Kind: UInt8 {
        case entry = 1
        case truncation, hardState, logStart, repair
    }

    /// What an entry is: its detail byte.
    static let noop: UInt8 = 0
    static let data: UInt8 = 1
    static let membership: UInt8 = 2

    var kind: Kind
    var detail: UInt8
    var shard: UInt16
    var length: Int
    var offset: Int
    var crc: UInt32
    var term: UInt64
    var index: UInt64
    var group: UInt64
    var extra: UInt64
    var previousTerm: UInt64
    /// Its payload was read and has the right checksum.
    var isGood = false

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.size, let kind = Kind(rawValue: bytes[0]),
            bytes.little(60, UInt32.self) == bytes.slice(0, 60).crc()
        else { return nil }
        self.kind = kind
        detail = bytes[1]
        shard = bytes.little(2)
        length = Int(bytes.little(4, UInt32.self))
        offset = Int(bytes.little(8, UInt32.self))
        crc = bytes.little(12)
        term = bytes.little(16)
        index = bytes.little(24)
        group = bytes.little(32)
        extra = bytes.little(40)
        previousTerm = bytes.little(48)
        guard Int(shard) < 320 else { return nil }
    }

    var isEntry: Bool { kind == .entry || kind == .repair }
}

/// Who votes in a group.
struct Voters: Equatable {
    var voters: [ReplicaID]
    var learners: [ReplicaID]

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 4 else { return nil }
        let voterCount = Int(bytes.little(0, UInt16.self))
        let learnerCount = Int(bytes.little(2, UInt16.self))
        guard bytes.count == 4 + 8 * (voterCount + learnerCount) else { return nil }
        voters = (0..<voterCount).map { bytes.replica(4 + 8 * $0) }
        learners = (voterCount..<voterCount + learnerCount).map { bytes.replica(4 + 8 * $0) }
    }

    var majority: Int { voters.count / 2 + 1 }
}
