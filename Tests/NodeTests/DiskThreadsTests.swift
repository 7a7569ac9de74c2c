import ClearingModel
import Glibc
import LogFormat
import Node
import Synchronization
import Testing
import Wire

/// Operations performed one after the other on real files.
private final class Disk {
    let directory: DataDirectory
    let batches = Collector<DiskBatch>()
    let threads: DiskThreads
    private var next: UInt64 = 1

    init(_ path: String, faults: DiskFaults? = nil) throws {
        directory = try DataDirectory(path: path)
        let batches = batches
        threads = DiskThreads(directory: directory, faults: faults) { batches.add($0) }
    }

    deinit { threads.stop() }

    /// Performs operations as one batch; results in the order of the operations.
    func perform(_ kinds: [DiskOperation.Kind], lane: DiskOperation.Lane = .write) -> [DiskCompletion.Result] {
        let operations = kinds.map { kind in
            defer { next += 1 }
            return DiskOperation(id: next, lane: lane, kind: kind)
        }
        threads.submit(operations)
        return operations.map { operation in
            let batches = batches.wait { $0.contains { $0.completions.contains { $0.id == operation.id } } }
            for batch in batches {
                for completion in batch.completions where completion.id == operation.id { return completion.result }
            }
            return .failed(DiskError(code: 0, message: "no completion"))
        }
    }

    func perform(_ kind: DiskOperation.Kind, lane: DiskOperation.Lane = .write) -> DiskCompletion.Result {
        perform([kind], lane: lane)[0]
    }
}

extension DiskCompletion.Result {
    fileprivate var bytes: [UInt8]? { if case .bytes(let slab) = self { Array(slab.bytes) } else { nil } }
    fileprivate var isDone: Bool { if case .done = self { true } else { false } }
    fileprivate var number: UInt64? { if case .number(let number) = self { number } else { nil } }
    fileprivate var error: DiskError? { if case .failed(let error) = self { error } else { nil } }
    fileprivate var names: [FileEntry]? { if case .names(let names) = self { names } else { nil } }
}

private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
}

struct DiskThreadsTests {
    private let temporary = TemporaryDirectory()

    @Test func writesAreGatheredAndReadBack() throws {
        let disk = try Disk(temporary.path)
        let parts = (0..<40).map { Slab([UInt8](repeating: UInt8($0), count: 100 + $0)) } + [Slab.empty]
        let results = disk.perform([
            .open(.segment(1), create: true), .preallocate(.segment(1), bytes: 1 << 20),
            .write(.segment(1), offset: 4_096, parts), .sync(.segment(1)), .syncDirectory,
        ])
        #expect(results.allSatisfy { $0.isDone })
        let expected = parts.flatMap { Array($0.bytes) }
        #expect(disk.perform(.read(.segment(1), offset: 4_096, count: expected.count), lane: .read).bytes == expected)
        let reserved = disk.perform(.read(.segment(1), offset: 0, count: 16), lane: .read)
        #expect(reserved.bytes == Array(repeating: 0, count: 16))
        #expect(disk.perform(.size(.segment(1))).number == 1 << 20)
        // Fewer bytes at the end of the file.
        #expect(disk.perform(.read(.segment(1), offset: 1 << 20 - 5, count: 100)).bytes?.count == 5)
        #expect(disk.perform(.read(.segment(1), offset: 1 << 20, count: 100)).bytes == [])
        #expect(try #require(disk.perform(.freeSpace).number) > 0)
    }

    @Test(arguments: [false, true])
    func wholeBlocksPassThePageCacheByAndAreReadBack(deviceRefuses: Bool) throws {
        var faults = DiskFaults { _ in nil }
        faults.refusesDirect = deviceRefuses
        let disk = try Disk(temporary.path, faults: faults)
        // Larger than the memory that the blocks are gathered in at first, and in parts of any length.
        let block = (0..<5 << 18).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
        let parts = [Slab(Array(block[..<1_000])), .empty, Slab(Array(block[1_000...]))]
        let results = disk.perform([
            .open(.spareSegment, create: true), .preallocate(.spareSegment, bytes: 2 << 20),
            .write(.spareSegment, offset: 4_096, parts), .fill(.spareSegment, offset: 8_192, count: 8_192),
            .sync(.spareSegment),
        ])
        #expect(results.allSatisfy { $0.isDone })
        var expected = [UInt8](repeating: 0, count: 4_096) + block
        expected.replaceSubrange(8_192..<16_384, with: repeatElement(0, count: 8_192))
        #expect(disk.perform(.read(.spareSegment, offset: 0, count: expected.count), lane: .read).bytes == expected)
        // Written again under another name, over what the read above left in the page cache.
        _ = disk.perform([
            .rename(from: .spareSegment, to: .segment(1)),
            .write(.segment(1), offset: 8_192, [Slab([UInt8](repeating: 9, count: 4_096))]), .sync(.segment(1)),
        ])
        expected.replaceSubrange(8_192..<12_288, with: repeatElement(9, count: 4_096))
        #expect(disk.perform(.read(.segment(1), offset: 0, count: expected.count), lane: .read).bytes == expected)
    }

    @Test func filesAreListedRenamedAndRemoved() throws {
        let disk = try Disk(temporary.path)
        let name = FileName.checkpoint(ShardID(2), LogIndex(77))
        _ = disk.perform([
            .open(.checkpointTemporary(ShardID(2)), create: true),
            .write(.checkpointTemporary(ShardID(2)), offset: 0, [Slab([1, 2, 3])]),
            .rename(from: .checkpointTemporary(ShardID(2)), to: name), .open(.segment(9), create: true),
        ])
        // The lock file has no name that the log knows.
        let expected = [FileEntry(name: name, size: 3), FileEntry(name: .segment(9), size: 0)]
        #expect(disk.perform(.list).names == expected)
        let removed = disk.perform([.close(name), .remove(name), .remove(name)])
        #expect(removed.allSatisfy { $0.isDone })
        #expect(disk.perform(.list).names?.map(\.name) == [.segment(9)])
    }

    @Test func failuresSayWhatAndWhere() throws {
        let disk = try Disk(temporary.path)
        let error = try #require(disk.perform(.open(.segment(4), create: false), lane: .read).error)
        #expect(error.code == ENOENT)
        #expect(error.message.contains("segment-0000000004.log") && error.message.contains("No such file"))
        // No write and no sync: the lane goes on.
        #expect(disk.perform(.size(.segment(5))).error?.code == ENOENT)
        #expect(disk.perform(.open(.segment(4), create: true)).isDone)
    }

    @Test func nothingSucceedsBehindAFailedSync() throws {
        let failing = Flag()
        let faults = DiskFaults { operation in
            guard case .sync = operation.kind, failing.isSet.load(ordering: .relaxed) else { return nil }
            return DiskError(code: EIO, message: "injected")
        }
        let disk = try Disk(temporary.path, faults: faults)
        _ = disk.perform([.open(.segment(1), create: true), .open(.segment(2), create: true)])
        _ = disk.perform(.write(.segment(1), offset: 0, [Slab([1])]))
        failing.isSet.store(true, ordering: .relaxed)
        let results = disk.perform([
            .write(.segment(1), offset: 1, [Slab([2])]), .sync(.segment(1)), .sync(.segment(1)),
            .rename(from: .segment(1), to: .segment(2)),
        ])
        #expect(results[0].isDone)
        #expect(results[1].error?.code == EIO && results[2].error?.code == EIO && results[3].error?.code == EIO)
        failing.isSet.store(false, ordering: .relaxed)
        #expect(disk.perform(.sync(.segment(1))).error?.code == EIO)
        // The read lane is not the log.
        #expect(disk.perform(.read(.segment(1), offset: 0, count: 9), lane: .read).bytes == [1, 2])
    }

    @Test func aFullDiskIsReportedAsSuch() throws {
        let faults = DiskFaults { operation in
            guard case .preallocate = operation.kind else { return nil }
            return DiskError(code: DiskError.noSpaceCode, message: "full")
        }
        let disk = try Disk(temporary.path, faults: faults)
        _ = disk.perform(.open(.spareSegment, create: true))
        #expect(disk.perform(.preallocate(.spareSegment, bytes: 1)).error?.code == DiskError.noSpaceCode)
        #expect(disk.perform(.write(.spareSegment, offset: 0, [Slab([1])])).isDone)
    }

    @Test func aRenamedFileIsNotReadUnderItsOldName() throws {
        let disk = try Disk(temporary.path)
        _ = disk.perform([.open(.spareSegment, create: true), .write(.spareSegment, offset: 0, [Slab([1])])])
        #expect(disk.perform(.read(.spareSegment, offset: 0, count: 4), lane: .read).bytes == [1])
        _ = disk.perform([
            .rename(from: .spareSegment, to: .segment(1)), .open(.spareSegment, create: true),
            .write(.spareSegment, offset: 0, [Slab([2])]),
        ])
        #expect(disk.perform(.read(.spareSegment, offset: 0, count: 4), lane: .read).bytes == [2])
        #expect(disk.perform(.read(.segment(1), offset: 0, count: 4), lane: .read).bytes == [1])
    }

    @Test func moreFilesThanDescriptorsAreKept() throws {
        let disk = try Disk(temporary.path)
        for number in 1...300 as ClosedRange<UInt64> {
            _ = disk.perform([
                .open(.segment(number), create: true),
                .write(.segment(number), offset: 0, [Slab([UInt8(truncatingIfNeeded: number)])]),
            ])
        }
        for number in [1, 150, 300] as [UInt64] {
            let read = disk.perform(.read(.segment(number), offset: 0, count: 1))
            #expect(read.bytes == [UInt8(truncatingIfNeeded: number)])
        }
        let open = try #require(Self.openDescriptors())
        #expect(open < 250)
    }

    @Test func everyOperationIsTimed() throws {
        let disk = try Disk(temporary.path)
        _ = disk.perform([
            .open(.segment(1), create: true), .write(.segment(1), offset: 0, [Slab([1, 2]), Slab([3])]),
            .sync(.segment(1)), .read(.segment(1), offset: 0, count: 3),
        ])
        var statistics = DiskStatistics()
        for batch in disk.batches.all {
            #expect(batch.completions.count == batch.timings.count)
            statistics.add(batch)
        }
        #expect(statistics.writes == 1 && statistics.bytesWritten == 3 && statistics.syncs == 1)
        #expect(statistics.reads == 1 && statistics.bytesRead == 3 && statistics.writeLaneBusy > 0)
        #expect(statistics.syncTime.count == 1 && statistics.syncTime.sum > 0)
        // A sync is answered before what follows it is performed.
        #expect(disk.batches.all.contains { $0.timings.last?.work == .sync })
    }

    @Test func stopPerformsWhatWasHandedOver() throws {
        let directory = try DataDirectory(path: temporary.path)
        let batches = Collector<DiskBatch>()
        let threads = DiskThreads(directory: directory) { batches.add($0) }
        let operations = (0..<200).map {
            DiskOperation(id: UInt64($0), lane: $0 % 2 == 0 ? .write : .read, kind: .freeSpace)
        }
        threads.submit(operations)
        threads.stop()
        #expect(batches.all.reduce(0) { $0 + $1.completions.count } == 200)
        let written = batches.all.flatMap(\.completions).map(\.id).filter { $0 % 2 == 0 }
        #expect(written == written.sorted())
    }

    private static func openDescriptors() -> Int? {
        guard let stream = opendir("/proc/self/fd") else { return nil }
        defer { closedir(stream) }
        var count = 0
        while readdir(stream) != nil { count += 1 }
        return count
    }
}

struct DataDirectoryTests {
    private let temporary = TemporaryDirectory()

    @Test func twoNodesNeverShareOne() throws {
        let path = temporary.path + "/node-1/data"
        var first: DataDirectory? = try DataDirectory(path: path)
        #expect(throws: DataDirectoryError.inUse(path: path, pid: Int(getpid()))) { try DataDirectory(path: path) }
        #expect(first?.path == path)
        first = nil
        let again = try DataDirectory(path: path)
        #expect(again.path == path)
    }

    @Test func anImpossiblePathSaysWhy() throws {
        let error = #expect(throws: DataDirectoryError.self) { try DataDirectory(path: "/proc/nothing/here") }
        #expect(error?.description.contains("/proc/nothing") == true)
    }
}
