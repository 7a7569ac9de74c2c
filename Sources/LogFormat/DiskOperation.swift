import ClearingModel
import Wire

/// Something the log wants done on disk. The performer answers each with one `DiskCompletion` of the same id.
///
/// Operations of one lane are performed one at a time in the order in which they were emitted; a write and the sync behind it
/// rest on that order. Nothing is promised between the lanes: where that matters the log waits for a completion.
/// All files live in one directory. Apart from `open(create: true)` an operation opens its file by itself if it is not open.
public struct DiskOperation: Sendable {
    /// Who performs an operation.
    public enum Lane: Hashable, Sendable {
        /// The log thread: what acknowledgements wait for.
        case write
        /// A second thread: reads, which may have to wait for the disk and must not hold up the log.
        case read
        /// A third thread: checkpoints, the next segment, removals. They take long, and nobody waits for them.
        case background
    }

    public enum Kind: Sendable {
        /// Names and sizes of the directory's files; names that `FileName` does not know are left out. → `names`
        case list
        /// Opens a file, with `create` making it where it does not exist. → `done`
        case open(FileName, create: Bool)
        /// Reserves `bytes` for the file, so that writes below it need no new space; they read as zero. → `done`
        case preallocate(FileName, bytes: UInt64)
        /// Writes zeros over a part of reserved space, in whole blocks, so that later writes there find it written: where space is
        /// only reserved each sync has to change the file's extents, half of its time on ext4. → `done`
        case fill(FileName, offset: UInt64, count: Int)
        /// Writes the slabs behind each other at `offset`, at most 1,024 of them. → `done`
        case write(FileName, offset: UInt64, [Slab])
        /// Makes everything written to the file durable (fdatasync). → `done`
        case sync(FileName)
        /// Reads up to `count` bytes; fewer at the end of the file. → `bytes`
        case read(FileName, offset: UInt64, count: Int)
        /// → `number`
        case size(FileName)
        /// Removes the file; one that does not exist is no error. → `done`
        case remove(FileName)
        /// Renames, replacing what had the new name. → `done`
        case rename(from: FileName, to: FileName)
        /// Makes creations, renames and removals durable. → `done`
        case syncDirectory
        /// Free bytes of the file system. → `number`
        case freeSpace
        /// The file is not used for a while: its descriptor may be closed. → `done`
        case close(FileName)
    }

    public var id: UInt64
    public var lane: Lane
    public var kind: Kind

    public init(id: UInt64, lane: Lane, kind: Kind) {
        self.id = id
        self.lane = lane
        self.kind = kind
    }
}

/// Why the operating system refused an operation.
public struct DiskError: Error, Hashable, Sendable, CustomStringConvertible {
    /// `errno`.
    public var code: Int32
    public var message: String

    public init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    /// `ENOSPC` of Linux.
    public static let noSpaceCode: Int32 = 28
    /// `EIO` of Linux: the device cannot read the sector. The log treats what stood there as damaged.
    public static let unreadableCode: Int32 = 5

    public var description: String { "\(message) (errno \(code))" }
}

/// What became of an operation.
public struct DiskCompletion: Sendable {
    public enum Result: Sendable {
        case done
        case bytes(Slab)
        case names([FileEntry])
        case number(UInt64)
        /// A failed write or sync of the log's lane ends the process: what the page cache holds after it is unknown.
        case failed(DiskError)
    }

    public var id: UInt64
    public var result: Result

    public init(id: UInt64, result: Result) {
        self.id = id
        self.result = result
    }
}

/// One file of the log's directory.
public struct FileEntry: Hashable, Sendable {
    public var name: FileName
    public var size: UInt64

    public init(name: FileName, size: UInt64) {
        self.name = name
        self.size = size
    }
}
