import ClearingModel

/// One slot of the transaction index, 16 bytes: fingerprint (64), then ordinal (40), outcome (8) and body check (16).
public struct IndexSlot: Hashable, Sendable, BitwiseCopyable {
    public var fingerprint: UInt64
    /// 0 in a free slot: an outcome is never 0.
    public var word: UInt64

    @inline(__always)
    init(fingerprint: UInt64, word: UInt64) {
        self.fingerprint = fingerprint
        self.word = word
    }

    public init(fingerprint: UInt64, ordinal: Ordinal, outcome: Outcome, bodyCheck: UInt16) {
        self.init(
            fingerprint: fingerprint,
            word: IndexSlot.word(ordinal: ordinal.rawValue, outcome: outcome.rawValue, check: UInt64(bodyCheck)))
    }

    @inline(__always)
    static func word(ordinal: UInt64, outcome: UInt8, check: UInt64) -> UInt64 {
        ordinal | UInt64(outcome) << 40 | check << 48
    }

    public var ordinal: Ordinal { Ordinal(word & ((1 << 40) - 1)) }
    var outcomeCode: UInt8 { UInt8(truncatingIfNeeded: word >> 40) }
    public var outcome: Outcome? { Outcome(rawValue: outcomeCode) }
    public var bodyCheck: UInt16 { UInt16(truncatingIfNeeded: word >> 48) }

    /// What a slot adds to the sum of its partition: a sum, so that the order of insertion does not show in it.
    @inline(__always)
    var digest: UInt64 { Self.digest(fingerprint, word) }

    @inline(__always)
    static func digest(_ fingerprint: UInt64, _ word: UInt64) -> UInt64 {
        let mixed = (fingerprint ^ (word &* 0x9E37_79B9_7F4A_7C15)) &* 0xBF58_476D_1CE4_E5B9
        return mixed ^ mixed >> 31
    }
}

/// 16 bits over a record behind its id: records that differ here differ.
///
/// Word i of the record counts (2i + 1) times; the product's top bits depend on every bit below them.
@inline(__always)
func bodyCheck(_ record: UnsafeRawPointer) -> UInt64 {
    var sum: UInt64 = 0
    var i = 2
    while i < 16 {
        let word = UInt64(littleEndian: record.loadUnaligned(fromByteOffset: i &* 8, as: UInt64.self))
        sum = sum &+ word &* UInt64(truncatingIfNeeded: 2 &* i &+ 1)
        i &+= 1
    }
    return (sum &* 0x9E37_79B9_7F4A_7C15) >> 48
}

/// The keyed fingerprint of a transaction id: SipHash-1-3 of its 16 bytes under a key derived from the cluster's id.
public struct Fingerprint: Sendable {
    let key: SipHash
    let mask: UInt64

    /// - Parameter mask: bits that are kept; tests keep few to force collisions.
    public init(cluster: ClusterID, mask: UInt64 = .max) {
        key = SipHash(indexOf: cluster)
        self.mask = mask
    }

    public func callAsFunction(_ id: TransactionID) -> UInt64 {
        self(UInt64(id.debtor.rawValue) | UInt64(id.instructing.rawValue) << 32, id.dayAndSequence)
    }

    @inline(__always)
    func callAsFunction(_ parties: UInt64, _ dayAndSequence: UInt64) -> UInt64 {
        key.hash(parties, dayAndSequence) & mask
    }
}
