#if SUANPAN_MUTATIONS
    /// Known bugs that a build for tests can have on purpose: what the simulation does not find, it does not guard against.
    ///
    /// None of this exists in any other build: each place where one strikes is compiled in only with `SUANPAN_MUTATIONS`, which
    /// Package.swift defines where the environment has it.
    public enum Mutation: String, CaseIterable, Sendable {
        /// A follower takes entries without comparing the term of the one before them.
        case skipLogMatching
        /// A follower acknowledges entries that its disk has not synced.
        case acknowledgeBeforeSync
        /// A ledger restored from a checkpoint does not know which credit batches it has applied.
        case dropCreditCursor
        /// A confirmation trims credit batches when it arrives, not when its log entry is applied.
        case trimUncommitted
        /// A replica that restarts has forgotten whom it voted for.
        case forgetVote
        /// A repaired entry voids what stands behind it in the log.
        case repairTruncates
        /// Recovery takes any torn group for the log's end.
        case cutBelowSynced
        /// A follower takes for committed whatever its leader has sent.
        case applyUncommitted
        /// A leader changes the membership before it has committed anything in its term.
        case changeMembershipEarly
        /// A wiped node comes back as the replica that it was.
        case keepIncarnation

        /// The one that this process has; set once, before anything else.
        nonisolated(unsafe) public static var active: Mutation?
    }
#endif
