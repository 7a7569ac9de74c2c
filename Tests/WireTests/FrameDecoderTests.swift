import ClearingModel
import Testing
import Wire

@Suite("Frames off a byte stream")
struct FrameDecoderTests {
    static func frames(_ count: Int, random: inout SeededRandom) -> (bytes: [UInt8], payloads: [[UInt8]]) {
        var writer = WireWriter()
        var payloads: [[UInt8]] = []
        for n in 0..<count {
            let payload = (0..<random.below(600)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            payloads.append(payload)
            writer.frame(.submit, request: UInt64(n)) { writer in
                payload.withUnsafeBytes { writer.raw($0) }
            }
        }
        return (writer.bytes, payloads)
    }

    @Test("any cut of the stream yields the same frames", arguments: UInt64(1)...20)
    func anyCut(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let (bytes, payloads) = Self.frames(50, random: &random)
        var decoder = FrameDecoder()
        var seen: [[UInt8]] = []
        var offset = 0
        while offset < bytes.count {
            let end = min(bytes.count, offset + 1 + Int(random.below(700)))
            let error = bytes[offset..<end].withUnsafeBytes {
                decoder.feed($0) { header, payload in
                    #expect(header.request == UInt64(seen.count))
                    seen.append(Array(payload))
                }
            }
            #expect(error == nil)
            offset = end
        }
        #expect(seen == payloads)
        #expect(decoder.pendingBytes == 0)
    }

    @Test("each broken header is named")
    func brokenHeaders() {
        func error(_ change: (inout [UInt8]) -> Void) -> FrameError? {
            var writer = WireWriter()
            writer.frame(.submit, request: 1) { _ in }
            change(&writer.bytes)
            var decoder = FrameDecoder()
            return writer.bytes.withUnsafeBytes { decoder.feed($0) { _, _ in } }
        }
        #expect(error { _ in } == nil)
        #expect(error { $0[5] = 9 } == .unsupportedVersion(9))
        #expect(error { $0[4] = 200 } == .unknownType(200))
        #expect(error { $0[3] = 0x7F } == .tooLong(0x7F00_0010))
        #expect(error { $0[0] = 3 } == .tooShort(3))
        #expect(error { $0[6] = 1 } == .reservedNotZero(1))
    }
}
