import NIOCore

/// The large buffers that all sessions of one event loop share: a session needs them only while it is being served.
///
/// Sharing keeps a quiet connection at the size of its OpenSSL state and the buffers in the processor's cache.
public final class TLSBuffers {
    /// Plaintext handed to the application at a time, at most.
    public static let plaintextBytes = 256 << 10
    /// Ciphertext handed to the socket at a time, at most.
    public static let ciphertextBytes = 256 << 10
    /// Plaintext of one TLS record, at most (RFC 8446 §5.1).
    static let recordBytes = 16 << 10
    /// What a record adds to its plaintext, at most: header, content type, tag, and room for a key update in front.
    static let recordOverhead = 128

    let plaintext: UnsafeMutableRawPointer
    /// Small parts are gathered here into full records.
    let staging: UnsafeMutableRawPointer
    private var ciphertext = ByteBuffer()
    /// The one buffer of plaintext cannot serve two sessions at a time.
    var plaintextInUse = false

    public init() {
        plaintext = .allocate(byteCount: Self.plaintextBytes, alignment: 64)
        staging = .allocate(byteCount: Self.recordBytes, alignment: 64)
    }

    deinit {
        plaintext.deallocate()
        staging.deallocate()
    }

    /// An empty buffer for ciphertext; with luck the one that was put back last.
    func takeCiphertext() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &ciphertext)
        return taken
    }

    /// Gives a buffer back after it was handed to the channel. Its memory is used again only if the channel let go of it.
    func putBack(_ buffer: consuming ByteBuffer) {
        ciphertext = buffer
        ciphertext.clear(minimumCapacity: 0)
    }
}
