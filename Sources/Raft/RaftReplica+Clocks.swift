import ClearingModel
import Wire

// A leader's wall clock becomes ledger time, which never goes back: it closes business days and lets requests expire. So a leader
// stamps nothing before it has compared its clock with those of a majority, and nothing after it jumped, until the next comparison.
//
//     becomeLeader -> unknown --- near the median ---> agreed --- own wall and monotonic clock part ---> unknown
//                        |                               |
//                        +---- far from the median ------+----> skewed: hands over to a voter that is near
//
// Voters' clocks come with the answers to heartbeats, of which the first leave together with the term's first entry. The
// comparison costs a new leader nothing: it may not serve before that entry is committed, which takes as long.
//
// Example: voters 1, 2, 3; 1 leads, its clock 3 days ahead. 2 answers: of two clocks nobody can tell which is wrong, and 1 waits.
// 3 answers: the median is 3 days behind, and 1 hands over. If 3 is down, 1 hands over to 2 after a while: of two clocks the
// earlier leads, for it harms nothing for good, while a day that was closed too early never opens again.

/// What a leader knows of its own wall clock in this term.
enum LeaderClock: Sendable {
    /// Not compared in this term, or not since it jumped.
    case unknown
    /// It was so many microseconds ahead of the median, within the tolerance, at this time of both clocks.
    case agreed(aheadMicros: Int64, at: MonotonicTime, wall: WallTime)
    /// Too far from the median.
    case skewed
}

extension RaftReplica {
    /// What the clocks of the voters say of this leader's.
    private enum Comparison {
        /// Fewer than a majority are known.
        case unknown
        case near(aheadMicros: Int64)
        case far
        /// Half of the clocks known agree with it, the other half is earlier.
        case split
    }

    /// How far the voters' clocks, this leader's own (0) among them, are ahead of it: the two in the middle, which are one
    /// where their number is odd. `nil` while fewer than a majority are known.
    private var middleClocks: (low: Int64, high: Int64)? {
        guard role == .leader else { return nil }
        var ahead: [Int64] = []
        for voter in memberships.current.voters {
            if voter == me {
                ahead.append(0)
            } else if let position = follower(voter), let clock = followers[position].clock,
                now - clock.at < Limits.electionTimeoutMaximum
            {
                ahead.append(clock.aheadMicros)
            }
        }
        guard !ahead.isEmpty, ahead.count >= memberships.current.quorum else { return nil }
        ahead.sort()
        return (ahead[(ahead.count - 1) / 2], ahead[ahead.count / 2])
    }

    /// How far this leader's wall clock is ahead of the median of its voters' clocks, its own among them, in
    /// microseconds; `nil` on others and while fewer than a majority are known.
    ///
    /// With an even number of clocks the nearer of the two middle ones counts: two clocks cannot tell which is wrong.
    public var clockSkewMicros: Int64? {
        guard let (low, high) = middleClocks else { return nil }
        return low.magnitude <= high.magnitude ? -low : -high
    }

    private func compareClocks() -> Comparison {
        guard let (low, _) = middleClocks, let skew = clockSkewMicros else { return .unknown }
        if skew.magnitude > Limits.clockTolerance { return .far }
        return low < -Int64(Limits.clockTolerance) ? .split : .near(aheadMicros: skew)
    }

    /// This leader stamps nothing: its clock is too far from its voters'. Proposals are answered `.clockInDoubt`.
    public var isClockSkewed: Bool { if case .skewed = clock { true } else { false } }

    /// Whether an entry may be stamped with this wall clock and proposed now: leadership is not being handed over, and what
    /// waits for a majority is within its bound. O(1); one call, since each copies the replica where it crosses a module.
    public func mayPropose(now: MonotonicTime, wall: WallTime) -> Bool {
        !isTransferring && !isFull && mayStamp(now: now, wall: wall)
    }

    /// Whether an entry may be stamped with this wall clock: this replica leads, its clock was compared in this term, and it
    /// has moved on as the monotonic one has since.
    public func mayStamp(now: MonotonicTime, wall: WallTime) -> Bool {
        guard role == .leader, case .agreed(let ahead, let at, let then) = clock else { return false }
        return (ahead + Self.drift(from: (at, then), to: (now, wall))).magnitude <= Limits.clockTolerance
    }

    /// Believes the voters' clocks as far as they tell. Where they do not, what was known stays.
    mutating func checkClock() {
        switch compareClocks() {
        case .near(let ahead): clock = .agreed(aheadMicros: ahead, at: now, wall: wall)
        case .far:
            clock = .skewed
            Site.clockSkewed.reached()
        case .split, .unknown: break
        }
    }

    /// The own wall clock jumped, or drifted too far from the monotonic one: it is in doubt, and so is what it was compared with.
    mutating func watchOwnClock() {
        guard role == .leader else { return }
        let jumped = Self.drift(from: clockSeen, to: (now, wall)).magnitude > Limits.clockTolerance
        clockSeen = (now, wall)
        if case .agreed = clock, !mayStamp(now: now, wall: wall) { clock = .unknown } else if !jumped { return }
        clock = .unknown
        for position in followers.indices { followers[position].forgetClock() }
        heartbeatDue = now
    }

    // MARK: - Handing over

    /// Another voter's clock suits better. Of a split this is believed only once every voter that lives must have answered.
    var clockUnfit: Bool {
        switch clock {
        case .agreed: return false
        case .skewed: return true
        case .unknown:
            guard now - leaderSince >= Limits.electionTimeoutMinimum, case .split = compareClocks() else {
                return false
            }
            return true
        }
    }

    /// Whether a follower's clock is one to lead with: any, unless this leader's own is the reason to hand over.
    func hasFitClock(_ follower: FollowerProgress) -> Bool {
        guard clockUnfit else { return true }
        guard let (low, high) = middleClocks, let sample = follower.clock else { return false }
        let wanted = if case .far = compareClocks(), high.magnitude < low.magnitude { high } else { low }
        return (sample.aheadMicros - wanted).magnitude <= Limits.clockTolerance
    }

    // MARK: - Samples

    /// Takes a follower's clock from the answer to a heartbeat; half of the round trip is the way back.
    mutating func sampleClock(_ position: Int, _ theirs: WallTime, _ followed: RaftMessage.Followed) {
        guard let asked = followers[position].clockAnswered(followed.sequence), wall > .zero, theirs > .zero else {
            return
        }
        let wayBack = Self.micros(now - asked) / 2
        followers[position].clock = .init(
            aheadMicros: Self.micros(theirs) + wayBack - Self.micros(wall), at: now)
        if case .unknown = clock { checkClock() }
    }

    /// Microseconds by which the wall clock moved on further than the monotonic one.
    private static func drift(
        from then: (at: MonotonicTime, wall: WallTime), to now: (at: MonotonicTime, wall: WallTime)
    ) -> Int64 {
        micros(now.wall) - micros(then.wall) - micros(now.at - then.at)
    }

    // Clocks of these centuries stand below 2^53 microseconds; what is beyond is far from any of them.
    private static func micros(_ wall: WallTime) -> Int64 { Int64(min(wall.rawValue, 1 << 53)) }
    private static func micros(_ span: MonotonicTime.Span) -> Int64 { Int64(min(span.nanoseconds / 1_000, 1 << 53)) }
}
