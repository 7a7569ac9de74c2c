import ClearingModel

/// A harmed disk is judged leniently only for as long as something is wrong with it: counted here is how often that ended.
struct WholeAgain: Invariant {
    static let rule =
        "a replica that knows of no damage, and on whose disk the audit's decoder finds none, is judged as one that never "
        + "had any (FAULTS, not yet repaired)"
    private(set) var tally = Tally()

    mutating func found() { tally.checks += 1 }
}
