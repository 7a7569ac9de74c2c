import ClearingModel

/// Draws an index with given weights in O(1) (Walker 1977, in Vose's form of 1991).
public struct AliasTable: Sendable {
    private struct Cell: Sendable {
        /// A draw below this stays in the cell, others go to the alias.
        var threshold: UInt32
        var alias: UInt32
    }

    private var cells: [Cell]

    /// - Precondition: at least one weight, none negative, not all zero.
    public init(weights: [Double]) {
        let total = weights.reduce(0, +)
        precondition(total > 0 && weights.allSatisfy { $0 >= 0 }, "weights to draw from")
        let scaled = weights.map { $0 / total * Double(weights.count) }
        var probability = scaled
        cells = weights.indices.map { Cell(threshold: .max, alias: UInt32($0)) }
        var small = scaled.indices.filter { scaled[$0] < 1 }
        var large = scaled.indices.filter { scaled[$0] >= 1 }
        while let less = small.popLast(), let more = large.popLast() {
            cells[less] = Cell(threshold: UInt32(probability[less] * Double(UInt32.max)), alias: UInt32(more))
            probability[more] -= 1 - probability[less]
            if probability[more] < 1 { small.append(more) } else { large.append(more) }
        }
    }

    /// An index; uses one draw of the source.
    @inline(__always)
    public func draw(_ random: inout SeededRandom) -> Int {
        let bits = random.next()
        // The high half chooses the cell, the low half the side.
        let index = Int(((bits >> 32) &* UInt64(cells.count)) >> 32)
        let cell = cells[index]
        return UInt32(truncatingIfNeeded: bits) < cell.threshold ? index : Int(cell.alias)
    }
}
