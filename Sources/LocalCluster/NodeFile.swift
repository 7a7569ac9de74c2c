import ClearingModel

/// `node.yaml`: what one node process is started with. Paths in it count from the file's own directory.
public struct NodeFile: Hashable, Sendable {
    public static let version = 1
    static let keys = [
        "version", "node", "topology", "data", "certificate", "key", "authority", "allowFaults", "logLevel",
    ]
    public static let logLevels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]

    public var node: NodeID
    /// All paths are absolute once read.
    public var topology: String
    public var data: String
    public var certificate: String
    public var key: String
    public var authority: String
    public var allowFaults: Bool
    public var logLevel: String

    public init(
        node: NodeID, topology: String, data: String, certificate: String, key: String, authority: String,
        allowFaults: Bool = false, logLevel: String = "info"
    ) {
        self.node = node
        self.topology = topology
        self.data = data
        self.certificate = certificate
        self.key = key
        self.authority = authority
        self.allowFaults = allowFaults
        self.logLevel = logLevel
    }

    /// Reads a node's file.
    public init(path: String) throws(ConfigurationError) {
        let path = ClusterDirectory.absolute(path)
        try self.init(text: try TopologyFile.readText(path, what: "node file"), path: path)
    }

    /// Reads a node's file from its text; `path` (absolute) is where relative paths count from.
    public init(text: String, path: String) throws(ConfigurationError) {
        let block = try YAMLValue.parse(text, file: path).block("the node file", keys: Self.keys)
        let version = try block.required("version")
        let number = try version.number("version", in: 1...Int.max)
        guard number == Self.version else {
            throw version.error("version \(number) is not known here", "this suanpan reads version \(Self.version)")
        }
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        func resolved(_ key: String) throws(ConfigurationError) -> String {
            let text = try block.required(key).text(key)
            return Self.normalised(text.hasPrefix("/") ? text : "\(directory)/\(text)")
        }
        node = NodeID(try block.required("node").number("node", in: 1...UInt32.max))
        topology = try resolved("topology")
        data = try resolved("data")
        certificate = try resolved("certificate")
        key = try resolved("key")
        authority = try resolved("authority")
        allowFaults = try block["allowFaults"]?.flag("allowFaults") ?? false
        logLevel = try block["logLevel"]?.text("logLevel") ?? "info"
        guard Self.logLevels.contains(logLevel) else {
            throw block["logLevel"]!.error(
                "there is no log level '\(logLevel)'", "choose one of \(Self.logLevels.joined(separator: ", "))")
        }
    }

    /// The file of a node in a local cluster's directory.
    static func local(_ node: NodeID, allowFaults: Bool, logLevel: String) -> String {
        """
        # Node \(node) of the cluster in the directory above. Paths count from this file.
        version: \(version)
        node: \(node)
        topology: ../topology.yaml
        data: data
        certificate: ../certificates/node-\(node).pem
        key: ../certificates/node-\(node).key
        authority: ../certificates/ca.pem
        allowFaults: \(allowFaults)
        logLevel: \(logLevel)

        """
    }

    /// A path without `.` and `..` parts.
    private static func normalised(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") {
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}
