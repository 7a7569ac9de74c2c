import ClearingModel
import Raft

/// Effects and messages as the golden scripts show them: one line each, `term/index` for entries.
enum EffectText {
    static func line(_ id: ReplicaID, _ effect: RaftEffect) -> String { "\(id.node) \(text(effect))" }

    static func text(_ effect: RaftEffect) -> String {
        switch effect {
        case .persistEntries(let entries, let sequence):
            "persist #\(sequence) \(entries.map(text).joined(separator: ", "))"
        case .persistTruncate(let from, _, let sequence): "persist #\(sequence) truncate from \(from)"
        case .persistHardState(let state, let sequence): "persist #\(sequence) \(state)"
        case .send(let message): "send \(message.from.node)->\(message.to.node) \(text(message))"
        case .committed(let index): "committed \(index)"
        case .becameLeader(let term): "leads term \(term)"
        case .becameFollower(let term, let leader): "follows \(leader.map { "\($0.node)" } ?? "nobody") in term \(term)"
        case .readReady(let token, let index): "read \(token) ready at \(index)"
        case .readFailed(let token): "read \(token) failed"
        case .loadEntries(let replica, let from, _): "load from \(from) for \(replica.node)"
        case .needsSnapshot(let replica): "snapshot for \(replica.node)"
        case .membershipCommitted(let membership): "membership committed: \(membership)"
        case .quarantined(let replica): "quarantined \(replica)"
        case .halted(let reason): "halted: \(reason)"
        }
    }

    static func text(_ entry: RaftEntry) -> String {
        let head = "\(entry.term)/\(entry.index)"
        switch entry.kind {
        case .noop: return "\(head) noop"
        case .data: return "\(head) \"\(RaftTests.text(of: entry.payload))\""
        case .configuration:
            return "\(head) \((try? Membership(decoding: entry.payload))?.description ?? "unreadable membership")"
        }
    }

    static func text(_ message: RaftMessage) -> String {
        let body =
            switch message.body {
            case .preVote(let candidacy): "preVote \(text(candidacy))"
            case .preVoteReply(let granted): granted ? "preVote granted" : "preVote refused"
            case .vote(let candidacy): "vote \(text(candidacy))"
            case .voteReply(let granted): granted ? "vote granted" : "vote refused"
            case .append(let append): text(append)
            case .appendReply(let match, let followed): "appended \(match) (\(text(followed)))"
            case .appendReject(let reject, _):
                "reject after \(reject.previousIndex), hint \(reject.hintTerm)/\(reject.hintIndex)"
            case .heartbeat(let heartbeat):
                "heartbeat commit \(heartbeat.commit) match \(heartbeat.match)"
                    + (heartbeat.quarantined ? " quarantined" : "")
                    + (heartbeat.settlement.map { ", doubt settled from \($0.index) on" } ?? "")
            case .heartbeatReply(let match, _, let followed): "alive, match \(match) (\(text(followed)))"
            case .timeoutNow: "campaign now"
            }
        return "term \(message.term) \(body)"
    }

    private static func text(_ candidacy: RaftMessage.Candidacy) -> String {
        "log ends \(candidacy.lastTerm)/\(candidacy.lastIndex)" + (candidacy.transfer ? ", by transfer" : "")
    }

    private static func text(_ append: RaftMessage.Append) -> String {
        let entries = append.entries.isEmpty ? "nothing" : append.entries.map(text).joined(separator: ", ")
        return (append.probe ? "probe" : "append")
            + " after \(append.previousTerm)/\(append.previousIndex) commit \(append.commit): \(entries)"
    }

    private static func text(_ followed: RaftMessage.Followed) -> String {
        "agrees to \(followed.matched) of \(followed.lastIndex)" + (followed.doubt == nil ? "" : ", in doubt")
    }
}
