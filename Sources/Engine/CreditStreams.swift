import ClearingModel
import Ledger
import Wire

/// The volatile half of one outgoing credit stream: what has been sent to the destination's leader since when.
///
/// The durable half (open and unconfirmed batches) is ledger state. Losing this half costs a resend, never money:
/// the destination's cursor drops what it has applied already.
///
/// Worked example: batches 7 and 8 are unconfirmed, 7 was sent. A flush closes 9 → 8 and 9 go out, `sent` = 9. The
/// destination's leader dies: its successor is announced, `sent` returns to 6, and 7, 8, 9 leave again. It had
/// applied 7 and 8: it confirms 8, applies 9.
struct OutgoingStream {
    /// Highest batch number sent to the current destination leader; zero = nothing.
    var sent = BatchNumber.zero
    var lastSent = MonotonicTime(0)
    /// Where `sent` went; another leader gets everything again.
    var target: NodeID?
    /// Highest confirmation that stands in an entry of this leader, applied or not.
    var stagedConfirmation = BatchNumber.zero
    /// Confirmations that wait for the next entry, by number only: a later one covers the earlier ones.
    var waitingConfirmation: CreditConfirmation?
}

/// The volatile half of one incoming credit stream.
struct IncomingStream {
    /// Where the stream stands behind the batches that this leader took, applied or not.
    var staged = CreditCursor.start
    /// What earlier leaders of this shard had applied.
    var inherited = BatchNumber.zero
    /// Batches that wait for room in an entry or for a directory version, in order.
    var waiting: [CreditBatch] = []
    /// Highest number that has been noticed as applied.
    var confirmedSeen = BatchNumber.zero
    /// A batch of this stream was applied (again): tell the source.
    var owesConfirmation = false
}
