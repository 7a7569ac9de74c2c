import ClearingModel
import Testing

@Suite("The 128-byte record")
struct InstructionLayoutTests {
    @Test("bounds agree with each other")
    func limits() { Limits.check() }

    @Test("every field stands at its offset of DOMAIN's table")
    func offsets() {
        #expect(MemoryLayout<Instruction>.size == 128)
        #expect(MemoryLayout<Instruction>.offset(of: \.id) == 0)
        #expect(MemoryLayout<Instruction>.offset(of: \.relatedID) == 16)
        #expect(MemoryLayout<Instruction>.offset(of: \.amount) == 32)
        #expect(MemoryLayout<Instruction>.offset(of: \.creditor) == 40)
        #expect(MemoryLayout<Instruction>.offset(of: \.currency) == 44)
        #expect(MemoryLayout<Instruction>.offset(of: \.kindCode) == 46)
        #expect(MemoryLayout<Instruction>.offset(of: \.flags) == 47)
        #expect(MemoryLayout<Instruction>.offset(of: \.acceptBy) == 48)
        #expect(MemoryLayout<Instruction>.offset(of: \.purpose) == 52)
        #expect(MemoryLayout<Instruction>.offset(of: \.confirmationTimeout) == 54)
        #expect(MemoryLayout<Instruction>.offset(of: \.debtorAccount) == 56)
        #expect(MemoryLayout<Instruction>.offset(of: \.creditorAccount) == 64)
        #expect(MemoryLayout<Instruction>.offset(of: \.merchant) == 72)
        #expect(MemoryLayout<Instruction>.offset(of: \.reference) == 80)
        #expect(MemoryLayout<Instruction>.offset(of: \.agreement) == 88)
        #expect(MemoryLayout<Instruction>.offset(of: \.digest) == 96)
    }

    @Test("an id keeps its text form")
    func idText() throws {
        let day = try #require(BusinessDay(year: 2026, month: 11, day: 23))
        let id = TransactionID(debtor: ParticipantID(104), instructing: ParticipantID(7), day: day, sequence: 42)
        #expect(id.description == "104-7-20261123-42")
        #expect(TransactionID("104-7-20261123-42") == id)
        let broken = [
            "", "104-7-20261123", "104-7-20261323-1", "104-7-20260230-1", "-1-7-20261123-4",
            "1-2-20261123-281474976710656",
        ]
        for bad in broken {
            #expect(TransactionID(bad) == nil, "\(bad)")
        }
    }

    @Test("every civil date of 120 years goes there and back")
    func dates() {
        for raw in UInt16(0)..<44_000 {
            let day = BusinessDay(raw)
            let (y, m, d) = day.civil
            #expect(BusinessDay(year: y, month: m, day: d) == day)
        }
    }
}
