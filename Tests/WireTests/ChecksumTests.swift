import CChecksum
import ClearingModel
import Testing
import Wire

@Suite("CRC-32C")
struct ChecksumTests {
    @Test("RFC 3720 B.4 vectors")
    func vectors() {
        #expect(Slab([UInt8](repeating: 0, count: 32)).checksum == 0x8A91_36AA)
        #expect(Slab([UInt8](repeating: 0xFF, count: 32)).checksum == 0x62A8_AB43)
        #expect(Slab((0..<32).map { UInt8($0) }).checksum == 0x46DD_794E)
    }

    @Test("the instruction and the table agree on random bytes of every short length and some long ones")
    func hardwareAgainstTable() {
        var random = SeededRandom(seed: 1)
        for length in Array(0..<300) + [767, 768, 769, 1_535, 1_536, 4_096, 5_000] {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            bytes.withUnsafeBytes {
                #expect(crc32c($0, from: 7) == suanpan_crc32c_portable(7, $0.baseAddress, $0.count))
            }
        }
    }
}
