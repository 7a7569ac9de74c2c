import ClearingModel
import Foundation
import TLS
import Testing

extension RealProcesses {
    @Test func certificatesAreReadAgain() throws {
        let cluster = try LocalCluster.up(nodes: 3, shards: 2)
        defer { cluster.end() }
        let node = try cluster.node(2)
        let pid = try #require(node.pid)
        let id = try #require(ClusterID(cluster.clusterID))
        let authority = try CertificateAuthority(cluster.stored("ca"))
        let caller = TLSCredentials(
            authority: authority,
            issued: try authority.issue([.operator("probe")], cluster: id, validity: .days(-1, 10)))
        func probe() throws -> TLSProbe { try TLSProbe(node.listener, caller) }
        func issue(
            _ mark: String, by issuer: CertificateAuthority? = nil, from: Int = -1, to: Int = 10, node: UInt32 = 2
        ) throws -> IssuedCertificate {
            // The mark is a URI of a form that means nothing, so that a connection shows which certificate it met.
            try (issuer ?? authority).issue(
                uris: [Role.node(NodeID(node)).uri(cluster: id), "test:\(mark)"], name: mark, serves: true,
                validity: .days(from, to))
        }
        /// Puts a certificate in place, sends SIGHUP, and waits for what the node says about it.
        func reload(_ issued: IssuedCertificate, says word: String) throws -> String {
            let before = cluster.log(of: 2).count
            try cluster.replace("node-2", with: issued)
            kill(pid, SIGHUP)
            var line: Substring?
            try eventually("'\(word)' in the log of node 2") {
                line = cluster.log(of: 2).dropFirst(before).split(separator: "\n").first { $0.contains(word) }
                return line != nil
            }
            return String(line!)
        }

        let old = try probe()
        #expect(old.uris == [Role.node(NodeID(2)).uri(cluster: id)])
        _ = try reload(issue("renewed"), says: "certificates reloaded")
        #expect(try probe().uris.contains("test:renewed"))
        // The connection from before is served on, and so are those between the nodes.
        #expect(try old.isAnswered(cluster.hello(id)))

        let stranger = try CertificateAuthority(name: "stranger", validity: .days(-1, 10))
        let good = try issue("unused")
        let unusable: [(IssuedCertificate, String)] = [
            (try issue("expired", from: -10, to: -1), "expired"),
            (try issue("early", from: 5, to: 10), "not yet valid"),
            (try issue("foreign", by: stranger), "issuer"),
            (try issue("other", node: 3), "node/3"),
            (IssuedCertificate(certificatePEM: good.certificatePEM, keyPEM: try issue("key").keyPEM), "private key"),
            (
                IssuedCertificate(certificatePEM: Array(good.certificatePEM.prefix(100)), keyPEM: good.keyPEM),
                "cannot be read"
            ),
        ]
        for (issued, why) in unusable {
            let line = try reload(issued, says: "certificates not reloaded")
            #expect(line.contains(why), "\(line)")
            #expect(try probe().uris.contains("test:renewed"), "a certificate that cannot be used changes nothing")
        }
        _ = try reload(issue("last"), says: "certificates reloaded")
        #expect(try probe().uris.contains("test:last"))

        #expect(!cluster.log(of: 2).contains("peer lost") && !cluster.log(of: 1).contains("peer lost"))
        #expect(try cluster.submit(Payment(sequence: 1)).code == 0)
        #expect(try cluster.node(2).pid == pid)

        // New connections between nodes use it too.
        try cluster.restart(.node(1))
        try cluster.awaitCaughtUp()
        // Its orderly end was no loss.
        for other in [2, 3] {
            #expect(cluster.log(of: other).contains("peer left"))
            #expect(!cluster.log(of: other).contains("peer lost"), "\(cluster.log(of: other))")
        }
        #expect(try cluster.submit(Payment(sequence: 2)).code == 0)
    }

    @Test func aNodeWithAnExpiredCertificateSaysSo() throws {
        let cluster = try LocalCluster.up(nodes: 1, shards: 1, "--replicas", "1")
        defer { cluster.end() }
        let id = try #require(ClusterID(cluster.clusterID))
        try cluster.down()
        let authority = try CertificateAuthority(cluster.stored("ca"))
        try cluster.replace(
            "node-1", with: authority.issue([.node(NodeID(1))], cluster: id, validity: .days(-10, -1)))
        let refused = try cluster.launch([
            LocalCluster.binary(), "node", "--config", "\(cluster.directory)/node-1/node.yaml",
        ]).wait()
        #expect(refused.code == 78 && refused.error.contains("expired"), "\(refused)")
        #expect(refused.error.contains("node-1.pem"), "\(refused)")
    }
}

extension CertificateValidity {
    /// Days counted from now.
    fileprivate static func days(_ from: Int, _ to: Int) -> CertificateValidity {
        func time(_ days: Int) -> WallTime {
            WallTime(rawValue: UInt64((Date().timeIntervalSince1970 + Double(days) * 86_400) * 1e6))
        }
        return CertificateValidity(notBefore: time(from), notAfter: time(to))
    }
}

extension LocalCluster {
    /// 32 hexadecimal digits, from the topology file.
    fileprivate var clusterID: String {
        let line = text("topology.yaml").split(separator: "\n").first { $0.hasPrefix("cluster:") } ?? ""
        return String(line.dropFirst(8)).trimmingCharacters(in: CharacterSet(charactersIn: " \""))
    }

    fileprivate func stored(_ name: String) -> IssuedCertificate {
        IssuedCertificate(
            certificatePEM: Array(text("certificates/\(name).pem").utf8),
            keyPEM: Array(text("certificates/\(name).key").utf8))
    }

    fileprivate func replace(_ name: String, with issued: IssuedCertificate) throws {
        try Data(issued.keyPEM).write(to: URL(fileURLWithPath: "\(path)/certificates/\(name).key"))
        try Data(issued.certificatePEM).write(to: URL(fileURLWithPath: "\(path)/certificates/\(name).pem"))
    }

    /// A client's hello, by docs/PROTOCOL.md.
    fileprivate func hello(_ cluster: ClusterID) -> [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
        let body: [UInt8] =
            bytes(UInt16(1)) + bytes(UInt16(1)) + bytes(cluster.high) + bytes(cluster.low) + [0] + bytes(UInt32(0))
            + bytes(UInt32(0)) + bytes(UInt16(4)) + Array("test".utf8)
        return bytes(UInt32(16 + body.count)) + [1, 1, 0, 0] + bytes(UInt64(0)) + body
    }
}
