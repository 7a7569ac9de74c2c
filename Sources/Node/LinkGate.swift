import ClearingModel
import Wire

/// Applies a `LinkPolicy` per direction to one connection between two nodes: faults on purpose.
///
/// Works on whole frames, so that the stream stays readable however often the policy changes: it has to see a connection's bytes
/// from the first on, so a node started for faults makes its gates at the start, and any other node makes none. Policies outlive
/// connections; call `connectionEnded` between two. Sans-IO: the owner calls `release` when `nextDue` is reached.
///
///     send(parts) ──▶ [outgoing policy] ──▶ parts for the connection
///     bytes for the engine ◀── [incoming policy] ◀── receive(bytes)
public struct LinkGate {
    /// What waits in `delay`, at most; a link that holds more is broken.
    public static let maximumHeldBytes = 64 << 20

    public enum Verdict: Hashable, Sendable {
        /// Go on with what was handed out.
        case pass
        /// Abort the connection, with a TCP reset.
        case reset
    }

    private struct Held<Value> {
        var due: MonotonicTime
        var value: Value
        var bytes: Int
    }

    public private(set) var incoming: LinkPolicy
    public private(set) var outgoing: LinkPolicy
    /// Frames (incoming) or batches of whole frames (outgoing) that were dropped.
    public private(set) var dropped: UInt64 = 0
    public private(set) var heldBytes = 0
    private var heldIn: [Held<[UInt8]>] = []
    private var heldOut: [Held<[OutputQueue.Part]>] = []
    /// The beginning of an incoming frame whose rest is still to come.
    private var partial: [UInt8] = []

    public init(incoming: LinkPolicy = .pass, outgoing: LinkPolicy = .pass) {
        self.incoming = incoming
        self.outgoing = outgoing
    }

    /// Changes policies; `nil` leaves one as it is. Frames that wait keep their time.
    public mutating func set(incoming: LinkPolicy?, outgoing: LinkPolicy?) -> Verdict {
        if let incoming { self.incoming = incoming }
        if let outgoing { self.outgoing = outgoing }
        return self.incoming == .reset || self.outgoing == .reset ? .reset : .pass
    }

    /// The connection is gone, and with it what waited for it; the policies stay.
    public mutating func connectionEnded() {
        partial = []
        heldIn = []
        heldOut = []
        heldBytes = 0
    }

    /// Takes whole frames on their way out and hands on what may leave now.
    public mutating func send(
        _ parts: [OutputQueue.Part], now: MonotonicTime, _ pass: ([OutputQueue.Part]) -> Void
    ) -> Verdict {
        guard !parts.isEmpty else { return .pass }
        switch outgoing {
        case .reset: return .reset
        case .drop: dropped += 1
        case .pass where heldOut.isEmpty: pass(parts)
        case .pass, .delay:
            let bytes = parts.reduce(0) { $0 + $1.count }
            heldOut.append(Held(due: Self.due(outgoing, now, after: heldOut.last?.due), value: parts, bytes: bytes))
            return hold(bytes)
        }
        return .pass
    }

    /// Takes bytes as they came off the connection and hands on, in whole frames, what may pass now.
    public mutating func receive(
        _ bytes: UnsafeRawBufferPointer, now: MonotonicTime, _ pass: (UnsafeRawBufferPointer) -> Void
    ) -> Verdict {
        if partial.isEmpty { return frames(bytes, now, pass) }
        partial.append(contentsOf: bytes)
        var joined: [UInt8] = []
        swap(&joined, &partial)
        return joined.withUnsafeBytes { frames($0, now, pass) }
    }

    /// When `release` is to be called next; `nil` while nothing waits.
    public var nextDue: MonotonicTime? {
        [heldIn.first?.due, heldOut.first?.due].compactMap { $0 }.min()
    }

    /// Hands on what has waited long enough.
    public mutating func release(
        now: MonotonicTime, send: ([OutputQueue.Part]) -> Void, deliver: (UnsafeRawBufferPointer) -> Void
    ) {
        for held in Self.takeDue(&heldOut, now) {
            heldBytes -= held.bytes
            send(held.value)
        }
        for held in Self.takeDue(&heldIn, now) {
            heldBytes -= held.bytes
            held.value.withUnsafeBytes(deliver)
        }
    }

    private mutating func frames(
        _ bytes: UnsafeRawBufferPointer, _ now: MonotonicTime, _ pass: (UnsafeRawBufferPointer) -> Void
    ) -> Verdict {
        var whole = 0
        var count: UInt64 = 0
        scan: while bytes.count - whole >= FrameHeader.size {
            switch FrameHeader.parse(UnsafeRawBufferPointer(rebasing: bytes[whole...])) {
            case .success(let header):
                guard bytes.count - whole >= header.length else { break scan }
                whole += header.length
                count += 1
            case .failure:
                // The receiver reports it, and closes.
                whole = bytes.count
            }
        }
        if whole < bytes.count { partial.append(contentsOf: bytes[whole...]) }
        guard whole > 0 else { return incoming == .reset ? .reset : .pass }
        let run = UnsafeRawBufferPointer(rebasing: bytes[..<whole])
        switch incoming {
        case .reset: return .reset
        case .drop: dropped += count
        case .pass where heldIn.isEmpty: pass(run)
        case .pass, .delay:
            heldIn.append(
                Held(due: Self.due(incoming, now, after: heldIn.last?.due), value: Array(run), bytes: run.count))
            return hold(run.count)
        }
        return .pass
    }

    private mutating func hold(_ bytes: Int) -> Verdict {
        heldBytes += bytes
        return heldBytes > Self.maximumHeldBytes ? .reset : .pass
    }

    /// Never before what was held earlier: delay keeps the order.
    private static func due(_ policy: LinkPolicy, _ now: MonotonicTime, after: MonotonicTime?) -> MonotonicTime {
        let own: MonotonicTime =
            if case .delay(let milliseconds) = policy { now + .milliseconds(UInt64(milliseconds)) } else { now }
        return max(own, after ?? own)
    }

    private static func takeDue<Value>(_ held: inout [Held<Value>], _ now: MonotonicTime) -> [Held<Value>] {
        let count = held.prefix { $0.due <= now }.count
        defer { held.removeFirst(count) }
        return Array(held.prefix(count))
    }
}
