import ClearingModel
import LogFormat
import Wire

/// A directory in memory with the manners of a real one: what was not synced may be lost, sector by sector, at a crash.
struct SimulatedDisk {
    static let sector = 512

    struct File {
        /// What a reader sees now.
        var bytes: [UInt8] = []
        /// What survives a crash for certain.
        var durable: [UInt8] = []
        /// Sectors written since the last sync.
        var dirty: Set<Int> = []
    }

    private(set) var files: [Int: File] = [:]
    private var names: [FileName: Int] = [:]
    private var durableNames: [FileName: Int] = [:]
    /// Changes of names since the directory was synced, in order.
    private var pendingNames: [(FileName, Int?)] = []
    private var nextFile = 1
    var freeBytes: UInt64 = 1 << 40
    /// Makes the operations fail for which it gives an error.
    var fault: ((DiskOperation.Kind) -> DiskError?)?

    mutating func perform(_ kind: DiskOperation.Kind) -> DiskCompletion.Result {
        if let error = fault?(kind) { return .failed(error) }
        switch kind {
        case .list:
            let entries = names.map { FileEntry(name: $0.key, size: UInt64(files[$0.value]!.bytes.count)) }
            return .names(entries.sorted { $0.name.description < $1.name.description })
        case .open(let name, let create):
            if names[name] == nil {
                guard create else { return missing(name) }
                files[nextFile] = File()
                setName(name, nextFile)
                nextFile += 1
            }
        case .preallocate(let name, let bytes):
            guard let file = names[name] else { return missing(name) }
            if bytes > freeBytes { return .failed(DiskError(code: DiskError.noSpaceCode, message: "no space")) }
            files[file]!.grow(to: Int(bytes))
        case .fill(let name, let offset, let count):
            guard let file = names[name] else { return missing(name) }
            files[file]!.write([UInt8](repeating: 0, count: count), at: Int(offset))
        case .write(let name, let offset, let slabs):
            guard let file = names[name] else { return missing(name) }
            var at = Int(offset)
            for slab in slabs {
                files[file]!.write(Array(slab.bytes), at: at)
                withExtendedLifetime(slab) {}
                at += slab.count
            }
        case .sync(let name):
            guard let file = names[name] else { return missing(name) }
            files[file]!.durable = files[file]!.bytes
            files[file]!.dirty = []
        case .read(let name, let offset, let count):
            guard let file = names[name] else { return missing(name) }
            let bytes = files[file]!.bytes
            let start = min(Int(offset), bytes.count)
            return .bytes(Slab(Array(bytes[start..<min(start + count, bytes.count)])))
        case .size(let name):
            guard let file = names[name] else { return missing(name) }
            return .number(UInt64(files[file]!.bytes.count))
        case .remove(let name): setName(name, nil)
        case .rename(let from, let to):
            guard let file = names[from] else { return missing(from) }
            setName(to, file)
            setName(from, nil)
        case .syncDirectory:
            durableNames = names
            pendingNames = []
        case .freeSpace: return .number(freeBytes)
        case .close: break
        }
        return .done
    }

    private func missing(_ name: FileName) -> DiskCompletion.Result {
        .failed(DiskError(code: 2, message: "no such file: \(name)"))
    }

    private mutating func setName(_ name: FileName, _ file: Int?) {
        names[name] = file
        pendingNames.append((name, file))
    }

    /// The power fails: of what was not synced, any sectors and any first part of the name changes survive.
    mutating func crash(_ random: inout SeededRandom) {
        let kept = Int(random.below(UInt64(pendingNames.count + 1)))
        names = durableNames
        for (name, file) in pendingNames.prefix(kept) { names[name] = file }
        durableNames = names
        pendingNames = []
        // How the unsynced sectors fare: none, all, or each by itself.
        let mood = random.below(3)
        for file in files.keys.sorted() {
            for sector in files[file]!.dirty.sorted() where mood == 1 || mood == 2 && random.below(2) == 0 {
                files[file]!.keep(sector)
            }
            files[file]!.bytes = files[file]!.durable
            files[file]!.dirty = []
        }
    }

    /// The process dies, the machine goes on: nothing is lost.
    mutating func processDies() {
        durableNames = names
        pendingNames = []
    }

    // MARK: - Hands of an adversary

    var fileNames: [FileName] { names.keys.sorted { $0.description < $1.description } }

    func bytes(_ name: FileName) -> [UInt8] { names[name].map { files[$0]!.bytes } ?? [] }

    func exists(_ name: FileName) -> Bool { names[name] != nil }

    mutating func edit(_ name: FileName, _ body: (inout [UInt8]) -> Void) {
        let file = names[name]!
        body(&files[file]!.bytes)
        files[file]!.durable = files[file]!.bytes
    }

    mutating func flip(_ name: FileName, at offset: Int, bit: Int = 3) {
        edit(name) { $0[offset] ^= 1 << UInt8(bit) }
    }

    mutating func delete(_ name: FileName) {
        names[name] = nil
        durableNames[name] = nil
    }
}

extension SimulatedDisk.File {
    fileprivate mutating func grow(to count: Int) {
        guard bytes.count < count else { return }
        bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
        durable.append(contentsOf: repeatElement(0, count: count - durable.count))
    }

    fileprivate mutating func write(_ new: [UInt8], at offset: Int) {
        guard !new.isEmpty else { return }
        grow(to: offset + new.count)
        bytes.replaceSubrange(offset..<offset + new.count, with: new)
        for sector in offset / SimulatedDisk.sector...(offset + new.count - 1) / SimulatedDisk.sector {
            dirty.insert(sector)
        }
    }

    fileprivate mutating func keep(_ sector: Int) {
        let start = sector * SimulatedDisk.sector
        let end = min(start + SimulatedDisk.sector, bytes.count)
        durable.replaceSubrange(start..<end, with: bytes[start..<end])
    }
}
