import ClearingModel

extension RaftReplica {
    /// Puts an entry that holds nothing into the log.
    ///
    /// An idle group's checkpoints move on with it, so that they do not hold back the start of a log that all groups of a
    /// node share.
    /// - Returns: false if this replica does not lead, hands over, or has undecided proposals enough.
    @discardableResult
    public mutating func proposeNothing(_ effects: inout [RaftEffect]) -> Bool {
        guard hasCommittedInTerm, halted == nil, transfer == nil, !isFull else { return false }
        appendOwn(.noop, .empty, &effects)
        return true
    }
}
