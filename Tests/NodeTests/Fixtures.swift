import Glibc
import Node
import Synchronization

/// A directory that is removed with this object.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/suanpan-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        let removed = removeTree(path)
        precondition(removed)
    }

    private func removeTree(_ path: String) -> Bool {
        guard let stream = opendir(path) else { return unlink(path) == 0 }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { _ = removeTree("\(path)/\(name)") }
        }
        closedir(stream)
        return rmdir(path) == 0
    }
}

/// Collects values from other threads and waits for a number of them.
final class Collector<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    func add(_ value: Value) { values.withLock { $0.append(value) } }

    var all: [Value] { values.withLock { $0 } }

    /// Everything collected, once there are `count` or after ten seconds.
    func wait(for count: Int) -> [Value] {
        wait { $0.count >= count }
    }

    func wait(until done: ([Value]) -> Bool) -> [Value] {
        for _ in 0..<10_000 {
            let now = all
            if done(now) { return now }
            usleep(1_000)
        }
        return all
    }
}
