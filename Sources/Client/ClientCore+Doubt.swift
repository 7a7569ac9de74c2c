import ClearingModel
import Wire

/// Replies to requests of which another try may still be decided.
extension ClientCore {
    /// Whether a reply to a request in doubt may be told as it is.
    ///
    /// An outcome that is not kept for its id is the answer of one try. Another one, logged when the day was open, may have
    /// been accepted or yet be: told as the end of the payment, it would have the payer pay again under another id. What
    /// got such an answer is asked again, until there is another one or the deadline makes it unknown.
    mutating func areLastWords(
        _ decisions: Decisions, of slot: Int32, on connection: Int, _ now: MonotonicTime, _ out: inout ClientOutput
    ) -> Bool {
        let index = Int(slot)
        guard (0..<decisions.count).contains(where: { !decisions[$0].isLastWord }) else { return true }
        // The answer of an earlier try: the one that is under way gets its own.
        guard slab.entries[index].state == .sent, slab.entries[index].connection == Int32(connection) else {
            return false
        }
        answered(slot, by: connection, now, &out)
        unsend(slot)
        slab.entries[index].state = .parked
        if slab.entries[index].isBatch { tellLastWords(decisions, of: slot, &out) }
        return false
    }

    /// Ends the records of a batch whose outcome is certain and leaves the others in it.
    private mutating func tellLastWords(_ decisions: Decisions, of slot: Int32, _ out: inout ClientOutput) {
        let index = Int(slot)
        var left = 0
        for record in 0..<decisions.count {
            if decisions[record].isLastWord {
                out.completions.append(
                    Completion(
                        token: slab.entries[index].token, position: slab.batches[index].positions[record],
                        id: slab.batches[index].records[record].id, result: RecordResult(decisions[record])))
            } else {
                slab.batches[index].records[left] = slab.batches[index].records[record]
                slab.batches[index].positions[left] = slab.batches[index].positions[record]
                left += 1
            }
        }
        guard left < decisions.count else { return }
        slab.batches[index].records.removeLast(decisions.count - left)
        slab.batches[index].positions.removeLast(decisions.count - left)
        slab.entries[index].count = Int32(left)
        slab.entries[index].bytes -= Int32((decisions.count - left) * Instruction.size)
        slab.renew(slot)
    }
}

extension Decision {
    /// Nothing that another try of the id is answered with contradicts it.
    fileprivate var isLastWord: Bool { answer != .decided || outcome?.isKept != false }
}
