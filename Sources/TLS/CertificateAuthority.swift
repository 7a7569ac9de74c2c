import COpenSSL
import ClearingModel

/// From when to when a certificate is valid; whole seconds count.
public struct CertificateValidity: Hashable, Sendable {
    public var notBefore: WallTime
    public var notAfter: WallTime

    public init(notBefore: WallTime, notAfter: WallTime) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// `days` from `now`, and an hour back, so that machines whose clocks differ a little can start at once.
    public init(from now: WallTime, days: Int) {
        let hour: UInt64 = 3_600_000_000
        notBefore = WallTime(rawValue: now.rawValue > hour ? now.rawValue - hour : 0)
        notAfter = WallTime(rawValue: now.rawValue + UInt64(days) * 24 * hour)
    }
}

/// A certificate and its private key, both as PEM text.
public struct IssuedCertificate: Hashable, Sendable {
    public var certificatePEM: [UInt8]
    public var keyPEM: [UInt8]

    public init(certificatePEM: [UInt8], keyPEM: [UInt8]) {
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }
}

/// A cluster's certificate authority: an EC P-256 key that signs the certificates of nodes, participants and operators.
///
/// Who the holder is stands in URIs (`Role.uri`), never in the subject, which is only a name for people to read.
public final class CertificateAuthority {
    private let certificate: Certificate
    private let key: PrivateKey

    /// Makes a new authority with a key of its own.
    public init(name: String, validity: CertificateValidity) throws(TLSError) {
        key = try PrivateKey.make()
        certificate = try Certificate.blank(subject: name, key: key, validity: validity)
        X509_set_issuer_name(certificate.pointer, X509_get_subject_name(certificate.pointer))
        try certificate.add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0", issuer: certificate)
        try certificate.add(NID_key_usage, "critical,keyCertSign,cRLSign", issuer: certificate)
        try certificate.add(NID_subject_key_identifier, "hash", issuer: certificate)
        try certificate.sign(with: key)
    }

    /// Reads an authority back from its two PEM texts.
    public init(_ stored: IssuedCertificate) throws(TLSError) {
        let chain = try Certificate.read(pem: stored.certificatePEM, what: "CA certificate")
        certificate = chain[0]
        key = try PrivateKey(pem: stored.keyPEM, what: "CA key")
        guard X509_check_private_key(certificate.pointer, key.pointer) == 1 else {
            ERR_clear_error()
            throw .keyMismatch
        }
    }

    /// The CA certificate, for everyone.
    public var certificatePEM: [UInt8] { certificate.pem }

    /// Certificate and key, to be kept with mode 0600.
    public var stored: IssuedCertificate { IssuedCertificate(certificatePEM: certificate.pem, keyPEM: key.pem) }

    /// A certificate for `roles` in `cluster` with a new key. Nodes may serve and call, everybody else may only call.
    public func issue(
        _ roles: [Role], cluster: ClusterID, validity: CertificateValidity
    ) throws(TLSError) -> IssuedCertificate {
        let serves = roles.contains { if case .node = $0 { true } else { false } }
        let name = roles.first.map { $0.description } ?? "nobody"
        return try issue(uris: roles.map { $0.uri(cluster: cluster) }, name: name, serves: serves, validity: validity)
    }

    /// A certificate that carries `uris` as they are, with a new key.
    public func issue(
        uris: [String], name: String, serves: Bool, validity: CertificateValidity
    ) throws(TLSError) -> IssuedCertificate {
        let key = try PrivateKey.make()
        let issued = try Certificate.blank(subject: name, key: key, validity: validity)
        X509_set_issuer_name(issued.pointer, X509_get_subject_name(certificate.pointer))
        try issued.add(NID_basic_constraints, "critical,CA:FALSE", issuer: certificate)
        try issued.add(NID_key_usage, "critical,digitalSignature", issuer: certificate)
        try issued.add(NID_ext_key_usage, serves ? "serverAuth,clientAuth" : "clientAuth", issuer: certificate)
        try issued.add(NID_subject_key_identifier, "hash", issuer: certificate)
        try issued.add(NID_authority_key_identifier, "keyid:always", issuer: certificate)
        try issued.add(uris: uris)
        try issued.sign(with: self.key)
        return IssuedCertificate(certificatePEM: issued.pem, keyPEM: key.pem)
    }
}
