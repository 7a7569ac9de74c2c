import ClearingModel
import LocalCluster
import Testing
import Wire

/// CSV of participants and mandates: read, written, and every fault with its line, column and reason.
struct DirectoryFileTests {
    private static let good = """
        id,kind,status,currency,limit,funding,sponsor
        1001,bank,active,156,5000000,100,
        7,paymentInstitution,,156,0,,
        9001,indirect,suspended,156,10,0,1001

        """

    private func faults(_ text: String) -> [String] {
        do {
            _ = try DirectoryFile(text: text, file: "p.csv")
            return []
        } catch {
            return error.faults.map(\.description)
        }
    }

    @Test func participants() throws {
        let file = try DirectoryFile(text: Self.good, file: "p.csv")
        #expect(file.lines == [2, 3, 4])
        let expected = [
            Participant(id: ParticipantID(1_001), kind: .bank, currency: 156, limit: 5_000_000, funding: 100),
            Participant(id: ParticipantID(7), kind: .paymentInstitution, currency: 156, limit: 0),
            Participant(
                id: ParticipantID(9_001), kind: .indirect, status: .suspended, currency: 156, limit: 10,
                sponsor: ParticipantID(1_001)),
        ]
        #expect(file.changes == expected.map { .participant($0) })
        #expect(try DirectoryFile(text: DirectoryFile.csv(expected), file: "p.csv").changes == file.changes)
        // Columns may stand in another order, with CRLF, quotes and notes.
        let other = "kind,id,limit,currency\r\n# a note\r\n\"bank\",1001,5,156\r\n"
        #expect(try DirectoryFile(text: other, file: "p.csv").changes.count == 1)
    }

    @Test func mandates() throws {
        let mandates = [
            Mandate(instructing: ParticipantID(7), debtors: .every(.bank), maximumAmount: 1_000_000),
            Mandate(
                instructing: ParticipantID(7), debtors: .one(ParticipantID(1_001)),
                kinds: [InstructionKinds(.payout), InstructionKinds(.gatewayPayment)], maximumAmount: 5, dailyCap: 50,
                revoked: true),
        ]
        let file = try DirectoryFile(text: DirectoryFile.csv(mandates), file: "m.csv")
        #expect(file.changes == mandates.map { .mandate($0) })
    }

    @Test(arguments: [
        ("1001,bank", "x1,bank", "line 2, column 1 (id): 'x1' is no whole number"),
        ("1001,bank", "0,bank", "line 2, column 1 (id): 0 is not within 1 to 4294967295"),
        ("7,paymentInstitution", "7,wallet", "line 3, column 3 (kind): 'wallet' is none of bank, paymentInstitution"),
        ("active,156", "active,1560", "line 2, column 18 (currency): 1560 is not within 1 to 999"),
        ("5000000", "50.00", "line 2, column 22 (limit): '50.00' is no whole number; money is in minor units"),
        (
            "suspended,156,10,0,1001", "suspended,156,10,0,",
            "line 4, column 34 (sponsor): an indirect participant needs"
        ),
        ("5000000,100,", "5000000,100", "line 2, column 30: 6 fields where the header has 7"),
        ("active,156", "\"active,156", "line 2, column 11: this quote is never closed"),
        ("7,paymentInstitution", "1001,paymentInstitution", "line 3, column 1 (id): participant 1001 stands in line 2"),
        ("currency,limit", "curency,limit", "line 1, column 16: unknown column 'curency'"),
        ("currency,limit", "limit,limit", "line 1, column 22: column 'limit' stands twice"),
    ])
    func brokenLines(old: String, new: String, expected: String) {
        let found = faults(Self.good.replacing(old, with: new))
        #expect(found.first?.hasPrefix(expected) == true, "\(found)")
    }

    @Test func everyFaultIsReportedAtOnce() {
        let found = faults(Self.good.replacing("bank", with: "bnk").replacing("indirect", with: "direct"))
        #expect(found.count == 2)
        #expect(faults("").first == "line 1, column 1: column 'id' is missing; the first line names the columns")
        #expect(faults("id,kind,currency,limit\n").first == "line 1, column 1: no line follows the header")
    }

    @Test func checkedAgainstTheDirectory() throws {
        let file = try DirectoryFile(text: Self.good, file: "p.csv")
        #expect(file.faults(existing: [], mandates: 0).isEmpty)
        let old = Participant(id: ParticipantID(7), kind: .bank, currency: 156, limit: 0)
        #expect(file.faults(existing: [old], mandates: 0).map(\.line) == [3])
        let orphan = try DirectoryFile(
            text: "id,kind,currency,limit,sponsor\n5,indirect,156,1,6\n", file: "p.csv")
        #expect(orphan.faults(existing: [old], mandates: 0).map(\.field) == ["sponsor"])
        let mandate = try DirectoryFile(
            text: "instructing,debtors,kinds,maximumAmount\n7,8,payments,1\n", file: "m.csv")
        #expect(mandate.faults(existing: [old], mandates: 0).map(\.field) == ["debtors"])
        #expect(mandate.faults(existing: [old], mandates: Limits.maximumMandates).count == 2)
    }
}
