import Foundation

/// `cluster status --json`, as DESIGN has it.
struct ClusterStatus: Decodable {
    struct Node: Decodable {
        var id: Int
        var pid: pid_t?
        var state: String
        var city: String
        var dataCentre: String
        var address: String
        var admin: String
        var repairing: [Int]

        /// Address and port of the TLS listener.
        var listener: (address: String, port: UInt16) {
            let parts = address.split(separator: ":")
            return (String(parts[0]), UInt16(parts[1])!)
        }
        var adminPort: UInt16 { UInt16(admin.split(separator: ":").last!)! }
    }

    struct Shard: Decodable {
        var id: Int
        var leader: Int?
        var term: UInt64
        var commit: UInt64
        var applied: UInt64
        var replicas: [Int]
    }

    var nodes: [Node]
    var shards: [Shard]
}

/// What one node says of itself under `/status`.
struct NodeReport: Decodable {
    struct Shard: Decodable {
        var id: Int
        var role: String
        var commit: UInt64
        var applied: UInt64
        var replicas: [Replica]
    }
    struct Replica: Decodable, Hashable {
        var node: Int
        var incarnation: Int
        var part: String
    }

    struct Repair: Decodable, Hashable {
        var shard: Int
        var entries: Int
        var lacksState: Bool
    }

    var incarnation: Int
    var repairs: [Repair]
    var shards: [Shard]
}

extension LocalCluster {
    func status() throws -> ClusterStatus {
        let outcome = try mustRun(["cluster", "status", "--json"])
        return try JSONDecoder().decode(ClusterStatus.self, from: Data(outcome.out.utf8))
    }

    func node(_ number: Int) throws -> ClusterStatus.Node {
        guard let node = try status().nodes.first(where: { $0.id == number }) else {
            throw Failure("there is no node \(number)")
        }
        return node
    }

    func leader(of shard: Int) throws -> Int? { try status().shards.first { $0.id == shard }?.leader }

    func shards(ledBy node: Int) throws -> [Int] { try status().shards.filter { $0.leader == node }.map(\.id) }

    /// Waits until every node runs, every shard has a leader, and every replica has applied what its leader committed.
    func awaitCaughtUp(seconds: Double = 30) throws {
        var last = ""
        do {
            try eventually("all replicas caught up", seconds: seconds) {
                let reports = try status().nodes.compactMap { try report(of: $0) }
                guard reports.count == reports.first?.shards.first?.replicas.count else { return false }
                let groups = Dictionary(grouping: reports.flatMap(\.shards), by: \.id)
                last = groups.map { "\($0): \($1.map { "\($0.role) \($0.applied)/\($0.commit)" })" }.description
                return groups.values.allSatisfy { replicas in
                    guard let leader = replicas.first(where: { $0.role == "leader" }) else { return false }
                    return replicas.count == leader.replicas.count
                        && replicas.allSatisfy { $0.applied >= leader.commit }
                }
            }
        } catch {
            throw Failure("\(error); \(last)")
        }
    }

    func report(of node: ClusterStatus.Node) throws -> NodeReport? {
        guard node.state == "running", let page = try? HTTP.get("/status", port: node.adminPort), page.status == 200
        else { return nil }
        return try JSONDecoder().decode(NodeReport.self, from: Data(page.body.utf8))
    }

    /// All samples of a node's `/metrics`, by name with labels.
    func metrics(of node: Int) throws -> [String: Double] {
        let page = try HTTP.get("/metrics", port: try self.node(node).adminPort)
        var samples: [String: Double] = [:]
        for line in page.body.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ")
            samples[String(parts[0])] = Double(parts[1])
        }
        return samples
    }
}

/// Plain HTTP over a socket of its own: what a monitoring system sees.
enum HTTP {
    struct Page {
        var status: Int
        var headers: String
        var body: String
    }

    static func get(_ path: String, port: UInt16, method: String = "GET") throws -> Page {
        let socket = try RawSocket(connectingTo: "127.0.0.1", port: port)
        socket.send(Array("\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8))
        let text = String(decoding: socket.receiveAll(), as: UTF8.self)
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1).map(String.init)
        guard let head = parts.first, let status = head.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { throw Failure("no HTTP answer from port \(port): '\(text)'") }
        return Page(status: status, headers: head, body: parts.count > 1 ? parts[1] : "")
    }
}
