import ClearingModel
import Glibc

/// Amounts with a log-normal distribution, in minor units, at least 1.
struct LogNormal {
    private let logMedian: Double
    private let sigma: Double

    /// - Parameters: median and mean in minor units; their ratio fixes the width: mean = median · exp(σ²/2).
    init(median: Double, mean: Double) {
        precondition(median >= 1 && mean > median, "a log-normal's mean lies above its median")
        logMedian = log(median)
        sigma = (2 * log(mean / median)).squareRoot()
    }

    @inline(__always)
    func amount(normal: Double) -> UInt64 {
        let value = exp(logMedian + sigma * normal)
        return value < 1 ? 1 : min(UInt64(min(value, 1e15)), Limits.maximumAmount)
    }
}

/// Draws from the normal distribution, two at a time (Marsaglia's polar method).
struct NormalSource {
    private var spare: Double?

    @inline(__always)
    mutating func draw(_ random: inout SeededRandom) -> Double {
        if let value = spare {
            spare = nil
            return value
        }
        while true {
            let x = 2 * random.fraction() - 1
            let y = 2 * random.fraction() - 1
            let s = x * x + y * y
            if s < 1, s > 0 {
                let factor = (-2 * log(s) / s).squareRoot()
                spare = y * factor
                return x * factor
            }
        }
    }
}
