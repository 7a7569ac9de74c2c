import COpenSSL
import ClearingModel

/// Owner of one X.509 certificate.
final class Certificate {
    let pointer: OpaquePointer

    init(adopting pointer: OpaquePointer) { self.pointer = pointer }

    deinit { X509_free(pointer) }

    /// A certificate with key, subject and validity, to be extended and signed.
    static func blank(
        subject: String, key: PrivateKey, validity: CertificateValidity
    ) throws(TLSError) -> Certificate {
        guard let pointer = X509_new() else { throw .library() }
        let certificate = Certificate(adopting: pointer)
        // Version 3 is written as 2; a common name has at most 64 characters.
        var name = Array(subject.utf8.prefix(64))
        guard X509_set_version(pointer, 2) == 1, suanpan_set_random_serial(pointer) == 1,
            X509_set_pubkey(pointer, key.pointer) == 1,
            ASN1_TIME_set(X509_getm_notBefore(pointer), Int(validity.notBefore.milliseconds / 1_000)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(pointer), Int(validity.notAfter.milliseconds / 1_000)) != nil,
            X509_NAME_add_entry_by_txt(
                X509_get_subject_name(pointer), "CN", MBSTRING_UTF8, &name, Int32(name.count), -1, 0) == 1
        else { throw .library() }
        return certificate
    }

    /// Reads every certificate of a PEM text; at least one.
    static func read(pem: [UInt8], what: String) throws(TLSError) -> [Certificate] {
        let source = try MemoryBIO(reading: pem)
        var found: [Certificate] = []
        while let next = PEM_read_bio_X509(source.pointer, nil, noPassword, nil) {
            found.append(Certificate(adopting: next))
        }
        let code = ERR_peek_last_error()
        let atEnd = suanpan_error_library(code) == ERR_LIB_PEM && suanpan_error_reason(code) == PEM_R_NO_START_LINE
        let detail = TLSError.drainQueue()
        if found.isEmpty {
            throw .badMaterial(what: what, detail: atEnd ? "it holds no PEM certificate" : detail)
        }
        guard atEnd else { throw .badMaterial(what: what, detail: detail) }
        return found
    }

    func add(_ extension: Int32, _ value: String, issuer: Certificate) throws(TLSError) {
        guard suanpan_add_extension(pointer, issuer.pointer, `extension`, value) == 1 else { throw .library() }
    }

    func add(uris: [String]) throws(TLSError) {
        guard !uris.isEmpty else { return }
        guard let names = GENERAL_NAMES_new() else { throw .library() }
        defer { GENERAL_NAMES_free(names) }
        for uri in uris {
            guard uri.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw .badMaterial(what: "URI \(uri)", detail: "only printable ASCII without spaces can be certified")
            }
            guard suanpan_names_add_uri(names, uri, Int32(uri.utf8.count)) == 1 else { throw .library() }
        }
        let raw = UnsafeMutableRawPointer(names)
        guard X509_add1_ext_i2d(pointer, NID_subject_alt_name, raw, 0, 0) == 1 else { throw .library() }
    }

    func sign(with key: PrivateKey) throws(TLSError) {
        guard X509_sign(pointer, key.pointer, EVP_sha256()) > 0 else { throw .library() }
    }

    /// The URIs among the certificate's alternative names, in order; those with bytes outside ASCII are left out.
    var uris: [String] {
        guard let raw = X509_get_ext_d2i(pointer, NID_subject_alt_name, nil, nil) else { return [] }
        let names = OpaquePointer(raw)
        defer { GENERAL_NAMES_free(names) }
        return (0..<suanpan_names_count(names)).compactMap { index in
            var count: Int32 = 0
            guard let bytes = suanpan_names_uri(names, index, &count), count > 0 else { return nil }
            let text = UnsafeBufferPointer(start: bytes, count: Int(count))
            // A NUL inside a name is an old trick to look like another name.
            guard text.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
            return String(decoding: text, as: UTF8.self)
        }
    }

    var pem: [UInt8] { MemoryBIO.written { PEM_write_bio_X509($0, pointer) } }
}

/// Owner of one private key.
final class PrivateKey {
    let pointer: OpaquePointer

    init(adopting pointer: OpaquePointer) { self.pointer = pointer }

    convenience init(pem: [UInt8], what: String) throws(TLSError) {
        let source = try MemoryBIO(reading: pem)
        guard let key = PEM_read_bio_PrivateKey(source.pointer, nil, noPassword, nil) else {
            throw .badMaterial(what: what, detail: TLSError.drainQueue())
        }
        self.init(adopting: key)
    }

    static func make() throws(TLSError) -> PrivateKey {
        guard let key = suanpan_make_p256_key() else { throw .library() }
        return PrivateKey(adopting: key)
    }

    deinit { EVP_PKEY_free(pointer) }

    var pem: [UInt8] { MemoryBIO.written { PEM_write_bio_PKCS8PrivateKey($0, pointer, nil, nil, 0, nil, nil) } }
}

/// Answers "no password": without it OpenSSL would ask the terminal.
private let noPassword: @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 =
    { _, _, _, _ in -1 }

/// A short-lived BIO over memory, for PEM only.
private final class MemoryBIO {
    let pointer: OpaquePointer
    /// What a reading BIO points at.
    private let text: [UInt8]

    init(reading text: [UInt8]) throws(TLSError) {
        guard let pointer = BIO_new(BIO_s_mem()) else { throw .library() }
        self.pointer = pointer
        self.text = text
        guard text.isEmpty || BIO_write(pointer, text, Int32(text.count)) == Int32(text.count) else { throw .library() }
    }

    private init() {
        guard let pointer = BIO_new(BIO_s_mem()) else { preconditionFailure("out of memory") }
        self.pointer = pointer
        text = []
    }

    deinit { BIO_free(pointer) }

    /// What `body` writes.
    static func written(_ body: (OpaquePointer) -> Int32) -> [UInt8] {
        let target = MemoryBIO()
        precondition(body(target.pointer) == 1, "PEM could not be written")
        var bytes = [UInt8](repeating: 0, count: BIO_ctrl_pending(target.pointer))
        let count = BIO_read(target.pointer, &bytes, Int32(bytes.count))
        precondition(Int(count) == bytes.count)
        return bytes
    }
}
