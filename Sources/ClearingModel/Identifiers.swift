/// A bare integer never stands in a signature: every id of the system is a type of its own.
/// Conformers wrap one integer and take `Hashable`, `Comparable` and their text form from here.
public protocol Identifier: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue: FixedWidthInteger & Sendable {
    init(rawValue: RawValue)
}

extension Identifier {
    @inlinable public init(_ value: RawValue) { self.init(rawValue: value) }
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public var description: String { String(rawValue) }
}

/// One node process of the cluster, numbered from 1.
public struct NodeID: Identifier {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// How often a node has come back with an empty disk; 1 for the disk it was made with.
public struct Incarnation: Identifier {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// A Raft group: 0 is the directory, clearing shards are numbered from 1.
public struct ShardID: Identifier {
    public let rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The group that holds participants, mandates, limits and the calendar.
    public static let directory = ShardID(rawValue: 0)
    public var isDirectory: Bool { rawValue == 0 }
    public var description: String { isDirectory ? "directory" : String(rawValue) }
}

/// A Raft term (Raft §5.1).
public struct Term: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = Term(rawValue: 0)
    public var next: Term { Term(rawValue: rawValue + 1) }
}

/// The place of an entry in the log of one shard; the first entry has index 1, 0 means "before the log".
public struct LogIndex: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = LogIndex(rawValue: 0)
    @inlinable public var next: LogIndex { LogIndex(rawValue: rawValue + 1) }
    /// The index before this one; `zero` stays `zero`.
    @inlinable public var previous: LogIndex { LogIndex(rawValue: rawValue == 0 ? 0 : rawValue - 1) }
    @inlinable public static func + (a: LogIndex, count: Int) -> LogIndex {
        LogIndex(rawValue: a.rawValue + UInt64(count))
    }
    /// How many entries lie between two indexes; negative if `b` is the later one.
    @inlinable public static func - (a: LogIndex, b: LogIndex) -> Int { Int(a.rawValue) - Int(b.rawValue) }
}

/// The number of a record in its shard, from 0, the same on every replica; 40 bits are used.
public struct Ordinal: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = Ordinal(rawValue: 0)
    public static let bits = 40
    /// How many records of a shard can be numbered.
    public static let count: UInt64 = 1 << UInt64(bits)
    @inlinable public static func + (a: Ordinal, count: Int) -> Ordinal {
        Ordinal(rawValue: a.rawValue + UInt64(count))
    }
}

/// A bank, payment institution or other member of the network; 0 is nobody.
public struct ParticipantID: Identifier {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let none = ParticipantID(rawValue: 0)
}

/// A day of the clearing calendar, in days since 1970-01-01.
public struct BusinessDay: Identifier {
    public let rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }
    public var next: BusinessDay { BusinessDay(rawValue: rawValue + 1) }
}

/// A settlement scheme: one currency, one settlement agent, one calendar.
public struct SchemeID: Identifier {
    public let rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// The domestic scheme, the only one a generated cluster has.
    public static let domestic = SchemeID(rawValue: 1)
}

/// A settlement window: a scheme and a number that counts up from 1. Windows of a scheme settle in order.
public struct WindowID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var scheme: SchemeID
    public var number: UInt32
    public init(scheme: SchemeID, number: UInt32) {
        self.scheme = scheme
        self.number = number
    }
    public static func < (a: WindowID, b: WindowID) -> Bool { (a.scheme, a.number) < (b.scheme, b.number) }
    public var description: String { "\(scheme)/\(number)" }
}

/// The number of a credit batch in one stream (source shard, destination shard); the first batch is 1.
public struct BatchNumber: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = BatchNumber(rawValue: 0)
    public var next: BatchNumber { BatchNumber(rawValue: rawValue + 1) }
}

/// Counts changes of the directory; every change has a version of its own.
public struct DirectoryVersion: Identifier {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = DirectoryVersion(rawValue: 0)
    public var next: DirectoryVersion { DirectoryVersion(rawValue: rawValue + 1) }
}

/// A cluster's 128-bit random id: stands in every log group and every hello, so that nothing of another cluster is
/// taken for ours.
public struct ClusterID: Hashable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public var description: String { Self.hex(high) + Self.hex(low) }

    /// Reads the text form: 32 hexadecimal digits.
    public init?(_ text: String) {
        guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
            let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// One replica of a group: a node with one particular disk. A wiped disk comes back as another replica.
public struct ReplicaID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var node: NodeID
    public var incarnation: Incarnation
    @inlinable public init(node: NodeID, incarnation: Incarnation) {
        self.node = node
        self.incarnation = incarnation
    }
    @inlinable public static func < (a: ReplicaID, b: ReplicaID) -> Bool {
        (a.node, a.incarnation) < (b.node, b.incarnation)
    }
    public var description: String { "\(node).\(incarnation)" }
}
