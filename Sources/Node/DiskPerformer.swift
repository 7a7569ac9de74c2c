import CPlatform
import Glibc
import LogFormat
import Wire

/// Performs the disk operations of one lane on its own thread.
struct DiskPerformer: ~Copyable {
    private let directory: DataDirectory
    private let lane: DiskOperation.Lane
    private let faults: DiskFaults?
    private var files: OpenFiles
    private var buffer: [UInt8] = []
    private var blocks = BlockBuffer()
    /// The write or sync of the log that failed. What the page cache holds after it is unknown, so nothing may succeed.
    private var broken: DiskError?
    /// Names that this thread removed or renamed since `takeChangedNames`.
    private var changedNames: [FileName] = []

    init(directory: DataDirectory, lane: DiskOperation.Lane, faults: DiskFaults?) {
        self.directory = directory
        self.lane = lane
        self.faults = faults
        files = OpenFiles(directory: directory.descriptor)
    }

    mutating func perform(_ operation: DiskOperation) -> DiskCompletion.Result {
        if let broken { return .failed(broken) }
        if let fault = faults?.check(operation) { return failed(operation, fault) }
        do throws(DiskError) {
            return try run(operation.kind)
        } catch {
            return failed(operation, error)
        }
    }

    /// Names whose descriptors the other thread must not use any more.
    mutating func takeChangedNames() -> [FileName] {
        defer { changedNames.removeAll() }
        return changedNames
    }

    /// The other thread removed or renamed these files.
    mutating func forget(_ names: [FileName]) {
        for name in names { files.close(name) }
    }

    private mutating func failed(_ operation: DiskOperation, _ error: DiskError) -> DiskCompletion.Result {
        if lane == .write {
            switch operation.kind {
            case .write, .sync, .syncDirectory: broken = error
            default: break
            }
        }
        return .failed(error)
    }

    private mutating func run(_ kind: DiskOperation.Kind) throws(DiskError) -> DiskCompletion.Result {
        switch kind {
        case .list: return .names(try list())
        case .open(let name, let create): _ = try file(name, create: create)
        case .preallocate(let name, let bytes):
            try check(suanpan_reserve_space(try file(name), bytes), "cannot reserve \(bytes) bytes for", name)
        case .fill(let name, let offset, let count): try fill(name, offset, count)
        case .write(let name, let offset, let slabs): try write(name, offset, slabs)
        case .sync(let name):
            let file = try file(name)
            try check(suanpan_sync_data(file), "fdatasync of", name)
            // Only a start and a snapshot read a checkpoint again: the page cache has better uses for the memory.
            if !name.isSegment { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }
        case .read(let name, let offset, let count): return .bytes(try read(name, offset, count))
        case .size(let name):
            var state = stat()
            try check(fstat(try file(name), &state) == 0 ? 0 : errno, "cannot stat", name)
            return .number(UInt64(state.st_size))
        case .remove(let name):
            forgetEverywhere(name)
            if unlinkat(directory.descriptor, name.description, 0) != 0, errno != ENOENT {
                throw error(errno, "cannot remove", name)
            }
        case .rename(let from, let to):
            forgetEverywhere(from)
            forgetEverywhere(to)
            if renameat(directory.descriptor, from.description, directory.descriptor, to.description) != 0 {
                throw error(errno, "cannot rename to \(to)", from)
            }
        case .syncDirectory:
            if fsync(directory.descriptor) != 0 {
                throw DiskError(code: errno, message: "fsync of directory \(directory.path): \(errorText(errno))")
            }
        case .freeSpace:
            var bytes: UInt64 = 0
            let code = suanpan_free_bytes(directory.descriptor, &bytes)
            if code != 0 { throw DiskError(code: code, message: "free space of \(directory.path): \(errorText(code))") }
            return .number(bytes)
        case .close(let name): files.close(name)
        }
        return .done
    }

    private mutating func forgetEverywhere(_ name: FileName) {
        files.close(name)
        changedNames.append(name)
    }

    private mutating func file(_ name: FileName, create: Bool = false) throws(DiskError) -> Int32 {
        switch files.descriptor(name, create: create) {
        case .success(let file): return file
        case .failure(let failure): throw error(failure.code, "cannot open", name)
        }
    }

    /// A device may take larger blocks only, which it says at the first write: EINVAL, and nothing is written.
    private var refusesDirect: Bool { faults?.refusesDirect ?? false }

    private mutating func write(_ name: FileName, _ offset: UInt64, _ slabs: [Slab]) throws(DiskError) {
        let count = slabs.reduce(0) { $0 + $1.count }
        let wholeBlocks = offset % UInt64(BlockBuffer.blockBytes) == 0 && count % BlockBuffer.blockBytes == 0
        if wholeBlocks, name.isSegment, let direct = files.directDescriptor(name) {
            let isRefused = refusesDirect
            let code = blocks.gather(slabs, count) { vector in
                var vector = vector
                return isRefused ? EINVAL : suanpan_write_all(direct, &vector, 1, offset)
            }
            if code != EINVAL { return try check(code, "write at \(offset) of", name) }
            files.giveUpDirect(name)
        }
        let file = try file(name)
        var vectors: [iovec] = []
        vectors.reserveCapacity(slabs.count)
        for slab in slabs where slab.count > 0 {
            // The system only reads from it.
            vectors.append(
                iovec(iov_base: UnsafeMutableRawPointer(mutating: slab.bytes.baseAddress), iov_len: slab.count))
        }
        let code = withExtendedLifetime(slabs) { suanpan_write_all(file, &vectors, Int32(vectors.count), offset) }
        try check(code, "write at \(offset) of", name)
    }

    private mutating func fill(_ name: FileName, _ offset: UInt64, _ count: Int) throws(DiskError) {
        if let direct = files.directDescriptor(name) {
            let code = refusesDirect ? EINVAL : suanpan_write_zeros(direct, offset, count)
            if code != EINVAL { return try check(code, "cannot write zeros to", name) }
            files.giveUpDirect(name)
        }
        let file = try file(name)
        try check(suanpan_write_zeros(file, offset, count), "cannot write zeros to", name)
        // Through the page cache they would reach the disk all at once some day, and the syncs of other files would wait.
        try check(suanpan_sync_data(file), "fdatasync of", name)
    }

    private mutating func read(_ name: FileName, _ offset: UInt64, _ count: Int) throws(DiskError) -> Slab {
        let file = try file(name)
        if buffer.count < count { buffer = [UInt8](repeating: 0, count: count) }
        var got = 0
        let code = buffer.withUnsafeMutableBytes { suanpan_read_all(file, $0.baseAddress, count, offset, &got) }
        try check(code, "read at \(offset) of", name)
        let slab = buffer.withUnsafeBytes { Slab(copying: UnsafeRawBufferPointer(rebasing: $0[..<got])) }
        // One large read must not hold its memory for ever.
        if buffer.count > 4 << 20 { buffer = [] }
        return slab
    }

    private func list() throws(DiskError) -> [FileEntry] {
        let copy = openat(directory.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else {
            throw DiskError(code: errno, message: "cannot list \(directory.path): \(errorText(errno))")
        }
        defer { closedir(stream) }
        var found: [FileEntry] = []
        while let entry = readdir(stream) {
            let text = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let name = FileName(text) else { continue }
            var state = stat()
            guard fstatat(directory.descriptor, text, &state, 0) == 0 else { throw error(errno, "cannot stat", name) }
            found.append(FileEntry(name: name, size: UInt64(state.st_size)))
        }
        return found.sorted { $0.name.description < $1.name.description }
    }

    private func check(_ code: Int32, _ what: String, _ name: FileName) throws(DiskError) {
        if code != 0 { throw error(code, what, name) }
    }

    private func error(_ code: Int32, _ what: String, _ name: FileName) -> DiskError {
        DiskError(code: code, message: "\(what) \(directory.path)/\(name): \(errorText(code))")
    }
}
