import Glibc

/// One GET on a node's loopback admin port: small, blocking, bounded in time and size.
public struct AdminClient: Sendable {
    public var port: UInt16
    public var timeoutMilliseconds: Int
    static let maximumReplyBytes = 8 << 20

    public init(port: UInt16, timeoutMilliseconds: Int = 300) {
        self.port = port
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Status code and body; `nil` where nobody answers in time.
    public func get(_ path: String) -> (status: Int, body: String)? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var limit = timeval(
            tv_sec: timeoutMilliseconds / 1_000, tv_usec: timeoutMilliseconds % 1_000 * 1_000)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        var address = SocketAddress.v4("127.0.0.1", port: port)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return nil }
        var request = "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n"
        let sent = request.withUTF8 { send(descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent > 0 else { return nil }
        return Self.parse(receive(descriptor))
    }

    /// Reads until the end, or until the announced length is there, within the time.
    private func receive(_ descriptor: Int32) -> [UInt8] {
        let end = Deadline.now() + UInt64(timeoutMilliseconds) * 1_000_000
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < Self.maximumReplyBytes, Deadline.now() < end {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            bytes.append(contentsOf: buffer[..<count])
            if let expected = Self.expectedLength(bytes), bytes.count >= expected { break }
        }
        return bytes
    }

    private static let headerEnd = Array("\r\n\r\n".utf8)

    private static func header(_ bytes: [UInt8]) -> (lines: [Substring], length: Int)? {
        guard bytes.count >= 4, let end = (0...bytes.count - 4).first(where: { Array(bytes[$0..<$0 + 4]) == headerEnd })
        else { return nil }
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        return (text.split(separator: "\r\n"), end + 4)
    }

    private static func expectedLength(_ bytes: [UInt8]) -> Int? {
        guard let (lines, length) = header(bytes) else { return nil }
        for line in lines where line.lowercased().hasPrefix("content-length:") {
            let value = line.dropFirst("content-length:".count).drop { $0 == " " }
            return Int(value).map { $0 + length }
        }
        return nil
    }

    private static func parse(_ bytes: [UInt8]) -> (status: Int, body: String)? {
        guard let (lines, length) = header(bytes), let first = lines.first else { return nil }
        let words = first.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else { return nil }
        // A reply cut short by the time-out is no reply.
        if let expected = expectedLength(bytes), bytes.count < expected { return nil }
        return (status, String(decoding: bytes[length...], as: UTF8.self))
    }
}

/// Socket addresses by numbers.
enum SocketAddress {
    static func v4(_ text: String, port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, text, &address.sin_addr)
        return address
    }
}

/// Finding ports that nobody uses.
enum PortProbe {
    /// Why this process could not listen on an IPv4 address and port now, as `errno`; 0 where it could.
    static func hindrance(_ address: String, _ port: UInt16) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        var yes: Int32 = 1
        // As the nodes do: a port whose last connection is in TIME_WAIT counts as free.
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var name = SocketAddress.v4(address, port: port)
        let bound = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return bound == 0 && listen(descriptor, 1) == 0 ? 0 : errno
    }

    static func isFree(_ address: String, _ port: UInt16) -> Bool { hindrance(address, port) == 0 }

    /// The first base from 7400 whose whole block is free on every address of 127/8 that the nodes will use.
    static func freeBase(nodes: Int) throws(LaunchError) -> UInt16 {
        let step = PortBlock(base: PortBlock.firstBase, nodes: nodes).length
        for base in stride(from: Int(PortBlock.firstBase), to: 32_000, by: step) {
            let block = PortBlock(base: UInt16(base), nodes: nodes)
            // A listener on 0.0.0.0 would hinder any node, so one wildcard probe per port answers for all addresses.
            let free = (0..<nodes).allSatisfy {
                isFree("0.0.0.0", block.port($0)) && isFree("0.0.0.0", block.adminPort($0))
            }
            if free { return UInt16(base) }
        }
        throw .failed("no block of \(step) free ports from \(PortBlock.firstBase) to 32000: end other clusters first")
    }
}
