import ClearingModel
import Wire

/// SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"; one compression, three finalisation rounds).
///
/// The one hash of the ledger: fingerprints of ids, hashes of credit batches and of state. All words little endian.
public struct SipHash: Hashable, Sendable {
    public let key0: UInt64
    public let key1: UInt64

    public init(key0: UInt64, key1: UInt64) {
        self.key0 = key0
        self.key1 = key1
    }

    /// For states and batches: the cluster's id is the key.
    public init(cluster: ClusterID) { self.init(key0: cluster.high, key1: cluster.low) }

    /// For fingerprints of ids: another key, so that the two uses share no values.
    public init(indexOf cluster: ClusterID) {
        self.init(key0: cluster.high ^ 0x7866_7072_696E_7431, key1: cluster.low ^ 0x7866_7072_696E_7432)
    }

    @usableFromInline
    struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        @inline(__always)
        init(_ key0: UInt64, _ key1: UInt64) {
            v0 = key0 ^ 0x736F_6D65_7073_6575
            v1 = key1 ^ 0x646F_7261_6E64_6F6D
            v2 = key0 ^ 0x6C79_6765_6E65_7261
            v3 = key1 ^ 0x7465_6462_7974_6573
        }

        @inline(__always)
        mutating func round() {
            v0 = v0 &+ v1
            v1 = (v1 << 13 | v1 >> 51) ^ v0
            v0 = v0 << 32 | v0 >> 32
            v2 = v2 &+ v3
            v3 = (v3 << 16 | v3 >> 48) ^ v2
            v0 = v0 &+ v3
            v3 = (v3 << 21 | v3 >> 43) ^ v0
            v2 = v2 &+ v1
            v1 = (v1 << 17 | v1 >> 47) ^ v2
            v2 = v2 << 32 | v2 >> 32
        }

        @inline(__always)
        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            v0 ^= word
        }

        @inline(__always)
        mutating func finish() -> UInt64 {
            v2 ^= 0xFF
            round()
            round()
            round()
            return v0 ^ v1 ^ v2 ^ v3
        }
    }

    /// Hash of two words, that is of their 16 little-endian bytes.
    @inline(__always)
    func hash(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var state = State(key0, key1)
        state.absorb(a)
        state.absorb(b)
        state.absorb(16 << 56)
        return state.finish()
    }

    /// Hash of bytes.
    public func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state = State(key0, key1)
        let whole = bytes.count & ~7
        var offset = 0
        while offset < whole {
            state.absorb(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        var shift: UInt64 = 0
        while offset < bytes.count {
            last |= UInt64(bytes[offset]) << shift
            shift += 8
            offset += 1
        }
        state.absorb(last)
        return state.finish()
    }

    /// Hash of a slab's bytes, which stay alive meanwhile.
    public func hash(_ slab: Slab) -> UInt64 { withExtendedLifetime(slab) { hash(slab.bytes) } }
}
