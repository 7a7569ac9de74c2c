import ClearingModel
import Raft
import Wire

/// The end of recovery: memberships, and the first group of a new life.
///
/// Each opening of the directory is a life with a number of its own, durable in the identity file before anything is written
/// under it. Group numbers carry the life, so whatever an earlier life left behind a cut can never pass for part of this one.
extension NodeLog {
    mutating func readMemberships(_ ops: inout [DiskOperation]) {
        for slot in shards.indices {
            if let start = recovery!.starts[slot] { wantMembership(slot, isStart: true, start) }
            for found in recovery!.configurations[slot] { wantMembership(slot, isStart: false, found) }
        }
        nextMembership(&ops)
    }

    private mutating func wantMembership(_ slot: Int, isStart: Bool, _ found: FoundMembership) {
        if let payload = found.payload {
            takeMembership(slot, isStart: isStart, found, payload)
        } else {
            recovery!.wanted.append((slot, isStart, found))
        }
    }

    private mutating func nextMembership(_ ops: inout [DiskOperation]) {
        guard let wanted = recovery!.wanted.first else {
            finishReplay(&ops)
            return
        }
        recovery!.step = .memberships
        let header = wanted.found.header
        emit(
            .read(
                .segment(wanted.found.segment), offset: UInt64(header.payloadOffset), count: Int(header.payloadLength)),
            .read, .recovery, &ops)
    }

    mutating func membershipRead(_ bytes: Slab, _ ops: inout [DiskOperation]) {
        let wanted = recovery!.wanted.removeFirst()
        let header = wanted.found.header
        if bytes.count == Int(header.payloadLength), bytes.checksum == header.payloadChecksum {
            takeMembership(wanted.slot, isStart: wanted.isStart, wanted.found, bytes)
        } else {
            recovery!.damageAt[wanted.slot] = LogAddress(
                segment: wanted.found.segment, offset: Int(header.payloadOffset))
            if !wanted.isStart {
                indexes[wanted.slot].remove(IndexRange(from: wanted.found.index, through: wanted.found.index))
            }
        }
        nextMembership(&ops)
    }

    private mutating func takeMembership(_ slot: Int, isStart: Bool, _ found: FoundMembership, _ payload: Slab) {
        guard let membership = try? Membership(decoding: payload) else { return }
        if isStart {
            if tails[slot].start.index == found.index { tails[slot].start.membership = membership }
        } else if found.index > tails[slot].start.index, found.index <= tails[slot].last {
            tails[slot].setConfiguration(found.index, membership)
        }
    }

    private mutating func finishReplay(_ ops: inout [DiskOperation]) {
        for slot in shards.indices {
            // The start's membership could not be read, but a checkpoint of the same entry names it too.
            if tails[slot].start.membership == .empty,
                let same = checkpoints[slot].first(where: { $0.index == tails[slot].start.index })
            {
                tails[slot].start.membership = same.membership
            }
            settle(slot)
        }
        lastGroup = recovery!.lastGroup
        life = recovery!.highestLife + 1
        precondition(life < 1 << 24, "the directory was opened 16 million times")
        if active.number == 0 {
            // The first segment comes before the first life, so that a directory that had a life always has a segment.
            recovery!.step = .firstSegment
            roll = .awaitingSpare
            advanceRoll(&ops)
        } else {
            writeIdentity(&ops)
        }
    }

    mutating func writeIdentity(_ ops: inout [DiskOperation]) {
        let file = FileName.identityTemporary
        let identity = IdentityFile(cluster: cluster, me: me, life: life).encoded()
        emit(.open(file, create: true), .write, .logWrite, &ops)
        emit(.write(file, offset: 0, [identity]), .write, .logWrite, &ops)
        emit(.sync(file), .write, .logWrite, &ops)
        emit(.rename(from: file, to: .identity), .write, .logWrite, &ops)
        recovery!.step = .identityNamed
        emit(.syncDirectory, .write, .recovery, &ops)
    }

    mutating func identityNamed(_ ops: inout [DiskOperation]) {
        // What was read may have come from the page cache of a process that died before its sync.
        recovery!.step = .segmentSynced
        emit(.sync(.segment(active.number)), .write, .recovery, &ops)
    }

    mutating func startLife(_ ops: inout [DiskOperation]) {
        recovery!.step = .opening
        synced = lastAddress
        active.opening = GroupHeader.lifeOpeningFlag
        if active.end == SegmentHeader.bytes { active.opening |= GroupHeader.segmentOpeningFlag }
        prepareSpare(&ops)
        flush(&ops)
    }

    /// The first group of this life is durable: the cut, if there was one, is too.
    mutating func lifeOpened(_ ops: inout [DiskOperation], _ events: inout [LogEvent]) {
        guard let recovery else { return }
        self.recovery = nil
        isRunning = true
        events.append(contentsOf: recovery.damages)
        let recovered = shards.indices.map { recoveredShard($0) }
        for (slot, shard) in recovered.enumerated() {
            hasHoles[slot] = !shard.holes.isEmpty
            let place = recovery.damageAt[slot] ?? .zero
            for hole in shard.holes {
                events.append(
                    .damaged(
                        shard.shard, from: hole.from, through: hole.through, file: .segment(place.segment),
                        offset: place.offset))
            }
            if shard.holes.isEmpty, recovery.suspectTail[slot] || recovery.suspectHard[slot] {
                events.append(
                    .damaged(
                        shard.shard, from: shard.raft.lastIndex.next, through: shard.raft.lastIndex,
                        file: .segment(place.segment), offset: place.offset))
            }
        }
        events.append(.recovered(recovered))
        checkFreeSpace(&ops)
    }
}
