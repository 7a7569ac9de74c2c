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

    /// One round of a multiply-xorshift (the finalizer of SplitMix64).
    private mutating func mix(_ value: UInt64) {
        var z = hash ^ value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        hash = z ^ (z >> 31)
    }

    /// The latest events, oldest first.
    var latest: [String] { (ring[next...] + ring[..<next]).map(\.line) }
}

extension Trace.Entry {
    var line: String {
        let seconds = String(time / 1_000_000) + "." + String(time % 1_000_000 + 1_000_000).dropFirst()
        return "\(seconds) node \(node + 1) \(kind) \(text ?? (value == 0 ? "" : String(value, radix: 16)))"
    }
}
