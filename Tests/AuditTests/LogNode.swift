import ClearingModel
import Glibc
import Ledger
import LogFormat
import Raft
import Wire

/// A directory of its own that goes when the test ends.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/suanpan-audit-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "a temporary directory")
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit { Self.remove(path) }

    static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func remove(_ path: String) {
        for name in names(path) { remove("\(path)/\(name)") }
        if unlink(path) != 0 { rmdir(path) }
    }
}

/// One node's real log on real files, performed at once.
final class LogNode {
    let replica: ReplicaID
    let directory: String
    private(set) var log: NodeLog
    private let cluster: ClusterID
    private let shards: [ShardID]
    private let options: NodeLog.Options
    private var ops: [DiskOperation] = []
    private var events: [LogEvent] = []

    init(_ replica: ReplicaID, directory: String, cluster: ClusterID, shards: [ShardID], segmentBytes: Int) {
        self.replica = replica
        self.directory = directory
        self.cluster = cluster
        self.shards = shards
        var options = NodeLog.Options()
        options.segmentBytes = segmentBytes
        options.groupBytes = min(64 << 10, options.groupBytes)
        options.diskReserveBytes = 1
        self.options = options
        log = NodeLog(cluster: cluster, me: replica, shards: shards, options: options)
        mkdir(directory, 0o700)
        write(FileName.identity, 0, NodeIdentity(cluster: cluster, replica: replica).encoded)
        open()
    }

    /// Opens the directory as a restarted process does: a new life of the log.
    func open() {
        log = NodeLog(cluster: cluster, me: replica, shards: shards, options: options)
        log.recover(&ops)
        settle()
        precondition(
            events.contains { if case .recovered = $0 { true } else { false } },
            "recovery of node \(replica): \(events)")
        events = []
    }

    func change(_ body: (inout NodeLog) -> Void) { body(&log) }

    /// Writes everything staged.
    func settle() {
        log.flush(&ops)
        while !ops.isEmpty {
            let operation = ops.removeFirst()
            log.complete(
                DiskCompletion(id: operation.id, result: perform(operation.kind)), ops: &ops, events: &events)
            if ops.isEmpty { log.flush(&ops) }
        }
    }

    /// What a backfill would fetch, whatever its day.
    func missing(_ shard: ShardID) -> [IndexRange] { log.missing(of: shard, from: LogIndex(1)) }

    /// Entries as they are logged.
    func entries(_ shard: ShardID, _ from: LogIndex, _ through: LogIndex) -> [RaftEntry] {
        var found: [RaftEntry] = []
        while (found.last?.index ?? from.previous) < through {
            log.read(
                shard: shard, from: found.last?.index.next ?? from, maxBytes: 1 << 20, token: 1, ops: &ops,
                events: &events)
            settle()
            guard case .entries(_, let some)? = events.popLast() else { preconditionFailure("\(from) cannot be read") }
            found += some.filter { $0.index <= through }
        }
        return found
    }

    func checkpoint(
        _ shard: ShardID, index: LogIndex, term: Term, _ membership: Membership, _ content: CheckpointContent
    ) {
        log.writeCheckpoint(
            shard: shard, index: index, term: term, membership: membership, content: content, ops: &ops)
        settle()
    }

    func expire(_ retained: [(shard: ShardID, from: LogIndex)]) {
        log.expire(retained: retained, ops: &ops, events: &events)
        settle()
        precondition(events.contains { if case .expired = $0 { true } else { false } }, "nothing expired")
        events = []
    }

    // MARK: - Disk

    private func path(_ name: FileName) -> String { "\(directory)/\(name)" }

    private func withFile<R>(_ name: FileName, _ flags: Int32, _ body: (Int32) -> R) -> R {
        let file = Glibc.open(path(name), flags, 0o600)
        precondition(file >= 0, "open \(path(name)): \(errno)")
        defer { close(file) }
        return body(file)
    }

    private func write(_ name: FileName, _ offset: Int, _ bytes: [UInt8]) {
        withFile(name, O_RDWR | O_CREAT) { file in
            precondition(pwrite(file, bytes, bytes.count, off_t(offset)) == bytes.count)
        }
    }

    private func perform(_ kind: DiskOperation.Kind) -> DiskCompletion.Result {
        switch kind {
        case .list:
            return .names(
                TemporaryDirectory.names(directory).compactMap { text in
                    guard let name = FileName(text) else { return nil }
                    return FileEntry(name: name, size: UInt64(size(name)))
                })
        case .open(let name, let create):
            if !create, access(path(name), F_OK) != 0 { return .failed(DiskError(code: 2, message: "no such file")) }
            withFile(name, create ? O_RDWR | O_CREAT : O_RDWR) { _ in }
        case .preallocate(let name, let bytes):
            withFile(name, O_RDWR) { file in _ = size(name) < Int(bytes) ? ftruncate(file, off_t(bytes)) : 0 }
        case .fill(let name, let offset, let count):
            withFile(name, O_RDWR) { file in
                precondition(pwrite(file, [UInt8](repeating: 0, count: count), count, off_t(offset)) == count)
            }
        case .write(let name, let offset, let slabs):
            withFile(name, O_RDWR) { file in
                var at = Int(offset)
                for slab in slabs {
                    precondition(pwrite(file, slab.bytes.baseAddress, slab.count, off_t(at)) == slab.count)
                    withExtendedLifetime(slab) {}
                    at += slab.count
                }
            }
        case .sync, .syncDirectory, .close: break
        case .read(let name, let offset, let count):
            guard access(path(name), F_OK) == 0 else { return .failed(DiskError(code: 2, message: "no such file")) }
            return .bytes(
                Slab(
                    withFile(name, O_RDONLY) { file in
                        var bytes = [UInt8](repeating: 0, count: count)
                        let found = pread(file, &bytes, count, off_t(offset))
                        return Array(bytes.prefix(max(found, 0)))
                    }))
        case .size(let name): return .number(UInt64(size(name)))
        case .remove(let name): unlink(path(name))
        case .rename(let from, let to): rename(path(from), path(to))
        case .freeSpace: return .number(1 << 40)
        }
        return .done
    }

    private func size(_ name: FileName) -> Int {
        var status = stat()
        return stat(path(name), &status) == 0 ? Int(status.st_size) : 0
    }
}
