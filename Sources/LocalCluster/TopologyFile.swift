import ClearingModel
import Glibc

/// Topology files: YAML ↔ `TopologyPlan` and `ClusterTopology`.
public enum TopologyFile {
    /// Version of the form that this code reads and writes.
    public static let version = 1

    static let keys = ["version", "cluster", "shards", "replicas", "calendar", "nodes", "placements", "pins", "slots"]
    static let nodeKeys = ["id", "city", "dataCentre", "address", "port", "adminPort"]

    /// Reads the file at `path` as a plan.
    public static func plan(path: String) throws(ConfigurationError) -> TopologyPlan {
        try plan(text: try readText(path, what: "topology file"), file: path)
    }

    /// Reads the file at `path` as the topology that nodes and clients use; nothing may be left open in it.
    public static func topology(path: String) throws(ConfigurationError) -> ClusterTopology {
        let plan = try plan(path: path)
        func missing(_ what: String) -> ConfigurationError {
            ConfigurationError(
                file: path, problem: "\(what) is left open",
                remedy: "a running cluster needs all of it; 'suanpan cluster up --topology \(path)' fills it in")
        }
        guard let cluster = plan.cluster else { throw missing("'cluster'") }
        guard plan.placements != nil, plan.slots != nil, plan.pins != nil else {
            throw missing("'placements', 'slots' or 'pins'")
        }
        guard plan.nodes.allSatisfy({ $0.address != nil && $0.port != nil && $0.adminPort != nil }) else {
            throw missing("address, port or adminPort of a node")
        }
        do {
            return try plan.complete(cluster: cluster, base: PortBlock.firstBase)
        } catch {
            throw ConfigurationError(file: path, problem: "\(error)", remedy: "change nodes or replicas")
        }
    }

    /// Reads a topology from its text; `file` is what complaints call it.
    public static func plan(text: String, file: String) throws(ConfigurationError) -> TopologyPlan {
        let top = try YAMLValue.parse(text, file: file).block("the topology", keys: keys)
        let version = try top.required("version")
        let number = try version.number("version", in: 1...Int.max)
        guard number == Self.version else {
            throw version.error("version \(number) is not known here", "this suanpan reads version \(Self.version)")
        }
        let shards = try top.required("shards")
        let shardCount = try shards.number("shards", in: 1...Limits.maximumShards)
        let nodes = try nodes(try top.required("nodes"))
        let replicas = try top.required("replicas")
        let replicaCount = try replicas.number("replicas", in: 1...Limits.maximumReplicas)
        guard replicaCount % 2 == 1 else {
            throw replicas.error(
                "\(replicaCount) replicas survive no more failures than \(replicaCount - 1) do", "choose an odd number")
        }
        guard replicaCount <= nodes.count else {
            throw replicas.error(
                "\(replicaCount) replicas do not fit on \(nodes.count) nodes", "add nodes or ask for fewer replicas")
        }
        var plan = TopologyPlan(shards: shardCount, replicas: replicaCount, nodes: nodes)
        if let value = top["cluster"] {
            guard let cluster = ClusterID(try value.text("cluster")) else {
                throw value.error("the cluster id is not 32 hexadecimal digits", "leave it out to get a new one")
            }
            plan.cluster = cluster
        }
        if let value = top["calendar"] { plan.calendar = try calendar(value) }
        if let value = top["placements"] { plan.placements = try placements(value, plan: plan) }
        if let value = top["pins"] { plan.pins = try pins(value, shards: shardCount) }
        if let value = top["slots"] { plan.slots = try slots(value, shards: shardCount) }
        return plan
    }

    // MARK: - Nodes

    private static func nodes(_ value: YAMLValue) throws(ConfigurationError) -> [PlannedNode] {
        let list = try value.list("nodes")
        guard !list.isEmpty, list.count <= Limits.maximumNodes else {
            throw value.error("\(list.count) nodes", "list 1 to \(Limits.maximumNodes)")
        }
        var nodes: [PlannedNode] = []
        for item in list {
            let block = try item.block("a node", keys: nodeKeys)
            let idValue = try block.required("id")
            let id = NodeID(try idValue.number("id", in: 1...UInt32.max))
            guard !nodes.contains(where: { $0.id == id }) else {
                throw idValue.error("two nodes have id \(id)", "number them apart")
            }
            var node = PlannedNode(
                id: id, city: try block.required("city").text("city"),
                dataCentre: try block.required("dataCentre").text("dataCentre"))
            if let address = block["address"] {
                let text = try address.text("address")
                guard isNumericAddress(text) else {
                    throw address.error("'\(text)' is no IPv4 or IPv6 address", "give numbers, names are not looked up")
                }
                node.address = text
            }
            node.port = try block["port"]?.number("port", in: 1...UInt16.max)
            node.adminPort = try block["adminPort"]?.number("adminPort", in: 1...UInt16.max)
            for other in nodes { try checkOverlap(node, other, block: block) }
            nodes.append(node)
        }
        return nodes.sorted { $0.id < $1.id }
    }

    private static func isNumericAddress(_ text: String) -> Bool {
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1
    }

    private static func checkOverlap(
        _ node: PlannedNode, _ other: PlannedNode, block: YAMLBlock
    ) throws(ConfigurationError) {
        if let address = node.address, address == other.address, let port = node.port, port == other.port {
            throw (block["port"] ?? block.whole).error(
                "nodes \(other.id) and \(node.id) both listen on \(address):\(port)",
                "give one of them another address or port")
        }
        // Every address of 127/8 is this machine, and so is the loopback of two nodes with one address.
        let local = { (a: String?) in a?.hasPrefix("127.") ?? true }
        let oneMachine = node.address == other.address || (local(node.address) && local(other.address))
        guard oneMachine, let admin = node.adminPort else { return }
        if admin == other.adminPort {
            throw (block["adminPort"] ?? block.whole).error(
                "nodes \(other.id) and \(node.id) both have admin port \(admin) on one machine", "number them apart")
        }
    }

    // MARK: - Calendar

    private static func calendar(_ value: YAMLValue) throws(ConfigurationError) -> ClearingCalendar {
        let block = try value.block("calendar", keys: ["zoneOffsetMinutes", "nextDayOpens", "previousDayCloses"])
        var calendar = ClearingCalendar()
        if let zone = block["zoneOffsetMinutes"] {
            calendar.zoneOffsetMinutes = try zone.number("zoneOffsetMinutes", in: -720...840)
        }
        if let opens = block["nextDayOpens"] { calendar.nextDayOpens = try timeOfDay(opens, "nextDayOpens") }
        if let closes = block["previousDayCloses"] {
            calendar.previousDayCloses = try timeOfDay(closes, "previousDayCloses")
        }
        guard calendar.previousDayCloses < calendar.nextDayOpens else {
            throw value.error(
                "the previous day closes after the next day opens", "at most three days may be open at one time")
        }
        return calendar
    }

    private static func timeOfDay(_ value: YAMLValue, _ what: String) throws(ConfigurationError) -> UInt16 {
        let text = try value.text(what)
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) }
        guard parts.count == 2, let hour = parts[0], let minute = parts[1], hour < 24, minute < 60 else {
            throw value.error("\(what) is '\(text)'", "give hours and minutes in quotes, as in \"23:00\"")
        }
        return hour * 60 + minute
    }

    /// A text file as a whole; what cannot be read is a configuration error.
    static func readText(_ path: String, what: String) throws(ConfigurationError) -> String {
        guard let text = FileStore.read(path) else {
            throw ConfigurationError(
                file: path, problem: "the \(what) cannot be read: \(String(cString: strerror(errno)))",
                remedy: "check the path")
        }
        return text
    }
}
