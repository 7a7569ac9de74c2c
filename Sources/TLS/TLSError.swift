import COpenSSL

/// Why a TLS connection, or the material for one, was refused. Every text says what to look at.
public enum TLSError: Error, Hashable, Sendable, CustomStringConvertible {
    // What the peer did
    /// The first bytes are no TLS record: somebody speaks plain text (or HTTP) to a TLS port.
    case plainText(firstBytes: String)
    /// The peer offers TLS 1.2 or older only.
    case protocolTooOld
    /// The peer's certificate does not descend from this cluster's CA.
    case foreignAuthority(detail: String)
    case certificateExpired
    case certificateNotYetValid
    /// The peer sent no certificate.
    case noCertificate
    /// The certificate is of our CA, but not for this use (a participant's, offered by a server) or otherwise invalid.
    case badCertificate(detail: String)
    /// The peer refused us; `alert` is the number of RFC 8446 §6.
    case refusedByPeer(alert: UInt8)
    /// Bytes that TLS 1.3 does not allow, or that were changed on the way.
    case protocolViolation(detail: String)
    case handshakeTimeout
    /// The connection ended without `close_notify`: bytes may be missing.
    case truncated
    // What we were given
    /// A PEM text that does not hold what it should.
    case badMaterial(what: String, detail: String)
    /// The private key does not belong to the certificate.
    case keyMismatch
    /// Our own certificate can be read, but every peer would refuse it.
    case unusable(detail: String)
    /// OpenSSL failed for a reason of its own (out of memory, no random bytes).
    case library(detail: String)

    public var description: String {
        switch self {
        case .plainText(let bytes):
            "plain text received on a TLS port (first bytes \(bytes)): the peer must speak TLS 1.3"
        case .protocolTooOld: "the peer speaks TLS 1.2 or older; this side takes TLS 1.3 only"
        case .foreignAuthority(let detail):
            "the peer's certificate was not issued by this cluster's CA (\(detail)): check both sides' CA files"
        case .certificateExpired: "the peer's certificate has expired: issue a new one, or check both clocks"
        case .certificateNotYetValid: "the peer's certificate is not valid yet: check both clocks"
        case .noCertificate: "the peer sent no certificate; both sides must have one of the cluster's CA"
        case .badCertificate(let detail): "the peer's certificate cannot be used: \(detail)"
        case .refusedByPeer(let alert): "the peer refused the connection: \(Self.alertText(alert))"
        case .protocolViolation(let detail): "TLS protocol violation: \(detail)"
        case .handshakeTimeout: "the TLS handshake was not finished in time"
        case .truncated: "the connection ended without a TLS goodbye"
        case .badMaterial(let what, let detail): "\(what) cannot be read: \(detail)"
        case .keyMismatch: "the private key does not belong to the certificate"
        case .unusable(let detail):
            "this side's own certificate would be refused by every peer: \(detail)"
        case .library(let detail): "OpenSSL failed: \(detail)"
        }
    }

    private static func alertText(_ alert: UInt8) -> String {
        let text = String(cString: SSL_alert_desc_string_long(Int32(alert)))
        let hint =
            switch Int32(alert) {
            case SSL_AD_UNKNOWN_CA: " (it does not know the CA of our certificate)"
            case SSL_AD_CERTIFICATE_EXPIRED: " (our certificate has expired, or a clock is wrong)"
            case SSL_AD_CERTIFICATE_REQUIRED: " (it wants a certificate and got none)"
            case SSL_AD_PROTOCOL_VERSION: " (no common TLS version)"
            default: ""
            }
        return "alert \(alert), \(text)\(hint)"
    }
}

extension TLSError {
    /// OpenSSL's oldest unread error of this thread as text; clears the queue.
    static func drainQueue() -> String {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return "no detail" }
        if let reason = ERR_reason_error_string(code) { return String(cString: reason) }
        return "code \(code)"
    }

    static func library() -> TLSError { .library(detail: drainQueue()) }

    /// What made `ssl` fail, from this thread's error queue; clears the queue.
    static func fromSession(_ ssl: OpaquePointer) -> TLSError {
        let code = ERR_peek_error()
        guard code != 0, suanpan_error_library(code) == ERR_LIB_SSL else {
            return .protocolViolation(detail: drainQueue())
        }
        let reason = suanpan_error_reason(code)
        let text = drainQueue()
        switch reason {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return verification(SSL_get_verify_result(ssl))
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return .noCertificate
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_SSL_VERSION, SSL_R_VERSION_TOO_LOW: return .protocolTooOld
        // Alerts of the peer are reported as their number above this base.
        case 1_000..<1_256: return .refusedByPeer(alert: UInt8(reason - 1_000))
        default: return .protocolViolation(detail: text)
        }
    }

    private static func verification(_ result: Int) -> TLSError {
        let detail = String(cString: X509_verify_cert_error_string(result))
        switch Int32(truncatingIfNeeded: result) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return .certificateExpired
        case X509_V_ERR_CERT_NOT_YET_VALID: return .certificateNotYetValid
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_CERT_SIGNATURE_FAILURE, X509_V_ERR_CERT_UNTRUSTED:
            return .foreignAuthority(detail: detail)
        default: return .badCertificate(detail: detail)
        }
    }
}
