import ClearingModel

/// Where replicas and slots go: the parts of a topology file that the launcher usually writes itself.
extension TopologyFile {
    static func placements(_ value: YAMLValue, plan: TopologyPlan) throws(ConfigurationError) -> [Placement] {
        let list = try value.list("placements")
        guard list.count == plan.shards + 1 else {
            throw value.error(
                "\(list.count) placements for the directory and \(plan.shards) shards",
                "list the directory as shard 0 first, then shards 1 to \(plan.shards)")
        }
        let cities = Set(plan.nodes.map(\.city)).count
        var placements: [Placement] = []
        for (index, item) in list.enumerated() {
            let block = try item.block("a placement", keys: ["shard", "nodes"])
            let shardValue = try block.required("shard")
            let shard = try shardValue.number("shard", in: 0...UInt16(plan.shards))
            guard Int(shard) == index else {
                throw shardValue.error(
                    "shard \(shard) stands where shard \(index) belongs", "list them in order from 0")
            }
            let nodesValue = try block.required("nodes")
            var nodes: [PlannedNode] = []
            for item in try nodesValue.list("nodes") {
                let id = NodeID(try item.number("node", in: 1...UInt32.max))
                guard let node = plan.nodes.first(where: { $0.id == id }) else {
                    throw item.error("there is no node \(id)", "the nodes are listed above under 'nodes'")
                }
                guard !nodes.contains(node) else {
                    throw item.error("node \(id) stands twice", "a node holds one replica of a shard")
                }
                nodes.append(node)
            }
            guard nodes.count == plan.replicas else {
                throw nodesValue.error(
                    "\(nodes.count) nodes for \(plan.replicas) replicas", "list one node per replica")
            }
            // One city's loss must not take more of a shard than the sites make necessary.
            let fair = (plan.replicas + cities - 1) / cities
            for city in Set(nodes.map(\.city)).sorted() where nodes.filter({ $0.city == city }).count > fair {
                throw nodesValue.error(
                    "the replicas do not fit the sites: more than \(fair) of shard \(shard) stand in \(city)",
                    "spread them over the \(cities) cities, or leave 'placements' out")
            }
            placements.append(Placement(shard: ShardID(shard), nodes: nodes.map(\.id)))
        }
        return placements
    }

    static func pins(_ value: YAMLValue, shards: Int) throws(ConfigurationError) -> [SlotMap.Pin] {
        var pins: [SlotMap.Pin] = []
        for item in try value.list("pins") {
            let block = try item.block("a pin", keys: ["participant", "shard"])
            let idValue = try block.required("participant")
            let participant = ParticipantID(try idValue.number("participant", in: 1...UInt32.max))
            let shard = try block.required("shard").number("shard", in: 1...UInt16(shards))
            guard !pins.contains(where: { $0.participant == participant }) else {
                throw idValue.error("participant \(participant) is pinned twice", "keep one of the two")
            }
            pins.append(SlotMap.Pin(participant: participant, shard: ShardID(shard)))
        }
        return pins.sorted { $0.participant < $1.participant }
    }

    static func slots(_ value: YAMLValue, shards: Int) throws(ConfigurationError) -> [ShardID] {
        let words = try value.text("slots").split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.count == SlotMap.slotCount else {
            throw value.error(
                "\(words.count) slots instead of \(SlotMap.slotCount)", "leave 'slots' out to have them dealt evenly")
        }
        var slots: [ShardID] = []
        for (index, word) in words.enumerated() {
            guard let shard = UInt16(word), shard >= 1, Int(shard) <= shards else {
                throw value.error("slot \(index) is '\(word)'", "give a shard from 1 to \(shards)")
            }
            slots.append(ShardID(shard))
        }
        return slots
    }
}

// MARK: - Writing

extension TopologyFile {
    /// The text of a whole topology; `plan(text:)` reads it back to the same.
    public static func text(_ topology: ClusterTopology) -> String {
        var text = """
            # Topology of one cluster: nodes and clients read this file. Slots and cluster id never change.
            version: \(version)
            cluster: "\(topology.cluster)"
            shards: \(topology.shardCount)
            replicas: \(topology.placements[0].nodes.count)
            calendar:
              zoneOffsetMinutes: \(topology.calendar.zoneOffsetMinutes)
              nextDayOpens: "\(clock(topology.calendar.nextDayOpens))"
              previousDayCloses: "\(clock(topology.calendar.previousDayCloses))"
            nodes:

            """
        for node in topology.nodes {
            text += """
                  - id: \(node.id)
                    city: \(quoted(node.city))
                    dataCentre: \(quoted(node.dataCentre))
                    address: \(quoted(node.address))
                    port: \(node.port)
                    adminPort: \(node.adminPort)

                """
        }
        text += "# Shard 0 is the directory; the first node of each list is the preferred leader.\nplacements:\n"
        for placement in topology.placements {
            let nodes = placement.nodes.map(\.description).joined(separator: ", ")
            text += "  - {shard: \(placement.shard.rawValue), nodes: [\(nodes)]}\n"
        }
        text += "# Participants with a shard of their own choice: the largest, kept apart.\npins:"
        text += topology.slots.pins.isEmpty ? " []\n" : "\n"
        for pin in topology.slots.pins {
            text += "  - {participant: \(pin.participant), shard: \(pin.shard)}\n"
        }
        text += "# Shard of each of the \(SlotMap.slotCount) slots.\nslots: |\n"
        for row in stride(from: 0, to: SlotMap.slotCount, by: 64) {
            text += "  " + topology.slots.shards[row..<row + 64].map(\.description).joined(separator: " ") + "\n"
        }
        return text
    }

    /// The text of a plan with nothing filled in: nodes by city and data centre, and the numbers.
    public static func text(_ plan: TopologyPlan) -> String {
        var text = "version: \(version)\nshards: \(plan.shards)\nreplicas: \(plan.replicas)\nnodes:\n"
        for node in plan.nodes {
            text += "  - {id: \(node.id), city: \(quoted(node.city)), dataCentre: \(quoted(node.dataCentre))}\n"
        }
        return text
    }

    private static func clock(_ minutes: UInt16) -> String {
        let pad = { (n: UInt16) in n < 10 ? "0\(n)" : "\(n)" }
        return "\(pad(minutes / 60)):\(pad(minutes % 60))"
    }

    /// Plain where YAML takes it for text anyway, otherwise in double quotes.
    private static func quoted(_ text: String) -> String {
        let plain = text.utf8.allSatisfy { byte in
            (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte) || byte == 45
        }
        if plain, let first = text.utf8.first, first >= 65 { return text }
        var escaped = ""
        for character in text {
            if character == "\"" || character == "\\" { escaped.append("\\") }
            escaped.append(character)
        }
        return "\"\(escaped)\""
    }
}
