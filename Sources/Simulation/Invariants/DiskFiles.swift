import Audit
import LogFormat

/// A simulated disk as the audit's readers see a data directory.
final class DiskFiles: DataFiles {
    private let disk: any DiskView
    private var last: (text: String, name: FileName)?
    /// The names that a reader of logs looks for, as of the last `refresh`.
    private(set) var names: [String] = []

    init(_ disk: any DiskView) { self.disk = disk }

    var isHarmed: Bool { disk.isHarmed }

    /// Looks at the directory anew: files come and go only between two looks.
    func refresh() {
        names = disk.names.compactMap { name in
            if case .segment = name { name.description } else { nil }
        }
    }

    func size(of name: String) -> Int? {
        guard let name = parsed(name) else { return nil }
        let count = disk.contents(name)?.count ?? disk.bytes(name).count
        return count > 0 ? count : nil
    }

    func contents(of name: String) -> UnsafeRawBufferPointer? { parsed(name).flatMap { disk.contents($0) } }

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
