import Workload

/// Under what conditions figures were taken.
public struct Manifest: Hashable, Sendable {
    public var commit: String
    public var fileSystem: FileSystem
    public var directory: String
    public var seconds: Double
    public var seed: UInt64
    public var mix: LoadMix
    public var nodes: Int
    public var shards: Int
    public var participants: Int
    /// Seconds since 1970.
    public var time: UInt64

    public init(
        commit: String, fileSystem: FileSystem, directory: String, seconds: Double, seed: UInt64, mix: LoadMix,
        nodes: Int, shards: Int, participants: Int, time: UInt64
    ) {
        self.commit = commit
        self.fileSystem = fileSystem
        self.directory = directory
        self.seconds = seconds
        self.seed = seed
        self.mix = mix
        self.nodes = nodes
        self.shards = shards
        self.participants = participants
        self.time = time
    }

    public var json: String {
        let disk = JSONText.object([
            ("type", JSONText.string(fileSystem.type)), ("device", JSONText.string(fileSystem.device)),
            ("options", JSONText.string(fileSystem.options)),
        ])
        return JSONText.object([
            ("commit", JSONText.string(commit)), ("time", "\(time)"), ("kernel", JSONText.string(Machine.kernel)),
            ("cpu", JSONText.string(Machine.processorName)), ("cores", "\(Machine.processors)"),
            ("memoryBytes", "\(Machine.memoryBytes)"), ("fileSystem", disk),
            ("tls", JSONText.string("1.3, both sides authenticated")),
            ("fsync", JSONText.string("fdatasync on a majority before every acknowledgement")),
            ("nodes", "\(nodes)"), ("shards", "\(shards)"), ("replicas", "3"), ("participants", "\(participants)"),
            ("seed", "\(seed)"), ("mix", JSONText.string(mix.rawValue)), ("seconds", JSONText.number(seconds)),
            ("generatorOnSameCores", "true"),
        ])
    }

    public var text: String {
        """
        \(commit), \(Machine.processorName), \(Machine.description)
        \(nodes) nodes, \(shards) shards, 3 replicas, \(participants) participants, mix \(mix.rawValue), seed \(seed); \
        TLS 1.3, fdatasync before every acknowledgement
        data on \(fileSystem.type) (\(fileSystem.device)), \(directory); nodes and load share the cores
        """
    }
}
