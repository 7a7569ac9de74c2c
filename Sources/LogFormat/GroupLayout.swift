import ClearingModel
import Wire

/// Sizes, magics and small helpers of all layouts. docs/LOG.md is their text form.
enum Layout {
    static let alignment = Limits.groupAlignment
    /// No group is longer: a reader may hold a whole one in memory.
    static let maximumGroupBytes = 8 << 20
    /// Payloads in one group: with its header slab they fit in one vectored write.
    static let maximumGroupPayloads = 1_000
    static let maximumGroupRecords = 8_192
    static let version: UInt16 = 1

    static let groupMagic: UInt32 = 0x4752_5053  // "SPRG"
    static let segmentMagic: UInt64 = 0x4745_534E_4150_5553  // "SUPANSEG"
    static let tableMagic: UInt64 = 0x4C42_544E_4150_5553  // "SUPANTBL"
    static let identityMagic: UInt64 = 0x4644_494E_4150_5553  // "SUPANIDF"
    static let checkpointMagic: UInt64 = 0x504B_434E_4150_5553  // "SUPANCKP"

    static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

    static func load<T: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: UnsafeRawBufferPointer, _ offset: Int, _: T.Type
    ) -> T {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// CRC-32C of what was written from `start` on.
    static func checksum(of writer: WireWriter, from start: Int) -> UInt32 {
        writer.bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    }

    static func slice(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }
}

extension WireWriter {
    mutating func zeros(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }
    mutating func cluster(_ cluster: ClusterID) {
        u64(cluster.high)
        u64(cluster.low)
    }
}

extension ClusterID {
    init(_ bytes: UnsafeRawBufferPointer, _ offset: Int) {
        self.init(
            high: Layout.load(bytes, offset, UInt64.self), low: Layout.load(bytes, offset + 8, UInt64.self))
    }
}

/// A set of shards in 40 bytes.
struct ShardSet: Sendable {
    static let capacity = 320
    private var words: InlineArray<5, UInt64> = .init(repeating: 0)

    init() {}

    /// Every shard.
    static var all: ShardSet {
        var set = ShardSet()
        for i in 0..<5 { set.words[i] = .max }
        return set
    }

    init(_ bytes: UnsafeRawBufferPointer, _ offset: Int) {
        for i in 0..<5 { words[i] = Layout.load(bytes, offset + 8 * i, UInt64.self) }
    }

    func contains(_ shard: ShardID) -> Bool {
        words[Int(shard.rawValue) >> 6] >> UInt64(shard.rawValue & 63) & 1 == 1
    }

    mutating func insert(_ shard: ShardID) { words[Int(shard.rawValue) >> 6] |= 1 << UInt64(shard.rawValue & 63) }

    func encode(into writer: inout WireWriter) { for i in 0..<5 { writer.u64(words[i]) } }
}

/// The 192 bytes in front of every group.
struct GroupHeader {
    static let size = 192

    /// Set in the group's flags.
    static let closingFlag: UInt16 = 1
    static let segmentOpeningFlag: UInt16 = 2
    static let lifeOpeningFlag: UInt16 = 4

    var flags: UInt16
    var address: LogAddress
    /// Life of the log in the high 24 bits, a count within it in the low 40.
    var number: UInt64
    /// Everything below was durable when the group was closed.
    var synced: LogAddress
    /// Where the first group of this life stands: what older lives left at or above it was cut off.
    var lifeStart: LogAddress
    /// Bytes of the whole group, padding included.
    var length: Int
    var recordCount: Int
    /// Shards that the group has records of, and those that it has hard states of.
    var shards: ShardSet
    var hardShards: ShardSet

    var life: UInt64 { number >> 40 }
    var end: Int { address.offset + length }
    var isClosing: Bool { flags & Self.closingFlag != 0 }

    func encode(into writer: inout WireWriter, cluster: ClusterID, me: ReplicaID) {
        let start = writer.count
        writer.u32(Layout.groupMagic)
        writer.u16(Layout.version)
        writer.u16(flags)
        writer.cluster(cluster)
        writer.id(me.node)
        writer.id(me.incarnation)
        writer.id(address)
        writer.u64(number)
        writer.id(synced)
        writer.id(lifeStart)
        writer.u32(UInt32(length))
        writer.u32(UInt32(recordCount))
        shards.encode(into: &writer)
        hardShards.encode(into: &writer)
        writer.zeros(Self.size - 4 - (writer.count - start))
        writer.u32(Layout.checksum(of: writer, from: start))
    }
}

extension GroupHeader {
    /// Reads the header of a group that stands at `address`; `nil` for anything else: another place's, another node's, damage.
    init?(
        _ bytes: UnsafeRawBufferPointer, at address: LogAddress, segmentBytes: Int, cluster: ClusterID, me: ReplicaID
    ) {
        guard bytes.count >= Self.size, Layout.load(bytes, 0, UInt32.self) == Layout.groupMagic else { return nil }
        guard Layout.load(bytes, 188, UInt32.self) == crc32c(Layout.slice(bytes, 0, 188)),
            Layout.load(bytes, 4, UInt16.self) == Layout.version,
            ClusterID(bytes, 8) == cluster,
            Layout.load(bytes, 24, UInt32.self) == me.node.rawValue,
            Layout.load(bytes, 28, UInt32.self) == me.incarnation.rawValue,
            Layout.load(bytes, 32, UInt64.self) == address.rawValue
        else { return nil }
        flags = Layout.load(bytes, 6, UInt16.self)
        self.address = address
        number = Layout.load(bytes, 40, UInt64.self)
        synced = LogAddress(Layout.load(bytes, 48, UInt64.self))
        lifeStart = LogAddress(Layout.load(bytes, 56, UInt64.self))
        length = Int(Layout.load(bytes, 64, UInt32.self))
        recordCount = Int(Layout.load(bytes, 68, UInt32.self))
        shards = ShardSet(bytes, 72)
        hardShards = ShardSet(bytes, 112)
        guard length % Layout.alignment == 0, length > 0, length <= Layout.maximumGroupBytes,
            address.offset + length <= segmentBytes, Self.size + recordCount * RecordHeader.size <= length
        else { return nil }
    }
}

/// The first block of a segment file.
struct SegmentHeader {
    static let bytes = 4_096

    var cluster: ClusterID
    var me: ReplicaID
    var number: UInt64
    var size: Int

    func encoded() -> Slab {
        var writer = WireWriter(reserving: Self.bytes)
        writer.u64(Layout.segmentMagic)
        writer.u32(NodeLog.formatVersion)
        writer.u32(UInt32(Layout.alignment))
        writer.cluster(cluster)
        writer.id(me.node)
        writer.id(me.incarnation)
        writer.u64(number)
        writer.u64(UInt64(size))
        writer.u32(0)
        writer.u32(Layout.checksum(of: writer, from: 0))
        writer.zeros(Self.bytes - writer.count)
        return Slab(writer.bytes)
    }

    /// Reads a header; `nil` where it is damaged.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 64, Layout.load(bytes, 0, UInt64.self) == Layout.segmentMagic,
            Layout.load(bytes, 60, UInt32.self) == crc32c(Layout.slice(bytes, 0, 60))
        else { return nil }
        version = Layout.load(bytes, 8, UInt32.self)
        cluster = ClusterID(bytes, 16)
        me = ReplicaID(
            node: NodeID(Layout.load(bytes, 32, UInt32.self)),
            incarnation: Incarnation(Layout.load(bytes, 36, UInt32.self)))
        number = Layout.load(bytes, 40, UInt64.self)
        size = Int(truncatingIfNeeded: Layout.load(bytes, 48, UInt64.self))
    }

    init(cluster: ClusterID, me: ReplicaID, number: UInt64, size: Int) {
        self.cluster = cluster
        self.me = me
        self.number = number
        self.size = size
    }

    var version = NodeLog.formatVersion
}

/// Whose directory it is and how often it was opened; the file holds it twice, in blocks of 4 KiB.
struct IdentityFile {
    static let bytes = 8_192

    var cluster: ClusterID
    var me: ReplicaID
    var life: UInt64
    var version = NodeLog.formatVersion

    init(cluster: ClusterID, me: ReplicaID, life: UInt64) {
        self.cluster = cluster
        self.me = me
        self.life = life
    }

    func encoded() -> Slab {
        var block = WireWriter(reserving: 4_096)
        block.u64(Layout.identityMagic)
        block.u32(NodeLog.formatVersion)
        block.u32(0)
        block.cluster(cluster)
        block.id(me.node)
        block.id(me.incarnation)
        block.u64(life)
        block.zeros(12)
        block.u32(Layout.checksum(of: block, from: 0))
        block.zeros(4_096 - block.count)
        return Slab(block.bytes + block.bytes)
    }

    /// Reads the first copy that is whole.
    init?(_ bytes: UnsafeRawBufferPointer) {
        for start in [0, 4_096] where bytes.count >= start + 64 {
            let copy = Layout.slice(bytes, start, 64)
            guard Layout.load(copy, 0, UInt64.self) == Layout.identityMagic,
                Layout.load(copy, 60, UInt32.self) == crc32c(Layout.slice(copy, 0, 60))
            else { continue }
            version = Layout.load(copy, 8, UInt32.self)
            cluster = ClusterID(copy, 16)
            me = ReplicaID(
                node: NodeID(Layout.load(copy, 32, UInt32.self)),
                incarnation: Incarnation(Layout.load(copy, 36, UInt32.self)))
            life = Layout.load(copy, 40, UInt64.self)
            return
        }
        return nil
    }
}
