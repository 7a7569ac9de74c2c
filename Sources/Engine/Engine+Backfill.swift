import ClearingModel
import Ledger
import LogFormat
import Raft
import Wire

/// The one shard whose old entries are being fetched. All of it may be lost: what is missing stands in the log itself.
struct Backfill {
    let shard: ShardID
    /// Nothing below is asked for again in this pass: it was fetched, or no peer has it.
    var cursor: LogIndex
    /// The range that a peer was asked for.
    var asked: (node: NodeID, range: IndexRange, at: MonotonicTime)?
    /// Peers that have nothing at `cursor`, or do not answer.
    var tried: [NodeID] = []
    /// The lowest entry above `cursor` that one of them has.
    var next: LogIndex?
    var fetched = 0
}

/// Entries below the log's start that retained days need and no segment here holds: a snapshot led past them, or they were
/// damaged. They are fetched from peers at low priority; docs/decisions/0002-backfill.md.
///
/// ```
///   missing(of:) ──▶ repairRequest ──▶ a peer that has applied them ──▶ repairReply ──▶ checked ──▶ log.appendRepair
///       ▲                                                                                                  │
///       └───────────────────────────────── next gap, paced by how busy this node is ◀──────────────────────┘
/// ```
/// Raft is not told: what is written here is covered by a checkpoint already and acknowledges nothing.
extension Engine {
    private static let patience = MonotonicTime.Span.seconds(2)
    /// After a pass that no peer could complete.
    private static let retry = MonotonicTime.Span.seconds(30)

    // MARK: Once a second

    /// Counts what is missing, and begins with the first shard that misses something.
    func watchBackfill() {
        let applied = metrics.appliedRecords
        isBusy = applied - appliedBefore > Limits.backfillBusyRecords
        appliedBefore = applied
        for group in clearingHeld where !group.lacksState {
            group.missingEntries = missing(group).reduce(0) { $0 + Int($1.through.rawValue - $1.from.rawValue) + 1 }
        }
        guard backfill == nil,
            let group = clearingHeld.first(where: { $0.missingEntries > 0 && $0.backfillAfter <= now })
        else { return }
        backfill = Backfill(shard: group.shard, cursor: group.neededFrom)
        backfillDue = now
        notice(.notice, "backfill begins", [("shard", "\(group.shard)"), ("entries", "\(group.missingEntries)")])
    }

    private func missing(_ group: Group) -> [IndexRange] { log.missing(of: group.shard, from: group.neededFrom) }

    // MARK: Every tick

    /// Asks for the next entries, if it is time and nothing more important is under way.
    func continueBackfill() {
        guard let current = backfill, now >= backfillDue else { return }
        if let asked = current.asked {
            guard now - asked.at >= Self.patience || !isConnected(to: asked.node) else { return }
            hasNothing(asked.node, next: nil)
        }
        askForOldEntries()
    }

    /// Repairs and snapshots come first, and the disk keeps its reserve for new work.
    private var mayBackfill: Bool {
        let room = UInt64(configuration.logOptions.diskReserveBytes + 2 * configuration.logOptions.segmentBytes)
        return phase == .running && !isDiskFull && freeBytes ?? 0 >= room && outgoing == nil && incoming == nil
            && held.allSatisfy { log.holes(of: $0.shard).isEmpty }
    }

    private func askForOldEntries() {
        guard mayBackfill, let current = backfill, let group = clearing(current.shard) else { return }
        guard let gap = missing(group).first(where: { $0.through >= current.cursor }) else {
            return endBackfill(group)
        }
        let from = max(gap.from, current.cursor)
        if from > current.cursor {
            backfill!.cursor = from
            backfill!.tried = []
            backfill!.next = nil
        }
        let tried = backfill!.tried
        // The leader has most to do: it is asked last.
        let leader = group.raft.leader?.node
        let reachable = group.memberNodes.filter { $0 != me.node && isConnected(to: $0) && !tried.contains($0) }
        guard let node = reachable.first(where: { $0 != leader }) ?? reachable.first else {
            // With nobody there, nobody has said that it cannot be had.
            backfillDue = now + (tried.isEmpty ? Self.patience : Limits.backfillInterval)
            return tried.isEmpty ? () : skip(group)
        }
        let range = IndexRange(from: from, through: gap.through)
        backfill!.asked = (node, range, now)
        metrics.backfillsAsked += 1
        requestEntries(group.shard, range, of: node)
    }

    /// No peer has the entry at the cursor: goes on at the next one that some peer has.
    private func skip(_ group: ClearingGroup) {
        let reached = log.start(of: group.shard).index
        guard let next = backfill!.next, next > backfill!.cursor, next <= reached else { return endBackfill(group) }
        backfill!.cursor = next
        backfill!.tried = []
        backfill!.next = nil
    }

    private func hasNothing(_ node: NodeID, next: LogIndex?) {
        backfill!.asked = nil
        backfill!.tried.append(node)
        if let next { backfill!.next = min(backfill!.next ?? next, next) }
    }

    private func endBackfill(_ group: ClearingGroup) {
        let fetched = backfill?.fetched ?? 0
        backfill = nil
        // What is still missing now, and not on its way to the disk, is tried again later.
        group.backfillAfter = now + Self.retry
        notice(.notice, "backfill ends", [("shard", "\(group.shard)"), ("entries", "\(fetched)")])
    }

    // MARK: Answers

    /// Takes a peer's answer, if it is the one that was asked for.
    func backfillReceived(_ reply: RepairReply, from node: NodeID) {
        guard let asked = backfill?.asked, backfill?.shard == reply.shard, asked.node == node,
            asked.range.from == reply.from, let group = clearing(reply.shard)
        else { return }
        guard !reply.entries.isEmpty else {
            hasNothing(node, next: reply.next)
            return askForOldEntries()
        }
        let ranges = missing(group)
        let wanted = reply.entries.filter { entry in
            ranges.contains { $0.from <= entry.index && entry.index <= $0.through }
        }
        if let fault = fault(in: reply, asked.range, group) {
            notice(
                .error, "backfill refused", [("shard", "\(reply.shard)"), ("from", "\(node)"), ("why", fault)])
            return hasNothing(node, next: nil)
        }
        log.appendRepair(wanted, shard: reply.shard)
        metrics.backfilledEntries += UInt64(wanted.count)
        backfill!.asked = nil
        backfill!.tried = []
        backfill!.next = nil
        backfill!.cursor = reply.entries[reply.entries.count - 1].index.next
        backfill!.fetched += wanted.count
        let busy = isBusy || log.unsyncedBytes > Limits.backfillBusyBytes
        backfillDue = now + (busy ? Limits.backfillBusyInterval : Limits.backfillInterval)
    }

    /// What shows that a peer's entries are not those of this log; `nil` where nothing does.
    private func fault(in reply: RepairReply, _ range: IndexRange, _ group: ClearingGroup) -> String? {
        var index = range.from
        var term = Term.zero
        var ordinal: Ordinal?
        for entry in reply.entries {
            if entry.index != index || index > range.through { return "entry \(entry.index) was not asked for" }
            if entry.term < term || entry.term > log.start(of: group.shard).term {
                return "entry \(index) has term \(entry.term)"
            }
            if entry.kind == .data {
                guard let header = EntryHeader.peek(entry.payload.bytes) else { return "entry \(index) is no entry" }
                let first = header.firstOrdinal
                guard first == ordinal ?? first, first <= group.ledger.nextOrdinal,
                    first + header.recordCount <= group.ledger.nextOrdinal
                else { return "entry \(index) begins with ordinal \(first)" }
                ordinal = first + header.recordCount
            }
            term = entry.term
            index = index.next
        }
        return nil
    }
}
