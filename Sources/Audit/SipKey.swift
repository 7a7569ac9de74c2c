import ClearingModel

/// SipHash-1-3 (Aumasson and Bernstein, 2012), as docs/ENTRIES.md names it for credit batches and fingerprints.
///
/// Written apart from the ledger's: two that agree are more likely to be right.
struct SipKey {
    let k0: UInt64
    let k1: UInt64

    init(batchesOf cluster: ClusterID) {
        k0 = cluster.high
        k1 = cluster.low
    }

    init(k0: UInt64, k1: UInt64) {
        self.k0 = k0
        self.k1 = k1
    }

    func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var v = (
            k0 ^ 0x736f_6d65_7073_6575, k1 ^ 0x646f_7261_6e64_6f6d, k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573
        )
        @inline(__always)
        func round() {
            v.0 &+= v.1
            v.2 &+= v.3
            v.1 = v.1.rotated(13) ^ v.0
            v.3 = v.3.rotated(16) ^ v.2
            v.0 = v.0.rotated(32)
            v.2 &+= v.1
            v.0 &+= v.3
            v.1 = v.1.rotated(17) ^ v.2
            v.3 = v.3.rotated(21) ^ v.0
            v.2 = v.2.rotated(32)
        }
        let words = bytes.count / 8
        for word in 0..<words {
            let m: UInt64 = bytes.little(word &* 8)
            v.3 ^= m
            round()
            v.0 ^= m
        }
        var last = UInt64(bytes.count & 0xff) << 56
        for (place, at) in (words * 8..<bytes.count).enumerated() { last |= UInt64(bytes[at]) << UInt64(place * 8) }
        v.3 ^= last
        round()
        v.0 ^= last
        v.2 ^= 0xff
        round()
        round()
        round()
        return v.0 ^ v.1 ^ v.2 ^ v.3
    }
}

extension UInt64 {
    @inline(__always)
    fileprivate func rotated(_ by: UInt64) -> UInt64 { self << by | self >> (64 &- by) }
}
