import ClearingModel
import Ledger
import Testing

@Suite("Transaction index of a day")
struct IndexPartitionTests {
    func slot(_ fingerprint: UInt64, _ n: Int) -> IndexSlot {
        IndexSlot(
            fingerprint: fingerprint, ordinal: Ordinal(UInt64(n)),
            outcome: Outcome.allCases[n % Outcome.allCases.count],
            bodyCheck: UInt16(truncatingIfNeeded: n))
    }

    /// Masks keep few bits: pages that cannot be told apart by the low ones, lines that all begin at one slot, one
    /// region.
    @Test(
        "agrees with a dictionary",
        arguments: [UInt64.max, 0xFFFF, 0xFFFF_0000_0FFF, 0xFFF0_0000_0000_00FF, 0x3_FFF0] as [UInt64])
    func model(mask: UInt64) {
        var random = SeededRandom(seed: mask)
        let index = IndexPartition()
        var model: [UInt64: IndexSlot] = [:]
        for n in 0..<60_000 {
            let fingerprint = random.next() & mask
            let new = slot(fingerprint, n)
            #expect(index.find(fingerprint) == model[fingerprint])
            #expect(index.insert(new) == (model[fingerprint] == nil))
            if model[fingerprint] == nil { model[fingerprint] = new }
        }
        #expect(index.count == model.count)
        for (fingerprint, slot) in model { #expect(index.find(fingerprint) == slot) }
        for _ in 0..<10_000 {
            let fingerprint = random.next() & mask
            #expect(index.find(fingerprint) == model[fingerprint])
        }
    }

    @Test("the digest does not depend on the order, and depends on every slot")
    func digest() {
        let forward = IndexPartition()
        let backward = IndexPartition()
        let other = IndexPartition()
        for n in 0..<5_000 {
            forward.insert(slot(UInt64(n) &* 0x9E37_79B9_7F4A_7C15, n))
            backward.insert(slot(UInt64(4_999 - n) &* 0x9E37_79B9_7F4A_7C15, 4_999 - n))
            other.insert(slot(UInt64(n) &* 0x9E37_79B9_7F4A_7C15, n == 77 ? 78 : n))
        }
        #expect(forward.digest == backward.digest)
        #expect(forward.digest != other.digest)
    }

    @Test("memory stays within 28 bytes a record while it grows")
    func memory() {
        var random = SeededRandom(seed: 7)
        let index = IndexPartition()
        var worst = 0.0
        for n in 1...3_000_000 {
            index.insert(slot(random.next(), n))
            if n >= 700_000, n % 20_000 == 0 { worst = max(worst, Double(index.byteCount) / Double(n)) }
        }
        #expect(worst <= 28, "\(worst) bytes a record at worst")
        #expect(Double(index.byteCount) / 3e6 <= 27)
    }

    @Test("fingerprints depend on every part of the id and on the cluster")
    func fingerprints() {
        let here = Fingerprint(cluster: testCluster)
        let id = payment(1, 2, 5, sequence: 1).id
        var ids = [id]
        for bit in 0..<32 {
            ids.append(
                TransactionID(
                    debtor: ParticipantID(1 ^ 1 << UInt32(bit)), instructing: id.instructing,
                    dayAndSequence: id.dayAndSequence))
            ids.append(
                TransactionID(
                    debtor: id.debtor, instructing: ParticipantID(1 ^ 1 << UInt32(bit)),
                    dayAndSequence: id.dayAndSequence))
        }
        for bit in 0..<64 {
            ids.append(
                TransactionID(
                    debtor: id.debtor, instructing: id.instructing, dayAndSequence: id.dayAndSequence ^ 1 << UInt64(bit)
                ))
        }
        #expect(Set(ids.map { here($0) }).count == ids.count)
        #expect(here(id) != Fingerprint(cluster: ClusterID(high: 0, low: 1))(id))
    }

    /// The reference implementation's vectors are of SipHash-2-4; these of 1-3 are those of Rust's standard library
    /// and of CPython, which use it: key 00…0f, messages 00, 00 01, ….
    @Test("SipHash-1-3 keeps its published values")
    func sipHash() {
        let key = SipHash(key0: 0x0706_0504_0302_0100, key1: 0x0F0E_0D0C_0B0A_0908)
        let bytes = (0..<16).map { UInt8($0) }
        let wanted: [UInt64] = [
            0xABAC_0158_050F_C4DC, 0xC9F4_9BF3_7D57_CA93, 0x82CB_9B02_4DC7_D44D, 0x8BF8_0AB8_E7DD_F7FB,
        ]
        for (length, value) in wanted.enumerated() {
            #expect(bytes[0..<length].withUnsafeBytes { key.hash($0) } == value, "length \(length)")
        }
    }
}
