import Audit

/// Over the committed logs of all shards, which always are a consistent cut.
struct CreditConservation: Invariant {
    static let rule =
        "per currency, posted credits and credits in flight are posted debits (DOMAIN, invariant 1; FAULTS, Σ credits + in "
        + "flight = Σ debits)"
    private(set) var tally = Tally()

    mutating func balance(_ replay: LiveReplay) -> String? {
        if replay.acceptedPayments > 0 { tally.checks += 1 }
        return replay.imbalance()
    }
}
