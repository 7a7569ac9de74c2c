#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or later is needed: install libssl-dev of Debian 12, Ubuntu 22.04 or later"
#endif

// Much of OpenSSL's interface is macros, which Swift does not see: one function each.

static inline int suanpan_error_library(unsigned long error) { return ERR_GET_LIB(error); }
static inline int suanpan_error_reason(unsigned long error) { return ERR_GET_REASON(error); }

/// TLS 1.3 and nothing else; 1 if OpenSSL agreed.
static inline int suanpan_context_only_tls13(SSL_CTX *context) {
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)
        && SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
}

/// A retried write may come from another address: what waits is kept by offset, not by pointer.
static inline void suanpan_context_set_modes(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
}

static inline int suanpan_context_set_groups(SSL_CTX *context, const char *list) {
    return (int)SSL_CTX_set1_groups_list(context, list);
}

static inline int suanpan_context_add_chain(SSL_CTX *context, X509 *certificate) {
    return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

static inline EVP_PKEY *suanpan_make_p256_key(void) { return EVP_EC_gen("P-256"); }

/// A random positive serial number of 127 bits; 1 on success.
static inline int suanpan_set_random_serial(X509 *certificate) {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) return 0;
    bytes[0] = (unsigned char)((bytes[0] & 0x7F) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    if (!number) return 0;
    int done = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return done;
}

/// Adds an extension from OpenSSL's text form; 1 on success.
static inline int suanpan_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (!extension) return 0;
    int done = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return done;
}

/// Appends a URI to a list of alternative names; 1 on success.
static inline int suanpan_names_add_uri(GENERAL_NAMES *names, const char *uri, int count) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    if (!name || !text || !ASN1_STRING_set(text, uri, count)) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(text);
        return 0;
    }
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return 0;
    }
    return 1;
}

static inline int suanpan_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }

/// The bytes of name `index` if it is a URI, else NULL.
static inline const unsigned char *suanpan_names_uri(const GENERAL_NAMES *names, int index, int *count) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (!name || name->type != GEN_URI) return NULL;
    *count = ASN1_STRING_length(name->d.uniformResourceIdentifier);
    return ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
}

// A BIO over two windows of the caller's memory, so that ciphertext goes from the socket's buffer into OpenSSL and from
// OpenSSL into the buffer that is sent, with no queue between.

typedef struct suanpan_transport {
    const unsigned char *in;
    size_t in_left;
    unsigned char *out;
    size_t out_left;
} suanpan_transport;

static int suanpan_transport_read(BIO *bio, char *to, size_t wanted, size_t *got) {
    suanpan_transport *transport = (suanpan_transport *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t count = wanted < transport->in_left ? wanted : transport->in_left;
    *got = count;
    if (count == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, transport->in, count);
    transport->in += count;
    transport->in_left -= count;
    return 1;
}

static int suanpan_transport_write(BIO *bio, const char *from, size_t wanted, size_t *done) {
    suanpan_transport *transport = (suanpan_transport *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t count = wanted < transport->out_left ? wanted : transport->out_left;
    *done = count;
    if (count == 0) {
        BIO_set_retry_write(bio);
        return 0;
    }
    memcpy(transport->out, from, count);
    transport->out += count;
    transport->out_left -= count;
    return 1;
}

static long suanpan_transport_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/// Made once a process; NULL if out of memory.
static inline BIO_METHOD *suanpan_transport_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory windows");
    if (!method) return NULL;
    BIO_meth_set_read_ex(method, suanpan_transport_read);
    BIO_meth_set_write_ex(method, suanpan_transport_write);
    BIO_meth_set_ctrl(method, suanpan_transport_control);
    return method;
}

/// Gives `ssl` a BIO over `transport`, which must outlive it; 1 on success.
static inline int suanpan_attach_transport(SSL *ssl, BIO_METHOD *method, suanpan_transport *transport) {
    BIO *bio = BIO_new(method);
    if (!bio) return 0;
    BIO_set_data(bio, transport);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 1;
}
