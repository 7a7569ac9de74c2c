import ClearingModel
import Client
import Glibc
import NIOPosix
import Synchronization

/// Writes lines to a file from a thread of its own; the event loop only appends to a buffer.
final class LineFile {
    private static let chunkBytes = 1 << 20
    private static let maximumQueuedBytes = 256 << 20

    /// Crosses between loop and writer thread.
    private final class Shared: Sendable {
        let queued = Atomic<Int>(0)
        let failure = Atomic<Int32>(0)
    }

    let path: String
    var buffer: [UInt8] = []
    private let descriptor: Int32
    private let writer = NIOThreadPool(numberOfThreads: 1)
    private let shared = Shared()

    init(path: String) throws(LoadError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .file(path: path, code: errno) }
        buffer.reserveCapacity(Self.chunkBytes + 4_096)
        writer.start()
    }

    /// Hands a full buffer to the writer. Waits where the disk is far behind: no line is dropped.
    @inline(__always)
    func lineEnded() {
        if buffer.count >= Self.chunkBytes { handOver() }
    }

    private func handOver() {
        guard !buffer.isEmpty else { return }
        while shared.queued.load(ordering: .relaxed) > Self.maximumQueuedBytes { usleep(1_000) }
        let bytes = buffer
        buffer = []
        buffer.reserveCapacity(Self.chunkBytes + 4_096)
        shared.queued.add(bytes.count, ordering: .relaxed)
        let (shared, descriptor) = (shared, descriptor)
        writer.submit { _ in
            Self.write(bytes, to: descriptor, shared)
            shared.queued.subtract(bytes.count, ordering: .releasing)
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32, _ shared: Shared) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return shared.failure.store(errno, ordering: .relaxed) }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }

    /// Writes the rest and closes the file. Not on the event loop.
    func finish() throws(LoadError) {
        handOver()
        // A pool that is shut down runs what still waits elsewhere and at once: the lines would lose their order.
        while shared.queued.load(ordering: .acquiring) > 0 { usleep(200) }
        try? writer.syncShutdownGracefully()
        close(descriptor)
        let code = shared.failure.load(ordering: .relaxed)
        if code != 0 { throw .file(path: path, code: code) }
    }
}

/// What a journal will hold, until the load is over: filled on the event loop, written by whoever waited for it.
final class KeptJournal {
    private struct End {
        var id: TransactionID
        var result: RecordResult
    }

    private static let chunkCount = 16_384
    private var full: [[End]] = []
    private var open: [End] = []
    /// Empty, with memory that the system has given already.
    private var spare: [[End]] = []

    /// - Parameter payments: how many are expected; more are taken.
    init(payments: Int) {
        let nothing = End(
            id: TransactionID(
                debtor: ParticipantID(0), instructing: ParticipantID(0), day: BusinessDay(rawValue: 0), sequence: 0),
            result: .unknown)
        spare.reserveCapacity(payments / Self.chunkCount + 1)
        for _ in 0..<payments / Self.chunkCount + 1 {
            var chunk = [End](repeating: nothing, count: Self.chunkCount)
            chunk.removeAll(keepingCapacity: true)
            spare.append(chunk)
        }
    }

    @inline(__always)
    func append(_ completion: Completion) {
        if open.count == Self.chunkCount { next() }
        open.append(End(id: completion.id, result: completion.result))
    }

    private func next() {
        full.append(open)
        open = spare.popLast() ?? []
        open.reserveCapacity(Self.chunkCount)
    }

    /// Writes everything, and gives its memory back on the way.
    func write(to file: LineFile, slots: SlotMap) {
        var format = JournalFormat()
        full.append(open)
        (open, spare) = ([], [])
        for index in full.indices {
            for end in full[index] {
                format.append(end.id, end.result, shard: slots.route(end.id), to: &file.buffer)
                file.lineEnded()
            }
            full[index] = []
        }
        full = []
    }
}

/// Formats journal lines by hand: `{"id", "outcome", "shard", "index", "slot", "window", "ledgerTime"}`.
///
/// `outcome` is the decision's name; `unknown`; `idConflict`; or the refusal's name, and then nothing was decided. Where
/// nothing is known of the place, its fields are 0. Duplicates carry the original's outcome and place.
struct JournalFormat {
    private var day = BusinessDay(0)
    private var dayText: [UInt8] = []
    private let outcomes: [[UInt8]]
    private let refusals: [[UInt8]]
    private let unknown = Array("unknown".utf8)
    private let conflict = Array("idConflict".utf8)
    private let other = Array("other".utf8)

    init() {
        outcomes = (0...UInt8.max).map { Outcome(rawValue: $0).map { Array($0.name.utf8) } ?? [] }
        refusals = (0...UInt8.max).map { RefusalCode(rawValue: $0).map { Array($0.name.utf8) } ?? [] }
    }

    mutating func append(_ id: TransactionID, _ result: RecordResult, shard: ShardID, to bytes: inout [UInt8]) {
        if id.day != day || dayText.isEmpty {
            day = id.day
            dayText = Array(day.compactText.utf8)
        }
        bytes.append(contentsOf: "{\"id\":\"".utf8)
        Self.number(UInt64(id.debtor.rawValue), to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.number(UInt64(id.instructing.rawValue), to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(contentsOf: dayText)
        bytes.append(UInt8(ascii: "-"))
        Self.number(id.sequence, to: &bytes)
        bytes.append(contentsOf: "\",\"outcome\":\"".utf8)
        switch result {
        case .decided(let decision):
            let name = outcomes[Int(decision.outcomeCode)]
            bytes.append(contentsOf: name.isEmpty ? other : name)
            place(decision, shard: decision.shard, to: &bytes)
        case .conflict(let decision):
            bytes.append(contentsOf: conflict)
            place(decision, shard: decision.shard, to: &bytes)
        case .refused(let code):
            bytes.append(contentsOf: refusals[Int(code.rawValue)])
            place(nil, shard: shard, to: &bytes)
        case .unknown, .expired:
            bytes.append(contentsOf: unknown)
            place(nil, shard: shard, to: &bytes)
        }
    }

    private func place(_ decision: Decision?, shard: ShardID, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: "\",\"shard\":".utf8)
        Self.number(UInt64(shard.rawValue), to: &bytes)
        bytes.append(contentsOf: ",\"index\":".utf8)
        Self.number(decision?.index ?? 0, to: &bytes)
        bytes.append(contentsOf: ",\"slot\":".utf8)
        Self.number(UInt64(decision?.slot ?? 0), to: &bytes)
        bytes.append(contentsOf: ",\"window\":".utf8)
        Self.number(UInt64(decision?.window ?? 0), to: &bytes)
        bytes.append(contentsOf: ",\"ledgerTime\":".utf8)
        Self.number(decision?.ledgerTime.rawValue ?? 0, to: &bytes)
        bytes.append(contentsOf: "}\n".utf8)
    }

    static func number(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var first = 20
            repeat {
                first -= 1
                digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            bytes.append(contentsOf: UnsafeBufferPointer(rebasing: digits[first..<20]))
        }
    }
}
