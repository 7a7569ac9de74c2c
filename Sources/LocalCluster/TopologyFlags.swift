import ClearingModel

/// A topology by numbers: what `cluster up --nodes 6 --shards 12 --replicas 3 --sites 3x2` asks for.
public struct TopologyFlags: Hashable, Sendable {
    public var nodes: Int
    public var shards: Int
    public var replicas: Int
    /// Cities, and data centres in each.
    public var cities: Int
    public var dataCentres: Int

    public init(nodes: Int, shards: Int, replicas: Int, cities: Int, dataCentres: Int) {
        self.nodes = nodes
        self.shards = shards
        self.replicas = replicas
        self.cities = cities
        self.dataCentres = dataCentres
    }

    /// Names that generated clusters use, in this order.
    public static let cityNames = [
        "Beijing", "Shanghai", "Shenzhen", "Guangzhou", "Chengdu", "Wuhan", "Hangzhou", "Nanjing",
    ]

    /// Sites for a number of nodes: three cities where there are nodes for them, two data centres each from six nodes on.
    public static func defaultSites(nodes: Int) -> (cities: Int, dataCentres: Int) {
        (min(max(nodes, 1), 3), nodes >= 6 ? 2 : 1)
    }

    /// Reads `3x2`; `nil` for another form.
    public static func parseSites(_ text: String) -> (cities: Int, dataCentres: Int)? {
        let parts = text.lowercased().split(separator: "x", omittingEmptySubsequences: false)
        guard parts.count == 2, let cities = Int(parts[0]), let centres = Int(parts[1]), cities > 0, centres > 0 else {
            return nil
        }
        return (cities, centres)
    }

    /// The plan for these numbers: nodes are dealt to the sites in blocks, so that neighbours in number are neighbours
    /// in place.
    public func plan() throws(FlagError) -> TopologyPlan {
        let sites = cities * dataCentres
        guard (1...Limits.maximumNodes).contains(nodes) else {
            throw FlagError("--nodes \(nodes): give 1 to \(Limits.maximumNodes)")
        }
        guard (1...Limits.maximumShards).contains(shards) else {
            throw FlagError("--shards \(shards): give 1 to \(Limits.maximumShards)")
        }
        guard replicas % 2 == 1, (1...Limits.maximumReplicas).contains(replicas) else {
            throw FlagError("--replicas \(replicas): give an odd number from 1 to \(Limits.maximumReplicas)")
        }
        guard cities <= Self.cityNames.count, dataCentres <= 26 else {
            throw FlagError(
                "--sites \(cities)x\(dataCentres): at most \(Self.cityNames.count) cities and 26 data centres")
        }
        guard nodes >= sites else {
            throw FlagError(
                "--sites \(cities)x\(dataCentres) has \(sites) data centres but there are only \(nodes) nodes: "
                    + "give every data centre a node, or fewer sites")
        }
        guard replicas <= nodes else {
            throw FlagError(
                "--replicas \(replicas) do not fit on --nodes \(nodes): add nodes or ask for fewer replicas")
        }
        var planned: [PlannedNode] = []
        for site in 0..<sites {
            let city = Self.cityNames[site / dataCentres]
            let letter = Character(UnicodeScalar(UInt8(ascii: "A") + UInt8(site % dataCentres)))
            for _ in 0..<(nodes / sites + (site < nodes % sites ? 1 : 0)) {
                planned.append(
                    PlannedNode(id: NodeID(UInt32(planned.count + 1)), city: city, dataCentre: "\(city)-\(letter)"))
            }
        }
        return TopologyPlan(shards: shards, replicas: replicas, nodes: planned)
    }
}

/// A flag whose value cannot be; commands exit with 64 on it.
public struct FlagError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
