import COpenSSL
import ClearingModel

/// What one side of a connection needs: the cluster's CA, its own certificate (chain) and private key, as PEM texts.
public struct TLSCredentials: Hashable, Sendable {
    public var authorityPEM: [UInt8]
    public var certificatePEM: [UInt8]
    public var keyPEM: [UInt8]

    public init(authorityPEM: [UInt8], certificatePEM: [UInt8], keyPEM: [UInt8]) {
        self.authorityPEM = authorityPEM
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }

    public init(authority: CertificateAuthority, issued: IssuedCertificate) {
        self.init(
            authorityPEM: authority.certificatePEM, certificatePEM: issued.certificatePEM, keyPEM: issued.keyPEM)
    }
}

extension TLSCredentials {
    /// Checks what every peer will check: that the certificate descends from the authority, is valid at this moment by the
    /// system's clock, and says that its holder is `role` in `cluster`.
    /// - Throws: `badMaterial` where a text cannot be read, `unusable` where it can and peers would refuse it.
    public func check(_ role: Role, in cluster: ClusterID) throws(TLSError) {
        let authorities = try Certificate.read(pem: authorityPEM, what: "CA certificate")
        let leaf = try Certificate.read(pem: certificatePEM, what: "certificate")[0]
        guard let store = X509_STORE_new() else { throw .library() }
        defer { X509_STORE_free(store) }
        guard authorities.allSatisfy({ X509_STORE_add_cert(store, $0.pointer) == 1 }),
            let verification = X509_STORE_CTX_new()
        else { throw .library() }
        defer { X509_STORE_CTX_free(verification) }
        guard X509_STORE_CTX_init(verification, store, leaf.pointer, nil) == 1 else { throw .library() }
        guard X509_verify_cert(verification) == 1 else {
            let code = Int(X509_STORE_CTX_get_error(verification))
            ERR_clear_error()
            throw .unusable(detail: String(cString: X509_verify_cert_error_string(code)))
        }
        let wanted = role.uri(cluster: cluster)
        guard leaf.uris.contains(wanted) else {
            throw .unusable(detail: "it names \(leaf.uris.joined(separator: ", ")), not \(wanted)")
        }
    }
}

/// Which side begins the handshake.
public enum TLSRole: Hashable, Sendable {
    case client
    case server
}

/// Credentials made ready for use by many sessions. Confined to one event loop.
///
/// TLS 1.3 only, both sides authenticated by the cluster's CA, no session tickets, no resumption, no early data.
public final class TLSContext {
    public let role: TLSRole
    private var current: OpaquePointer

    /// - Throws: `badMaterial` or `keyMismatch` where the PEM texts cannot be used.
    public init(role: TLSRole, credentials: TLSCredentials) throws(TLSError) {
        self.role = role
        current = try Self.make(role, credentials)
    }

    /// A client that trusts a CA and has no certificate of its own: every server of ours refuses it, which is what it is for
    /// (probes and fault tests).
    public init(unidentifiedClientTrusting authorityPEM: [UInt8]) throws(TLSError) {
        role = .client
        let authorities = try Certificate.read(pem: authorityPEM, what: "CA certificate")
        current = try Self.make(.client, authorities, nil)
    }

    deinit { SSL_CTX_free(current) }

    /// Uses other credentials for sessions made from now on; running sessions keep theirs. On an error nothing changes.
    public func reload(_ credentials: TLSCredentials) throws(TLSError) {
        let next = try Self.make(role, credentials)
        SSL_CTX_free(current)
        current = next
    }

    /// A new session, owned by the caller.
    func makeSSL() throws(TLSError) -> OpaquePointer {
        guard let ssl = SSL_new(current) else { throw .library() }
        return ssl
    }

    private static func make(_ role: TLSRole, _ credentials: TLSCredentials) throws(TLSError) -> OpaquePointer {
        let authorities = try Certificate.read(pem: credentials.authorityPEM, what: "CA certificate")
        let chain = try Certificate.read(pem: credentials.certificatePEM, what: "certificate")
        let key = try PrivateKey(pem: credentials.keyPEM, what: "private key")
        guard X509_check_private_key(chain[0].pointer, key.pointer) == 1 else {
            ERR_clear_error()
            throw .keyMismatch
        }
        return try make(role, authorities, (chain, key))
    }

    private static func make(
        _ role: TLSRole, _ authorities: [Certificate], _ own: (chain: [Certificate], key: PrivateKey)?
    ) throws(TLSError) -> OpaquePointer {
        guard let context = SSL_CTX_new(role == .client ? TLS_client_method() : TLS_server_method()) else {
            throw .library()
        }
        guard configure(context, authorities), own.map({ identify(context, $0.chain, $0.key) }) ?? true else {
            let error = TLSError.library()
            SSL_CTX_free(context)
            throw error
        }
        return context
    }

    private static func identify(_ context: OpaquePointer, _ chain: [Certificate], _ key: PrivateKey) -> Bool {
        guard SSL_CTX_use_certificate(context, chain[0].pointer) == 1,
            SSL_CTX_use_PrivateKey(context, key.pointer) == 1
        else { return false }
        return chain.dropFirst().allSatisfy { suanpan_context_add_chain(context, $0.pointer) == 1 }
    }

    private static func configure(_ context: OpaquePointer, _ authorities: [Certificate]) -> Bool {
        guard suanpan_context_only_tls13(context) == 1,
            SSL_CTX_set_ciphersuites(
                context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1,
            suanpan_context_set_groups(context, "X25519:P-256") == 1,
            SSL_CTX_set_num_tickets(context, 0) == 1
        else { return false }
        let store = SSL_CTX_get_cert_store(context)
        guard authorities.allSatisfy({ X509_STORE_add_cert(store, $0.pointer) == 1 }) else { return false }
        suanpan_context_set_modes(context)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        return true
    }
}
