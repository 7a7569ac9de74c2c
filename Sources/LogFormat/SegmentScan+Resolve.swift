import ClearingModel
import Wire

/// What a scanned segment means.
struct Resolution {
    var items: [LogItem] = []
    /// Where the next group goes: behind the last one that counts.
    var end = SegmentHeader.bytes
    var lastGroup: UInt64
    /// Regions that lost their group header, to be looked through for records.
    var regions: [Region] = []
    var isDamaged = false

    struct Region {
        var offset: Int
        var count: Int
        /// Numbers of the groups around it.
        var after: UInt64
        var before: UInt64
    }
}

extension SegmentScan {
    /// The highest life that any group header of the segment names.
    var highestLife: UInt64 { groups.map(\.header.life).max() ?? 0 }

    /// Walks the groups that count.
    ///
    /// - Parameters:
    ///   - lastGroup: number of the last group of the segment before.
    ///   - isSealed: a later segment exists, so that everything here was durable.
    ///   - limit: where the groups of a sealed segment end, if that is known.
    func resolve(lastGroup: UInt64, isSealed: Bool, limit: Int? = nil) -> Resolution {
        let groups = self.groups.filter { $0.header.end <= limit ?? size }
        let synced = isSealed ? LogAddress(segment: number, offset: size) : highestSynced(of: groups)
        var result = Resolution(lastGroup: lastGroup)
        var next = 0
        while true {
            while next < groups.count, groups[next].header.address.offset < result.end { next += 1 }
            let here = LogAddress(segment: number, offset: result.end)
            if next < groups.count, groups[next].header.address == here,
                groups[next].header.number > result.lastGroup
            {
                let group = groups[next]
                // Torn, not corrupt: nothing ever said that it was durable.
                if !group.isWhole, synced <= here {
                    Site.tornTailCut.reached()
                    if group.hasWholeRecordBehindTorn { Site.tornTailWithLaterRecord.reached() }
                    break
                }
                take(group, &result)
                continue
            }
            let later = groups[next...].first { $0.header.number > result.lastGroup }
            guard synced > here, let later else { break }
            lose(from: result.end, to: later.header, &result)
        }
        if isSealed, result.end != limit {
            result.items.append(.damage(offset: result.end, shards: .all, hardShards: .all))
            result.isDamaged = true
        }
        return result
    }

    /// Everything below was durable once.
    private func highestSynced(of groups: [ScannedGroup]) -> LogAddress {
        #if SUANPAN_MUTATIONS
            if Mutation.active == .cutBelowSynced { return .zero }
        #endif
        return groups.map(\.header.synced).max() ?? .zero
    }

    private func take(_ group: ScannedGroup, _ result: inout Resolution) {
        // Around the records, for what was lost may have stood before them or behind.
        let damage: [LogItem] =
            group.hidden == 0
            ? []
            : [
                .damage(
                    offset: group.header.address.offset, shards: group.header.shards,
                    hardShards: group.header.hardShards)
            ]
        result.items += damage + group.records.map(\.item) + damage
        if !group.isWhole { result.isDamaged = true }
        result.end = group.header.end
        result.lastGroup = group.header.number
    }

    /// A region without a valid group header, durable once: takes what can be salvaged of it.
    private func lose(from offset: Int, to later: GroupHeader, _ result: inout Resolution) {
        let count = later.address.offset - offset
        result.isDamaged = true
        var isComplete = false
        var items: [LogItem] = []
        if let salvaged = salvaged[offset] {
            let records = salvaged.records.filter {
                $0.header.group > result.lastGroup && $0.header.group < later.number
            }
            items = records.map(\.item)
            // Its records fill the region to the last byte: nothing else was there.
            isComplete = salvaged.end == later.address.offset && records.count == salvaged.records.count
        } else if count > 0 {
            result.regions.append(
                Resolution.Region(
                    offset: offset, count: min(count, Self.window), after: result.lastGroup, before: later.number))
        }
        let damage: [LogItem] = isComplete ? [] : [.damage(offset: offset, shards: .all, hardShards: .all)]
        result.items += damage + items + damage
        result.end = later.address.offset
        result.lastGroup = max(result.lastGroup, later.number - 1)
    }
}
