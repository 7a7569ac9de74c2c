import ClearingModel
import Glibc
import TLS

/// The certificates of a local cluster: `ca.pem`, `node-N.pem`, `participant-N.pem`, `operator.pem`, `regulator.pem`,
/// each with its `.key` (mode 0600).
public struct Certificates: Hashable, Sendable {
    public let directory: String
    public init(directory: String) { self.directory = directory }

    public static let operatorName = "local"
    static let validDays = 365

    public func certificate(_ name: String) -> String { "\(directory)/\(name).pem" }
    public func key(_ name: String) -> String { "\(directory)/\(name).key" }
    public var authority: String { certificate("ca") }
    public static func name(of node: NodeID) -> String { "node-\(node)" }
    public static func name(of participant: ParticipantID) -> String { "participant-\(participant)" }

    /// The participants whose certificate is here: those that `load` and `submit` can speak for.
    public var participants: [ParticipantID] {
        let prefix = "participant-"
        return (FileStore.names(directory) ?? [])
            .filter { $0.hasPrefix(prefix) && $0.hasSuffix(".pem") }
            .compactMap { UInt32($0.dropFirst(prefix.count).dropLast(4)) }
            .map { ParticipantID($0) }.sorted()
    }

    /// Makes a new authority and everybody's certificate.
    func make(cluster: ClusterID, nodes: [NodeID], participants: [ParticipantID]) throws(LaunchError) {
        try FileStore.makeDirectory(directory, mode: 0o700)
        let validity = CertificateValidity(from: Self.wallTime(), days: Self.validDays)
        do {
            let authority = try CertificateAuthority(name: "Suanpan \(cluster)", validity: validity)
            try write("ca", authority.stored)
            func issue(_ name: String, _ role: Role) throws {
                try write(name, authority.issue([role], cluster: cluster, validity: validity))
            }
            for node in nodes { try issue(Self.name(of: node), .node(node)) }
            for participant in participants { try issue(Self.name(of: participant), .participant(participant)) }
            try issue("operator", .operator(Self.operatorName))
            try issue("regulator", .regulator(Self.operatorName))
        } catch let error as LaunchError {
            throw error
        } catch {
            throw .failed("certificates cannot be made: \(error)")
        }
    }

    /// Issues one more participant's certificate from the authority that is here.
    public func issue(participant: ParticipantID, cluster: ClusterID) throws(LaunchError) {
        try write(Self.name(of: participant), issue([participant], days: Self.validDays, cluster: cluster))
    }

    /// Credentials of a service bureau that instructs for several participants: one certificate that names them all, for
    /// a day, in memory only.
    public func bureau(_ participants: [ParticipantID], cluster: ClusterID) throws(LaunchError) -> TLSCredentials {
        let issued = try issue(participants, days: 1, cluster: cluster)
        guard let authority = FileStore.readBytes(authority) else {
            throw .file(path: authority, action: "read", code: errno)
        }
        return TLSCredentials(
            authorityPEM: authority, certificatePEM: issued.certificatePEM, keyPEM: issued.keyPEM)
    }

    private func issue(
        _ participants: [ParticipantID], days: Int, cluster: ClusterID
    ) throws(LaunchError) -> IssuedCertificate {
        guard let certificate = FileStore.readBytes(authority), let key = FileStore.readBytes(self.key("ca")) else {
            throw .file(path: authority, action: "read", code: errno)
        }
        do {
            let stored = IssuedCertificate(certificatePEM: certificate, keyPEM: key)
            let validity = CertificateValidity(from: Self.wallTime(), days: days)
            return try CertificateAuthority(stored)
                .issue(participants.map { .participant($0) }, cluster: cluster, validity: validity)
        } catch {
            let names = participants.map(\.description).joined(separator: ", ")
            throw .failed("a certificate of participant \(names) cannot be made: \(error)")
        }
    }

    private func write(_ name: String, _ issued: IssuedCertificate) throws(LaunchError) {
        try FileStore.replace(key(name), with: String(decoding: issued.keyPEM, as: UTF8.self), mode: 0o600)
        try FileStore.replace(certificate(name), with: String(decoding: issued.certificatePEM, as: UTF8.self))
    }

    private static func wallTime() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(rawValue: UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1_000)
    }
}
