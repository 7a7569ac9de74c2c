import ClearingModel
import Node
import Testing
import Wire

struct LinkGateTests {
    private func frame(_ request: UInt64, bytes: Int = 3) -> [UInt8] {
        var writer = WireWriter()
        writer.frame(.raft, request: request) { body in for _ in 0..<bytes { body.u8(UInt8(request)) } }
        return writer.bytes
    }

    private func receive(_ gate: inout LinkGate, _ bytes: [UInt8], at now: UInt64 = 0) -> (LinkGate.Verdict, [UInt8]) {
        var passed: [UInt8] = []
        let verdict = bytes.withUnsafeBytes { gate.receive($0, now: MonotonicTime(now)) { passed += Array($0) } }
        return (verdict, passed)
    }

    @Test func passHandsOnWholeFrames() {
        var gate = LinkGate()
        let stream = frame(1) + frame(2) + frame(3, bytes: 0)
        var passed: [UInt8] = []
        for byte in stream {
            let (verdict, now) = receive(&gate, [byte])
            #expect(verdict == .pass && now.count != 1)
            passed += now
        }
        #expect(passed == stream)
        #expect(receive(&gate, stream).1 == stream)
    }

    @Test func droppingKeepsTheStreamReadable() {
        var gate = LinkGate()
        let stream = (1...4).map { frame(UInt64($0)) }
        var passed = receive(&gate, stream[0] + stream[1][..<5]).1
        // Changed in the middle of frame 2, which is dropped whole.
        _ = gate.set(incoming: .drop, outgoing: nil)
        passed += receive(&gate, Array(stream[1][5...]) + Array(stream[2][..<7])).1
        _ = gate.set(incoming: .pass, outgoing: nil)
        passed += receive(&gate, Array(stream[2][7...]) + stream[3]).1
        #expect(passed == stream[0] + stream[2] + stream[3])
        #expect(gate.dropped == 1)
    }

    @Test func delayKeepsTheOrderAlsoWhenItEnds() {
        var gate = LinkGate(incoming: .delay(milliseconds: 10))
        #expect(receive(&gate, frame(1)).1.isEmpty)
        _ = gate.set(incoming: .pass, outgoing: nil)
        #expect(receive(&gate, frame(2), at: 1_000_000).1.isEmpty)
        #expect(gate.nextDue == MonotonicTime(10_000_000))
        var delivered: [UInt8] = []
        gate.release(now: MonotonicTime(9_999_999), send: { _ in }, deliver: { delivered += Array($0) })
        #expect(delivered.isEmpty)
        gate.release(now: MonotonicTime(10_000_000), send: { _ in }, deliver: { delivered += Array($0) })
        #expect(delivered == frame(1) + frame(2))
        #expect(gate.nextDue == nil && gate.heldBytes == 0)
        #expect(receive(&gate, frame(3)).1 == frame(3))
    }

    @Test func outgoingPolicies() {
        var gate = LinkGate()
        var sent: [Int] = []
        func send(_ count: Int, at now: UInt64) -> LinkGate.Verdict {
            let part = OutputQueue.Part.bytes([UInt8](repeating: 0, count: count))
            return gate.send([part], now: MonotonicTime(now)) { sent += $0.map(\.count) }
        }
        #expect(send(1, at: 0) == .pass)
        _ = gate.set(incoming: nil, outgoing: .drop)
        #expect(send(2, at: 0) == .pass)
        _ = gate.set(incoming: nil, outgoing: .delay(milliseconds: 1))
        #expect(send(3, at: 0) == .pass)
        #expect(sent == [1] && gate.dropped == 1)
        gate.release(now: MonotonicTime(1_000_000), send: { sent += $0.map(\.count) }, deliver: { _ in })
        #expect(sent == [1, 3])
        #expect(gate.set(incoming: nil, outgoing: .reset) == .reset)
        #expect(send(4, at: 0) == .reset)
    }

    @Test func aLinkThatHoldsTooMuchBreaks() {
        var gate = LinkGate(outgoing: .delay(milliseconds: 60_000))
        let slab = Slab([UInt8](repeating: 0, count: 1 << 20))
        var verdict = LinkGate.Verdict.pass
        for _ in 0...64 { verdict = gate.send([.slab(slab)], now: MonotonicTime(0)) { _ in } }
        #expect(verdict == .reset)
    }

    @Test func aNewConnectionStartsAtAFrame() {
        var gate = LinkGate(outgoing: .delay(milliseconds: 5))
        #expect(receive(&gate, Array(frame(1)[..<9])).1.isEmpty)
        _ = gate.send([.bytes([1])], now: MonotonicTime(0)) { _ in }
        gate.connectionEnded()
        #expect(gate.nextDue == nil && gate.heldBytes == 0)
        #expect(receive(&gate, frame(2)).1 == frame(2))
    }

    @Test func garbagePassesForTheReceiverToReport() {
        var gate = LinkGate()
        let garbage = [UInt8](repeating: 0xFF, count: 40)
        #expect(receive(&gate, frame(1) + garbage).1 == frame(1) + garbage)
    }
}
