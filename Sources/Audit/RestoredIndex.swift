import ClearingModel

/// What a checkpoint's index says of ids decided before the replay begins: fingerprint → index word, open addressing.
struct RestoredIndex {
    private var cells: [(fingerprint: UInt64, word: UInt64)] = []
    private(set) var count = 0
    private let key: SipKey

    init(cluster: ClusterID) { key = Self.key(cluster) }

    /// Of fingerprints.
    static func key(_ cluster: ClusterID) -> SipKey {
        SipKey(k0: cluster.high ^ 0x7866_7072_696E_7431, k1: cluster.low ^ 0x7866_7072_696E_7432)
    }

    /// Ordinal and outcome of the record that decided an id before.
    func find(_ id: IDWords) -> (ordinal: UInt64, outcome: UInt8)? {
        guard count > 0 else { return nil }
        let fingerprint = withUnsafeBytes(of: id) { key.hash($0) }
        let cell = cells[place(fingerprint)]
        return cell.word == 0 ? nil : (cell.word & 0xFF_FFFF_FFFF, UInt8(truncatingIfNeeded: cell.word >> 40))
    }

    private func place(_ fingerprint: UInt64) -> Int {
        var at = Int(truncatingIfNeeded: fingerprint &* 0x9E37_79B9_7F4A_7C15 >> 20) & (cells.count - 1)
        while cells[at].word != 0, cells[at].fingerprint != fingerprint { at = (at + 1) & (cells.count - 1) }
        return at
    }

    private mutating func insert(_ fingerprint: UInt64, _ word: UInt64) {
        if (count + 1) * 2 > cells.count {
            let old = cells
            cells = Array(repeating: (0, 0), count: max(1 << 12, old.count * 2))
            for cell in old where cell.word != 0 { cells[place(cell.fingerprint)] = cell }
        }
        let at = place(fingerprint)
        if cells[at].word == 0 { count += 1 }
        cells[at] = (fingerprint, word)
    }

    /// Adds the parts of an index section, one behind the other.
    mutating func add(_ section: UnsafeRawBufferPointer) throws(DecodeError) {
        var reader = ByteReader(section)
        while reader.left > 0 {
            guard try reader.take("an index part", UInt16.self) == 1 else {
                throw DecodeError("an index part's schema")
            }
            _ = try reader.take("an index part's day", UInt16.self)
            let slots = try reader.count("slots of an index part", atMost: 65_535)
            try reader.zero(UInt64.self, "an index part's reserved field")
            for _ in 0..<slots {
                let fingerprint: UInt64 = try reader.take("an index slot")
                let word: UInt64 = try reader.take("an index slot")
                guard word >> 40 & 0xFF != 0 else { throw DecodeError("an index slot without outcome") }
                insert(fingerprint, word)
            }
        }
    }
}
