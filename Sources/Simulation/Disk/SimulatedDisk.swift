import ClearingModel
import LogFormat
import Wire

/// The data directory of one simulated node, with everything that FAULTS.md lets a disk do to it.
///
/// An operation changes what a process sees at once; `sync` and `syncDirectory` make that durable. A killed process loses
/// nothing that it wrote; a power cut loses any of what was not synced, page by page and in any order, and undoes any
/// number of the latest creations, renames and removals.
final class SimulatedDisk: DiskView {
    private enum NameChange {
        case created(FileName)
        case renamed(from: FileName, to: FileName, replaced: SimulatedFile?)
        case removed(FileName, SimulatedFile)
    }

    @exclusivity(unchecked) private var files: [FileName: SimulatedFile] = [:] {
        didSet { sortedNames = nil }
    }
    @exclusivity(unchecked) private var sortedNames: [FileName]?
    /// Texts of names seen so far.
    @exclusivity(unchecked) private var texts: [FileName: String] = [:]
    @exclusivity(unchecked) private var unsyncedNames: [NameChange] = []
    /// Pages that the device cannot read any more.
    @exclusivity(unchecked) private var unreadable: [(file: FileName, page: Int)] = []
    /// Checkpoints that were damaged.
    private var harmedCheckpoints: [FileName] = []
    var isFull = false
    /// The next write or sync fails, once.
    var failsNextWrite = false
    var failsNextSync = false
    private(set) var syncs = 0
    private(set) var bytesWritten = 0

    /// In the order of their text.
    var names: [FileName] {
        if let sortedNames { return sortedNames }
        let sorted = files.keys.sorted { text($0) < text($1) }
        sortedNames = sorted
        return sorted
    }

    private func text(_ name: FileName) -> String {
        if let known = texts[name] { return known }
        let text = name.description
        texts[name] = text
        return text
    }

    func bytes(_ name: FileName) -> [UInt8] { files[name].map { Array($0.contents) } ?? [] }
    func contents(_ name: FileName) -> UnsafeRawBufferPointer? { files[name]?.contents }
    var isEmpty: Bool { files.isEmpty }
    var isHarmed: Bool {
        harmedCheckpoints.contains { files[$0] != nil } || unreadable.contains { files[$0.file] != nil }
    }

    // MARK: Operations

    func perform(_ kind: DiskOperation.Kind) -> DiskCompletion.Result {
        switch kind {
        case .list: return .names(names.map { FileEntry(name: $0, size: UInt64(files[$0]!.count)) })
        case .open(let name, let create): return open(name, create: create)
        case .preallocate(let name, let bytes):
            if isFull { return Self.full }
            return with(name) {
                $0.extend(to: Int(bytes))
                return .done
            }
        case .fill(let name, let offset, let count):
            return with(name) {
                $0.fill(Int(offset)..<Int(offset) + count)
                return .done
            }
        case .write(let name, let offset, let slabs): return write(name, Int(offset), slabs)
        case .sync(let name):
            if failsNextSync {
                failsNextSync = false
                files[name]?.failSync()
                return Self.broken
            }
            syncs += 1
            return with(name) {
                $0.sync()
                return .done
            }
        case .read(let name, let offset, let count): return read(name, Int(offset), count)
        case .size(let name): return with(name) { .number(UInt64($0.count)) }
        case .remove(let name):
            if let file = files.removeValue(forKey: name) { unsyncedNames.append(.removed(name, file)) }
            return .done
        case .rename(let from, let to):
            guard let file = files.removeValue(forKey: from) else { return Self.missing }
            unsyncedNames.append(.renamed(from: from, to: to, replaced: files[to]))
            files[to] = file
            return .done
        case .syncDirectory:
            unsyncedNames.removeAll()
            return .done
        case .freeSpace: return .number(isFull ? 1 << 20 : 1 << 40)
        case .close: return .done
        }
    }

    private static let missing = DiskCompletion.Result.failed(DiskError(code: 2, message: "no such file"))
    private static let broken = DiskCompletion.Result.failed(
        DiskError(code: DiskError.unreadableCode, message: "simulated device error"))
    private static let full = DiskCompletion.Result.failed(
        DiskError(code: DiskError.noSpaceCode, message: "simulated full disk"))

    private func with(
        _ name: FileName, _ body: (SimulatedFile) -> DiskCompletion.Result
    ) -> DiskCompletion.Result {
        guard let file = files[name] else { return Self.missing }
        return body(file)
    }

    private func open(_ name: FileName, create: Bool) -> DiskCompletion.Result {
        if files[name] == nil {
            guard create else { return Self.missing }
            if isFull { return Self.full }
            files[name] = SimulatedFile()
            unsyncedNames.append(.created(name))
        }
        return .done
    }

    private func write(_ name: FileName, _ offset: Int, _ slabs: [Slab]) -> DiskCompletion.Result {
        if failsNextWrite {
            failsNextWrite = false
            return Self.broken
        }
        guard let file = files[name] else { return Self.missing }
        var position = offset
        let total = slabs.reduce(0) { $0 + $1.count }
        if isFull, offset + total > file.count { return Self.full }
        for slab in slabs {
            file.write(slab.bytes, at: position)
            position += slab.count
        }
        // The zeros that reserve the next segment are no contents.
        if name != .spareSegment { file.wrote(offset..<position) }
        bytesWritten += total
        return .done
    }

    private func read(_ name: FileName, _ offset: Int, _ count: Int) -> DiskCompletion.Result {
        guard let file = files[name] else { return Self.missing }
        let start = min(offset, file.count)
        let range = start..<min(start + count, file.count)
        let hits = unreadable.contains {
            $0.file == name && $0.page * SimulatedFile.pageSize < range.upperBound
                && ($0.page + 1) * SimulatedFile.pageSize > range.lowerBound
        }
        if hits { return Self.broken }
        return .bytes(Slab(copying: UnsafeRawBufferPointer(rebasing: file.contents[range])))
    }

    // MARK: Faults

    /// The power fails: any part of what was not synced is lost.
    func losePower(_ random: inout SeededRandom) {
        let kept = Int(random.below(UInt64(unsyncedNames.count + 1)))
        for change in unsyncedNames[kept...].reversed() {
            switch change {
            case .created(let name): files[name] = nil
            case .renamed(let from, let to, let replaced):
                files[from] = files.removeValue(forKey: to)
                files[to] = replaced
            case .removed(let name, let file): files[name] = file
            }
        }
        unsyncedNames.removeAll()
        for name in names { files[name]!.losePower(&random) }
    }

    /// A process that does not trust the page cache starts to read: of what a failed sync was to write it finds what is there.
    /// Returns whether anything is missing.
    func dropCache(_ random: inout SeededRandom) -> Bool {
        var isAnyLost = false
        for name in names where files[name]!.dropCache(&random) { isAnyLost = true }
        return isAnyLost
    }

    /// Damages something durable that was written early enough to be told from a torn tail; `nil` where there is nothing.
    func damage(_ kind: DiskDamage, _ random: inout SeededRandom) -> String? {
        let candidates = names.filter { name in
            switch name {
            case .segment: files[name]!.settled.count > Self.tailWrites
            // It got its name when it was durable: nothing of it is a tail.
            case .checkpoint: !files[name]!.settled.isEmpty
            default: false
            }
        }
        guard !candidates.isEmpty else { return nil }
        let name = target(among: candidates, &random)
        guard case .checkpoint(let shard, _) = name, random.oneIn(3) else { return damage(name, kind, &random) }
        // All that a shard has: only a peer has the state then.
        let all = candidates.filter { if case .checkpoint(shard, _) = $0 { true } else { false } }
        let harm = all.compactMap { damage($0, kind, &random) }
        return harm.isEmpty ? nil : harm.joined(separator: ", ")
    }

    private func damage(_ name: FileName, _ kind: DiskDamage, _ random: inout SeededRandom) -> String? {
        let file = files[name]!
        // The newest writes of the newest segment may be its tail, where damage cannot be told from a crash.
        let eligible = file.settled.dropLast(name == newestSegment ? Self.tailWrites : 0)
        // The last write of an older one is its table.
        let last = random.oneIn(4) ? eligible.last : nil
        guard let range = last ?? eligible.randomElement(using: &random), !range.isEmpty else { return nil }
        // Headers stand in front of what they head, a segment's table at its end.
        let offset =
            switch random.below(4) {
            case 0: range.lowerBound + Int(random.below(UInt64(min(range.count, 64))))
            case 1: range.upperBound - 1 - Int(random.below(UInt64(min(range.count, 64))))
            default: range.lowerBound + Int(random.below(UInt64(range.count)))
            }
        let page = offset / SimulatedFile.pageSize
        let start = page * SimulatedFile.pageSize
        switch kind {
        case .bitRot:
            let bit = UInt8(1) << UInt8(random.below(8))
            file.damage { $0[offset] ^= bit }
        case .stalePage:
            // An old version of a page that was written once: nothing.
            file.damage { bytes in
                for at in start..<min(start + SimulatedFile.pageSize, bytes.count) { bytes[at] = 0 }
            }
        case .misdirectedWrite:
            // What was meant for one page stands on another one too, in place of its contents.
            guard let other = eligible.randomElement(using: &random) else { return nil }
            let source = other.lowerBound / SimulatedFile.pageSize * SimulatedFile.pageSize
            guard source != start else { return nil }
            file.damage { bytes in
                let end = min(SimulatedFile.pageSize, bytes.count - max(source, start))
                for at in 0..<max(0, end) { bytes[start + at] = bytes[source + at] }
            }
        case .unreadable: unreadable.append((name, page))
        }
        if case .checkpoint = name { harmedCheckpoints.append(name) }
        return "\(kind) in \(name) at \(offset)"
    }

    private var newestSegment: FileName? { names.last { if case .segment = $0 { true } else { false } } }

    /// Any file, or one that the next start has to read: the newest segment, or a checkpoint.
    private func target(among candidates: [FileName], _ random: inout SeededRandom) -> FileName {
        var few = candidates
        switch random.below(4) {
        case 0: few = candidates.filter { if case .checkpoint = $0 { true } else { false } }
        case 1: few = Array(candidates.filter { if case .segment = $0 { true } else { false } }.suffix(1))
        default: break
        }
        if few.isEmpty { few = candidates }
        return few[Int(random.below(UInt64(few.count)))]
    }

    /// Writes behind the last one that damage may hit: what the log may take for a torn tail.
    private static let tailWrites = 4

    /// The sectors that could not be read are replaced by the device: they read as zeros.
    func replaceUnreadable() {
        for (name, page) in unreadable {
            files[name]?.damage { bytes in
                let start = page * SimulatedFile.pageSize
                for at in start..<min(start + SimulatedFile.pageSize, bytes.count) { bytes[at] = 0 }
            }
        }
        unreadable.removeAll()
    }
}

/// Ways in which durable bytes go wrong.
enum DiskDamage: String, CaseIterable, Sendable {
    case bitRot, stalePage, misdirectedWrite, unreadable
}
