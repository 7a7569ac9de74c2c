import Audit
import LogFormat

/// A simulated disk as the audit's readers see a data directory.
final class DiskFiles: DataFiles {
    private let disk: any DiskView
    private var last: (text: String, name: FileName)?

    init(_ disk: any DiskView) { self.disk = disk }

    var names: [String] { disk.names.map(\.description) }

    func size(of name: String) -> Int? {
        guard let name = parsed(name) else { return nil }
        let count = disk.bytes(name).count
        return count > 0 ? count : nil
    }

    func read(_ name: String, _ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard let name = parsed(name) else { return 0 }
        let bytes = disk.bytes(name)
        let end = min(offset + buffer.count, bytes.count)
        guard offset < end else { return 0 }
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<end])) }
        return end - offset
    }

    private func parsed(_ text: String) -> FileName? {
        if let last, last.text == text { return last.name }
        guard let name = FileName(text) else { return nil }
        last = (text, name)
        return name
    }
}
