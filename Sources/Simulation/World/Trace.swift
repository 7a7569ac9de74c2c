import LogFormat
import Wire

/// Kinds of what a run's hash and its last events are made of.
enum TraceKind: UInt8, Sendable {
    case turn, tick, diskWrite, diskSync, diskOther, received, opened, closed, sent, clientReceived, decided, refused
    case unknown, submitted, started, stopped, powerLost, fault, healed, failure, notice, phase
}

/// A running hash of everything that went in and came out, in order, and the latest of it for people.
struct Trace {
    struct Entry {
        var time: UInt64
        var kind: TraceKind
        var node: Int
        var value: UInt64
        var text: String?
    }

    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private var ring: [Entry] = []
    private var next = 0
    private static let kept = 50
    /// Called with every entry that has a text; for `--verbose`.
    var watch: ((Entry) -> Void)?

    mutating func add(_ kind: TraceKind, at time: UInt64, node: Int, _ value: UInt64 = 0, _ text: String? = nil) {
        mix(time)
        mix(UInt64(kind.rawValue) << 56 | UInt64(UInt32(truncatingIfNeeded: node)))
        mix(value)
        let entry = Entry(time: time, kind: kind, node: node, value: value, text: text)
        if let text {
            text.utf8.withContiguousStorageIfAvailable { mix(UInt64(crc32c(UnsafeRawBufferPointer($0)))) }
            watch?(entry)
        }
        // Ticks say nothing to a reader.
        if kind == .tick || kind == .turn { return }
        if ring.count < Self.kept {
            ring.append(entry)
        } else {
            ring[next] = entry
            next = (next + 1) % Self.kept
        }
    }

    /// Adds to the hash alone: one round of a multiply-xorshift (the finalizer of SplitMix64).
    mutating func mix(_ value: UInt64) {
        var z = hash ^ value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        hash = z ^ (z >> 31)
    }

    mutating func mix(_ slabs: [Slab]) {
        for slab in slabs { mix(UInt64(slab.checksum)) }
    }

    mutating func mix(_ parts: [OutputQueue.Part]) {
        for part in parts { mix(part.checksum) }
    }

    private mutating func mix(_ name: FileName) {
        switch name {
        case .identity: mix(1)
        case .identityTemporary: mix(2)
        case .spareSegment: mix(3)
        case .segment(let number): mix(4, number)
        case .checkpointTemporary(let shard): mix(5, UInt64(shard.rawValue))
        case .checkpoint(let shard, let index): mix(6 << 16 | UInt64(shard.rawValue), index.rawValue)
        case .snapshotIncoming(let shard, let index): mix(7 << 16 | UInt64(shard.rawValue), index.rawValue)
        }
    }

    private mutating func mix(_ a: UInt64, _ b: UInt64) {
        mix(a)
        mix(b)
    }

    /// What a node wants of its disk.
    mutating func mix(_ operation: DiskOperation) {
        mix(operation.id)
        func file(_ kind: UInt64, _ name: FileName) {
            mix(kind)
            mix(name)
        }
        switch operation.kind {
        case .list: mix(1)
        case .open(let name, let create): file(create ? 2 : 3, name)
        case .preallocate(let name, let bytes):
            file(4, name)
            mix(bytes)
        case .fill(let name, let offset, let count):
            file(5, name)
            mix(offset, UInt64(count))
        case .write(let name, let offset, let slabs):
            file(6, name)
            mix(offset)
            mix(slabs)
        case .sync(let name): file(7, name)
        case .read(let name, let offset, let count):
            file(8, name)
            mix(offset, UInt64(count))
        case .size(let name): file(9, name)
        case .remove(let name): file(10, name)
        case .rename(let from, let to):
            file(11, from)
            mix(to)
        case .syncDirectory: mix(12)
        case .freeSpace: mix(13)
        case .close(let name): file(14, name)
        }
    }

    /// What a node's disk made of an operation.
    mutating func mix(_ id: UInt64, _ result: DiskCompletion.Result) {
        mix(id)
        switch result {
        case .done: mix(1)
        case .number(let number): mix(2, number)
        case .bytes(let slab): mix(3, UInt64(slab.checksum))
        case .names(let entries):
            mix(4)
            for entry in entries {
                mix(entry.name)
                mix(entry.size)
            }
        case .failed(let error): mix(5, UInt64(bitPattern: Int64(error.code)))
        }
    }

    /// The latest events, oldest first.
    var latest: [String] { (ring[next...] + ring[..<next]).map(\.line) }
}

extension OutputQueue.Part {
    var checksum: UInt64 {
        switch self {
        case .slab(let slab): UInt64(slab.checksum)
        case .bytes(let bytes): bytes.withUnsafeBytes { UInt64(crc32c($0)) }
        }
    }
}

extension Trace.Entry {
    var line: String {
        let seconds = String(time / 1_000_000) + "." + String(time % 1_000_000 + 1_000_000).dropFirst()
        return "\(seconds) node \(node + 1) \(kind) \(text ?? (value == 0 ? "" : String(value, radix: 16)))"
    }
}
