import Foundation

/// A TCP socket that sends whatever bytes it is told to.
final class RawSocket {
    private let descriptor: Int32
    /// How the connection ended for the reader; `nil` while it stands.
    private(set) var hasEnded = false

    /// Connects; sends and receives wait for `seconds` at most.
    init(connectingTo address: String, port: UInt16, seconds: Int = 5) throws {
        descriptor = try Self.make()
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard Self.with(address, port, { connect(descriptor, $0, $1) }) == 0 else {
            let reason = String(cString: strerror(errno))
            throw Failure("cannot connect to \(address):\(port): \(reason)")
        }
    }

    /// Listens, so that nobody else can.
    init(listeningOn address: String, port: UInt16) throws {
        descriptor = try Self.make()
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        guard Self.with(address, port, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 1) == 0 else {
            throw Failure("cannot listen on \(address):\(port): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    private static func make() throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("no socket: \(String(cString: strerror(errno)))") }
        return descriptor
    }

    private static func with(
        _ address: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var socket = sockaddr_in()
        socket.sin_family = sa_family_t(AF_INET)
        socket.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &socket.sin_addr)
        return withUnsafePointer(to: &socket) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    /// Says that nothing more will be sent, and stays.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What has come, waiting for the first byte; `nil` where the connection ended or said nothing for the socket's time.
    func receive() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            return count > 0 ? Array(buffer[..<count]) : nil
        }
    }

    /// Reads until the other side ends the connection or says nothing for the socket's time.
    func receiveAll() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            hasEnded = count == 0 || (count < 0 && errno == ECONNRESET)
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}
