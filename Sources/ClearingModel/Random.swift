/// A seeded random source for the deterministic layers (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A value below `bound` (multiply-shift; the bias is below 2⁻³² for bounds under 2³²).
    public mutating func below(_ bound: UInt64) -> UInt64 {
        precondition(bound > 0, "an empty range has no value")
        return next().multipliedFullWidth(by: bound).high
    }

    /// A fraction in [0, 1).
    public mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }
}
