import ClearingModel
import LogFormat
import Simulation
import Wire

/// A data directory in memory, told to a checker as it changes.
final class CheckedDisk: DiskView {
    private var files: [FileName: [UInt8]] = [:]
    private var synced: [FileName: [UInt8]] = [:]

    var names: [FileName] { files.keys.sorted { $0.description < $1.description } }
    func bytes(_ name: FileName) -> [UInt8] { files[name] ?? [] }
    func losePower() { files = synced }

    func flip(_ name: FileName, _ offset: Int) { files[name]![offset] ^= 1 }

    func empty() { (files, synced) = ([:], [:]) }

    func perform(_ operation: DiskOperation) -> DiskCompletion {
        DiskCompletion(id: operation.id, result: result(of: operation.kind))
    }

    private func result(of kind: DiskOperation.Kind) -> DiskCompletion.Result {
        switch kind {
        case .list: return .names(names.map { FileEntry(name: $0, size: UInt64(files[$0]!.count)) })
        case .open(let name, let create):
            guard files[name] != nil || create else { return .failed(DiskError(code: 2, message: "no such file")) }
            if files[name] == nil { (files[name], synced[name]) = ([], []) }
        case .preallocate(let name, let bytes):
            let missing = max(0, Int(bytes) - files[name, default: []].count)
            files[name, default: []].append(contentsOf: repeatElement(0, count: missing))
            synced[name, default: []].append(contentsOf: repeatElement(0, count: missing))
        case .fill(let name, let offset, let count):
            files[name]!.replaceSubrange(Int(offset)..<Int(offset) + count, with: repeatElement(0, count: count))
        case .write(let name, let offset, let slabs):
            var position = Int(offset)
            let end = slabs.reduce(position) { $0 + $1.count }
            let missing = max(0, end - files[name, default: []].count)
            files[name, default: []].append(contentsOf: repeatElement(0, count: missing))
            for slab in slabs {
                files[name]!.replaceSubrange(position..<position + slab.count, with: slab.bytes)
                position += slab.count
            }
        case .sync(let name): synced[name] = files[name]
        case .read(let name, let offset, let count):
            guard let file = files[name] else { return .failed(DiskError(code: 2, message: "no such file")) }
            let start = min(Int(offset), file.count)
            return .bytes(Slab(Array(file[start..<min(start + count, file.count)])))
        case .size(let name): return .number(UInt64(files[name]?.count ?? 0))
        case .remove(let name): (files[name], synced[name]) = (nil, nil)
        case .rename(let from, let to):
            files[to] = files.removeValue(forKey: from)
            synced[to] = synced.removeValue(forKey: from)
        case .syncDirectory, .close: break
        case .freeSpace: return .number(1 << 40)
        }
        return .done
    }

    /// Tells a checker what an operation did.
    static func tell(_ kind: DiskOperation.Kind, of node: NodeID, _ checker: Checker) {
        switch kind {
        case .write(let name, let offset, let slabs): checker.wrote(node, file: name, offset: offset, slabs: slabs)
        case .sync(let name): checker.synced(node, file: name)
        case .rename(let from, let to): checker.renamed(node, from: from, to: to)
        case .remove(let name): checker.removed(node, file: name)
        case .syncDirectory: checker.directorySynced(node)
        default: break
        }
    }
}
