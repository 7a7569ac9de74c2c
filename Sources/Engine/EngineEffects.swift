import ClearingModel
import LogFormat
import Wire

/// One TLS connection of this node; a slot that is used again gets another generation.
public struct ConnectionID: Identifier {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    init(slot: Int, generation: UInt32) { self.init(rawValue: UInt64(generation) << 32 | UInt64(slot)) }
    var slot: Int { Int(rawValue & 0xFFFF_FFFF) }
}

/// What the engine wants done, collected during a turn of the loop and carried out by the node in this order:
/// disk operations, output, connections to close, log lines.
public struct EngineEffects: Sendable {
    /// In order; write-lane operations reach the log thread in exactly this order.
    public var disk: [DiskOperation] = []
    /// Connections with output to take by `takeOutput`.
    public var dirty: [ConnectionID] = []
    /// Connections to close once their output has left.
    public var close: [ConnectionID] = []
    public var log: [EngineLog] = []
    /// Faults that an operator ordered, in a node that was started for them.
    public var faults: [Operation] = []
    /// A broken invariant or an unusable data directory: the process says this and ends.
    public var fatal: EngineFailure?

    public init() {}

    public var isEmpty: Bool {
        disk.isEmpty && dirty.isEmpty && close.isEmpty && log.isEmpty && faults.isEmpty && fatal == nil
    }
}

/// Why a node cannot go on.
public struct EngineFailure: Error, Sendable {
    /// Exit code 78: the configuration or data directory is at fault; 1: an invariant broke.
    public var isConfiguration: Bool
    /// What, where, and what to do.
    public var text: String

    public init(isConfiguration: Bool, text: String) {
        self.isConfiguration = isConfiguration
        self.text = text
    }
}

/// One event for the log: a name, severity, and what it is about.
public struct EngineLog: Sendable {
    public enum Severity: Sendable { case debug, info, notice, warning, error }
    public var severity: Severity
    public var event: String
    public var fields: [(String, String)]

    public init(_ severity: Severity, _ event: String, _ fields: [(String, String)] = []) {
        self.severity = severity
        self.event = event
        self.fields = fields
    }
}
