import LogFormat
import Wire

/// A data directory in memory that performs operations at once. What was not synced can be lost on purpose.
final class MemoryDisk {
    private var files: [FileName: [UInt8]] = [:]
    /// Contents as of the last sync of each file.
    private var synced: [FileName: [UInt8]] = [:]
    private(set) var syncs = 0
    private(set) var written = 0
    /// The newest group of the log holds no record: a closing mark (docs/LOG.md).
    var endsWithClosingMark: Bool {
        let last = names.last { if case .segment = $0 { true } else { false } }
        guard let last, let file = files[last] else { return false }
        var offset = 4_096
        var isMark = false
        while offset < file.count, Array(file[offset..<offset + 4]) == Array("SPRG".utf8) {
            isMark = file[offset + 6] & 1 == 1
            let length = (0..<4).reduce(0) { $0 | Int(file[offset + 64 + $1]) << (8 * $1) }
            offset += length
        }
        return isMark
    }
    var freeBytes: UInt64 = 1 << 40
    /// Operations that fail, for as long as this says so.
    var fails: (DiskOperation.Kind) -> Bool = { _ in false }
    /// What they fail with: EIO, if nothing else is said.
    var failureCode: Int32 = 5
    var names: [FileName] { files.keys.sorted { "\($0)" < "\($1)" } }

    func perform(_ operation: DiskOperation) -> DiskCompletion {
        if fails(operation.kind) {
            let error = DiskError(code: failureCode, message: "made to fail")
            return DiskCompletion(id: operation.id, result: .failed(error))
        }
        return DiskCompletion(id: operation.id, result: result(of: operation.kind))
    }

    /// The contents of this moment, to be put back later: a disk that forgets.
    func copy() -> MemoryDisk {
        let copy = MemoryDisk()
        copy.files = files
        copy.synced = synced
        return copy
    }

    /// Flips one bit where `pattern` first stands in a segment; false if it stands in none.
    func flipBit(where pattern: [UInt8]) -> Bool {
        for (name, bytes) in files {
            guard case .segment = name else { continue }
            guard
                let place = bytes.indices.dropLast(pattern.count).first(where: { place in
                    bytes[place] == pattern[0] && bytes[place..<place + pattern.count].elementsEqual(pattern)
                })
            else { continue }
            files[name]![place] ^= 1
            synced[name]![place] ^= 1
            return true
        }
        return false
    }

    /// Flips one bit of a file; a negative place counts from its end.
    func flipBit(of name: FileName, at place: Int) {
        let at = place < 0 ? files[name]!.count + place : place
        files[name]![at] ^= 1
        synced[name]![at] ^= 1
    }

    /// Changes a file as no program of ours would.
    func edit(_ name: FileName, _ body: (inout [UInt8]) -> Void) {
        body(&files[name]!)
        synced[name] = files[name]
    }

    /// The power fails: what was not synced is gone.
    func losePower() { files = synced }

    private func result(of kind: DiskOperation.Kind) -> DiskCompletion.Result {
        switch kind {
        case .list:
            return .names(
                files.map { FileEntry(name: $0.key, size: UInt64($0.value.count)) }.sorted {
                    "\($0.name)" < "\($1.name)"
                })
        case .open(let name, let create):
            if files[name] == nil {
                guard create else { return .failed(DiskError(code: 2, message: "no such file")) }
                files[name] = []
                synced[name] = []
            }
            return .done
        case .preallocate(let name, let bytes):
            let missing = Int(bytes) - files[name, default: []].count
            if missing > 0 {
                files[name, default: []].append(contentsOf: repeatElement(0, count: missing))
                synced[name, default: []].append(contentsOf: repeatElement(0, count: missing))
            }
            return .done
        case .fill(let name, let offset, let count):
            files[name]!.replaceSubrange(Int(offset)..<Int(offset) + count, with: repeatElement(0, count: count))
            return .done
        case .write(let name, let offset, let slabs):
            var position = Int(offset)
            written += slabs.reduce(0) { $0 + $1.count }
            let end = position + slabs.reduce(0) { $0 + $1.count }
            if files[name, default: []].count < end {
                files[name, default: []].append(
                    contentsOf: repeatElement(0, count: end - files[name, default: []].count))
            }
            for slab in slabs {
                files[name]!.replaceSubrange(position..<position + slab.count, with: slab.bytes)
                position += slab.count
            }
            return .done
        case .sync(let name):
            syncs += 1
            synced[name] = files[name]
            return .done
        case .read(let name, let offset, let count):
            guard let file = files[name] else { return .failed(DiskError(code: 2, message: "no such file")) }
            let start = min(Int(offset), file.count)
            return .bytes(Slab(Array(file[start..<min(start + count, file.count)])))
        case .size(let name):
            guard let file = files[name] else { return .failed(DiskError(code: 2, message: "no such file")) }
            return .number(UInt64(file.count))
        case .remove(let name):
            files[name] = nil
            synced[name] = nil
            return .done
        case .rename(let from, let to):
            files[to] = files.removeValue(forKey: from)
            synced[to] = synced.removeValue(forKey: from)
            return .done
        case .syncDirectory, .close: return .done
        case .freeSpace: return .number(freeBytes)
        }
    }
}
