import ClearingModel
import TLS
import Testing

@Suite("Own credentials are checked as peers will check them")
struct CredentialsTests {
    private let me = Role.node(NodeID(2))

    @Test func whatPeersAccept() throws {
        try credentials(makeAuthority(), [me]).check(me, in: cluster)
    }

    @Test func whatPeersRefuse() throws {
        let authority = try makeAuthority()
        let cases: [(TLSCredentials, String)] = [
            (try credentials(authority, [me], validity: past), "expired"),
            (try credentials(authority, [me], validity: future), "not yet valid"),
            (try credentials(authority, [me], trusting: makeAuthority("another")), "issuer"),
            (try credentials(authority, [.node(NodeID(3))]), "node/3"),
            (try credentials(authority, [.participant(ParticipantID(2))]), "participant/2"),
        ]
        for (credentials, why) in cases {
            let error = #expect(throws: TLSError.self) { try credentials.check(me, in: cluster) }
            #expect(error?.description.contains(why) == true, "\(error as Any)")
        }
        let error = #expect(throws: TLSError.self) {
            try credentials(authority, [me]).check(me, in: ClusterID(high: 9, low: 9))
        }
        #expect(error?.description.contains("suanpan://") == true)
        #expect(throws: TLSError.self) {
            try TLSCredentials(authorityPEM: [], certificatePEM: [1, 2], keyPEM: []).check(me, in: cluster)
        }
    }
}
