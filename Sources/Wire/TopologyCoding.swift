import ClearingModel

// The cluster's topology as bytes: in a `clusterReply`, and wherever a node must hand on how the cluster was made.

extension WireWriter {
    public mutating func replica(_ replica: ReplicaID) {
        id(replica.node)
        id(replica.incarnation)
    }

    /// Nodes, placements, slot map (as runs and pins) and calendar.
    public mutating func topology(_ topology: ClusterTopology) {
        u64(topology.cluster.high)
        u64(topology.cluster.low)
        u32(UInt32(bitPattern: topology.calendar.zoneOffsetMinutes))
        u16(topology.calendar.nextDayOpens)
        u16(topology.calendar.previousDayCloses)
        u16(UInt16(topology.nodes.count))
        for node in topology.nodes {
            id(node.id)
            u16(node.port)
            u16(node.adminPort)
            text(node.address)
            text(node.city)
            text(node.dataCentre)
        }
        u16(UInt16(topology.placements.count))
        for placement in topology.placements {
            u8(UInt8(placement.nodes.count))
            for node in placement.nodes { id(node) }
        }
        slotMap(topology.slots)
    }

    /// Shard of each slot as runs (length, shard), then the pins.
    ///
    /// A generated map deals slots in turn, so its runs are short; 4 bytes a slot is the most it takes (16 KiB).
    public mutating func slotMap(_ slots: SlotMap) {
        let start = count
        u16(0)
        var runs: UInt16 = 0
        var slot = 0
        while slot < slots.shards.count {
            var end = slot + 1
            while end < slots.shards.count, slots.shards[end] == slots.shards[slot] { end += 1 }
            u16(UInt16(end - slot))
            id(slots.shards[slot])
            runs += 1
            slot = end
        }
        bytes[start] = UInt8(truncatingIfNeeded: runs)
        bytes[start + 1] = UInt8(truncatingIfNeeded: runs >> 8)
        u32(UInt32(slots.pins.count))
        for pin in slots.pins {
            id(pin.participant)
            id(pin.shard)
        }
    }
}

extension WireReader {
    /// A replica; node and incarnation are never 0.
    public mutating func replica() throws(WireError) -> ReplicaID {
        let replica = ReplicaID(node: try id(), incarnation: try id())
        guard replica.node.rawValue > 0, replica.incarnation.rawValue > 0 else {
            throw .invalid(field: "replica", value: UInt64(replica.node.rawValue))
        }
        return replica
    }

    /// The mirror of `WireWriter.topology`: placements name known nodes only, the slot map known shards only.
    public mutating func topology() throws(WireError) -> ClusterTopology {
        let cluster = ClusterID(high: try u64(), low: try u64())
        let calendar = ClearingCalendar(
            zoneOffsetMinutes: Int32(bitPattern: try u32()), nextDayOpens: try u16(), previousDayCloses: try u16())
        guard abs(Int(calendar.zoneOffsetMinutes)) <= 18 * 60 else {
            throw .invalid(field: "calendar zone", value: UInt64(abs(Int(calendar.zoneOffsetMinutes))))
        }
        guard calendar.nextDayOpens < 24 * 60, calendar.previousDayCloses < 24 * 60 else {
            throw .invalid(field: "calendar hours", value: UInt64(calendar.nextDayOpens))
        }
        let nodes = try topologyNodes()
        let placements = try placements(on: nodes)
        let slots = try slotMap(shardCount: placements.count - 1)
        return ClusterTopology(
            cluster: cluster, nodes: nodes, placements: placements, slots: slots, calendar: calendar)
    }

    private mutating func topologyNodes() throws(WireError) -> [TopologyNode] {
        let count = Int(try u16())
        guard (1...Limits.maximumNodes).contains(count) else { throw .invalid(field: "nodes", value: UInt64(count)) }
        var nodes: [TopologyNode] = []
        for _ in 0..<count {
            let id: NodeID = try id()
            guard id.rawValue > (nodes.last?.id.rawValue ?? 0) else {
                throw .invalid(field: "node order", value: UInt64(id.rawValue))
            }
            let port = try u16()
            let adminPort = try u16()
            let address = try text()
            nodes.append(
                TopologyNode(
                    id: id, city: try text(), dataCentre: try text(), address: address, port: port,
                    adminPort: adminPort))
        }
        return nodes
    }

    private mutating func placements(on nodes: [TopologyNode]) throws(WireError) -> [Placement] {
        let count = Int(try u16())
        guard (2...Limits.maximumShards + 1).contains(count) else {
            throw .invalid(field: "placements", value: UInt64(count))
        }
        var placements: [Placement] = []
        for shard in 0..<count {
            let replicas = Int(try u8())
            guard (1...Limits.maximumReplicas).contains(replicas) else {
                throw .invalid(field: "replicas", value: UInt64(replicas))
            }
            var chosen: [NodeID] = []
            for _ in 0..<replicas {
                let node: NodeID = try id()
                guard !chosen.contains(node), nodes.contains(where: { $0.id == node }) else {
                    throw .invalid(field: "placement node", value: UInt64(node.rawValue))
                }
                chosen.append(node)
            }
            placements.append(Placement(shard: ShardID(UInt16(shard)), nodes: chosen))
        }
        return placements
    }

    public mutating func slotMap(shardCount: Int) throws(WireError) -> SlotMap {
        let runs = Int(try u16())
        var shards: [ShardID] = []
        shards.reserveCapacity(SlotMap.slotCount)
        for _ in 0..<runs {
            let length = Int(try u16())
            let shard: ShardID = try id()
            guard length >= 1, shards.count + length <= SlotMap.slotCount else {
                throw .invalid(field: "slot run", value: UInt64(length))
            }
            for _ in 0..<length { shards.append(shard) }
        }
        let pinCount = try count("pins", atMost: Limits.maximumParticipants)
        var pins: [SlotMap.Pin] = []
        for _ in 0..<pinCount {
            pins.append(SlotMap.Pin(participant: try id(), shard: try id()))
        }
        guard let map = SlotMap(shards: shards, pins: pins, shardCount: shardCount) else {
            throw .invalid(field: "slot map", value: UInt64(shards.count))
        }
        return map
    }
}
