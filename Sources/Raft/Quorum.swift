import ClearingModel

/// The arithmetic of majorities. Groups are small, so counting beats sorting and allocates nothing.
public enum Quorum {
    public enum Outcome: Hashable, Sendable {
        case won
        case lost
        case undecided
    }

    /// The highest value that a majority of `voters` has reached; `nil` without voters.
    @inlinable
    public static func reached<Value: Comparable>(by voters: [ReplicaID], _ value: (ReplicaID) -> Value) -> Value? {
        let quorum = voters.count / 2 + 1
        var best: Value?
        for voter in voters {
            let candidate = value(voter)
            if let best, candidate <= best { continue }
            var count = 0
            for other in voters where value(other) >= candidate { count += 1 }
            if count >= quorum { best = candidate }
        }
        return best
    }

    /// How a vote stands; `nil` is a voter that has not answered. A group without voters elects nobody.
    @inlinable
    public static func outcome(of voters: [ReplicaID], _ vote: (ReplicaID) -> Bool?) -> Outcome {
        let quorum = voters.count / 2 + 1
        var (granted, open) = (0, 0)
        for voter in voters {
            switch vote(voter) {
            case true?: granted += 1
            case nil: open += 1
            case false?: break
            }
        }
        if granted >= quorum { return .won }
        return granted + open >= quorum ? .undecided : .lost
    }
}
