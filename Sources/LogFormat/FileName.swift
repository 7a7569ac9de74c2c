import ClearingModel

/// A file of the log's directory.
public enum FileName: Hashable, Sendable, CustomStringConvertible {
    /// Who the directory belongs to, and how often it was opened.
    case identity
    case identityTemporary
    /// A segment of the log, numbered from 1; the highest number is the active one.
    case segment(UInt64)
    /// The next segment, preallocated; becomes a `segment` by being renamed.
    case spareSegment
    /// State of a shard after the entry at this index.
    case checkpoint(ShardID, LogIndex)
    case checkpointTemporary(ShardID)
    /// A snapshot that is being received from a peer.
    case snapshotIncoming(ShardID, LogIndex)

    /// A segment or the file that becomes the next one: always written in whole blocks.
    public var isSegment: Bool {
        switch self {
        case .segment, .spareSegment: true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .identity: "identity"
        case .identityTemporary: "identity.new"
        case .segment(let number): "segment-\(Self.padded(number, 10)).log"
        case .spareSegment: "segment.spare"
        case .checkpoint(let shard, let index):
            "checkpoint-\(Self.padded(UInt64(shard.rawValue), 5))-\(Self.padded(index.rawValue, 20)).state"
        case .checkpointTemporary(let shard): "checkpoint-\(Self.padded(UInt64(shard.rawValue), 5)).new"
        case .snapshotIncoming(let shard, let index):
            "incoming-\(Self.padded(UInt64(shard.rawValue), 5))-\(Self.padded(index.rawValue, 20)).part"
        }
    }

    /// Reads a name as `description` writes it; `nil` for any other.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let stem = parts.first else { return nil }
        let fields = stem.split(separator: "-", omittingEmptySubsequences: false)
        let numbers = fields.dropFirst().map { UInt64($0) }
        let shard = numbers.first.flatMap { $0 }.flatMap { UInt16(exactly: $0) }.map { ShardID($0) }
        let found: FileName? =
            switch (fields[0], numbers.count, parts.count == 2 ? parts[1] : "") {
            case ("identity", 0, ""): .identity
            case ("identity", 0, "new"): .identityTemporary
            case ("segment", 0, "spare"): .spareSegment
            case ("segment", 1, "log"): numbers[0].map { .segment($0) }
            case ("checkpoint", 1, "new"): shard.map { .checkpointTemporary($0) }
            case ("checkpoint", 2, "state"):
                if let shard, let index = numbers[1] { .checkpoint(shard, LogIndex(index)) } else { nil }
            case ("incoming", 2, "part"):
                if let shard, let index = numbers[1] { .snapshotIncoming(shard, LogIndex(index)) } else { nil }
            default: nil
            }
        guard let found, found.description == text else { return nil }
        self = found
    }

    private static func padded(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
