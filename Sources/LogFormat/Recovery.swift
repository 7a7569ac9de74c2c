import ClearingModel
import Raft
import Wire

/// Recovery under way: one operation at a time.
struct Recovery {
    enum Step: Hashable {
        case listing
        case identity
        case checkpointHeader
        case segmentHeader
        case tableFooter
        case tableBody
        case nextGroup
        case scanning
        case salvaging
        case memberships
        case firstSegment
        case identityNamed
        case segmentSynced
        case opening

        /// Whether the step reads what a file holds.
        var isRead: Bool {
            switch self {
            case .identity, .checkpointHeader, .segmentHeader, .tableFooter, .tableBody, .nextGroup, .scanning,
                .salvaging,
                .memberships:
                true
            case .listing, .firstSegment, .identityNamed, .segmentSynced, .opening: false
            }
        }
    }

    var step = Step.listing
    var files: [FileEntry] = []
    var highestLife: UInt64 = 0

    // Cursors
    var checkpointFiles: [FileEntry] = []
    var segmentFiles: [(number: UInt64, size: Int)] = []
    var cursor = 0

    // The segment being read
    var footer: TableFooter?
    var limit: Int?
    var scan: SegmentScan?
    var windowStart = 0
    /// The window so far, where it has to be read block by block.
    var patchwork: [UInt8]?
    var regions: [Resolution.Region] = []
    var lastGroup: UInt64 = 0
    var end = SegmentHeader.bytes

    // Per shard
    var suspectTail: [Bool]
    var suspectHard: [Bool]
    /// The commit hint before the damage that is in doubt: later ones say nothing of what was there before.
    var trusted: [LogIndex?]
    /// Memberships found, payloads of some still unread.
    var configurations: [[FoundMembership]]
    var starts: [FoundMembership?]
    var wanted: [(slot: Int, isStart: Bool, found: FoundMembership)] = []
    /// Where damage was met last.
    var damageAt: [LogAddress?]
    var damages: [LogEvent] = []

    init(shardCount: Int) {
        suspectTail = Array(repeating: false, count: shardCount)
        suspectHard = suspectTail
        trusted = Array(repeating: nil, count: shardCount)
        configurations = Array(repeating: [], count: shardCount)
        starts = Array(repeating: nil, count: shardCount)
        damageAt = Array(repeating: nil, count: shardCount)
    }

    var segment: (number: UInt64, size: Int) { segmentFiles[cursor] }
    var isNewest: Bool { cursor == segmentFiles.count - 1 }
}

/// A membership in the log, perhaps still to be read.
struct FoundMembership {
    var index: LogIndex
    var segment: UInt64
    var header: RecordHeader
    var payload: Slab?
}
