import ClearingModel
import Glibc
import NIOCore
import NIOPosix
import Node
import TLS
import Testing
import Wire

private let cluster = ClusterID(high: 1, low: 2)

/// Sends back what it gets; keeps what it saw where other threads can look.
private final class Echo: SecureConnectionDelegate {
    let events: Collector<String>
    let echoes: Bool
    var greeting: [UInt8] = []
    var reads = true
    var onClosed: () -> Void = {}

    init(_ events: Collector<String>, echoes: Bool) {
        self.events = events
        self.echoes = echoes
    }

    func connectionEstablished(_ connection: SecureConnection, peer: PeerIdentity) {
        events.add("established \(peer.roles(in: cluster)[0])")
        let from = connection.remoteAddress.prefix { $0 != ":" }
        if echoes { events.add("from \(from)") }
        if !reads { connection.pauseReading() }
        connection.send([.bytes(greeting)])
        connection.flush()
    }
    func connection(_ connection: SecureConnection, received bytes: UnsafeRawBufferPointer) {
        if echoes { connection.send([.bytes(Array(bytes))]) } else { events.add("received \(bytes.count)") }
    }
    func connectionReadComplete(_ connection: SecureConnection) { connection.flush() }
    func connection(_ connection: SecureConnection, isWritable: Bool) {}
    func connectionInputEnded(_ connection: SecureConnection) { connection.close() }
    func connectionClosed(_ connection: SecureConnection, reason: ConnectionEnd) {
        events.add("closed \(reason)")
        onClosed()
    }
}

/// Everything that lives on the loop of a test.
private final class World {
    let buffers = TLSBuffers()
    let loop: any EventLoop
    let server: TLSContext
    let client: TLSContext
    var listener: Listener?
    var connector: Connector?
    var accepted: [SecureConnection] = []

    init(loop: any EventLoop) throws {
        self.loop = loop
        let validity = CertificateValidity(
            notBefore: WallTime(milliseconds: 1_577_836_800_000), notAfter: WallTime(milliseconds: 5_364_662_400_000))
        let authority = try CertificateAuthority(name: "test", validity: validity)
        let node = try authority.issue([.node(NodeID(1))], cluster: cluster, validity: validity)
        let peer = try authority.issue([.node(NodeID(2))], cluster: cluster, validity: validity)
        server = try TLSContext(role: .server, credentials: TLSCredentials(authority: authority, issued: node))
        client = try TLSContext(role: .client, credentials: TLSCredentials(authority: authority, issued: peer))
    }

    func listen(
        _ address: String, _ port: Int, greeting: [UInt8] = [], settings: SocketSettings = SocketSettings(),
        _ events: Collector<String>
    ) {
        Listener.bind(
            on: loop, address: address, port: port, settings: settings,
            accept: { [self] in
                let echo = Echo(events, echoes: true)
                echo.greeting = greeting
                let made = try SecureConnection(context: server, buffers: buffers, delegate: echo)
                accepted.append(made)
                return made
            },
            done: { [self] result in
                switch result {
                case .success(let listener):
                    self.listener = listener
                    events.add("listening \(listener.port)")
                case .failure(let error): events.add("no listener: \(error)")
                }
            })
    }

    func connect(
        _ address: String, _ port: Int, from local: String, greeting: [UInt8] = [], reads: Bool = true,
        _ events: Collector<String>
    ) {
        connector = Connector(
            on: loop, address: address, port: port, from: local, seed: 1,
            make: { [self] in
                let echo = Echo(events, echoes: false)
                echo.greeting = greeting
                echo.reads = reads
                echo.onClosed = { [weak self] in self?.connector?.ended() }
                return try SecureConnection(context: client, buffers: buffers, delegate: echo)
            },
            failed: { events.add("failed \($0)") })
        connector?.want()
    }
}

/// Serialised: real ports.
@Suite(.serialized)
struct SocketTests {
    private func onLoop(_ body: (NIOLoopBound<World>, any EventLoop) throws -> Void) throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let loop = group.next()
        let world = try loop.submit { NIOLoopBound(try World(loop: loop), eventLoop: loop) }.wait()
        try body(world, loop)
    }

    /// A file of the kernel, which has no size and comes page by page.
    private func kernelTable(_ path: String) -> String {
        let file = open(path, O_RDONLY)
        defer { close(file) }
        var bytes: [UInt8] = []
        var page = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(file, &page, page.count), count > 0 { bytes += page[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func port(_ events: Collector<String>) throws -> Int {
        let line = try #require(events.wait(for: 1).first { $0.hasPrefix("listening ") })
        return try #require(Int(line.dropFirst("listening ".count)))
    }

    @Test func bytesGoThereAndBackFromTheGivenAddress() throws {
        try onLoop { world, loop in
            let (atServer, atClient) = (Collector<String>(), Collector<String>())
            try loop.submit { world.value.listen("127.77.1.1", 0, atServer) }.wait()
            let port = try port(atServer)
            let greeting = [UInt8](repeating: 7, count: 3_000_000)
            try loop.submit {
                world.value.connect("127.77.1.1", port, from: "127.77.2.5", greeting: greeting, atClient)
            }.wait()
            func received(_ events: [String]) -> Int {
                events.compactMap { Int($0.dropFirst("received ".count)) }.reduce(0, +)
            }
            let events = atClient.wait { received($0) >= 3_000_000 }
            #expect(events.first == "established node/1")
            #expect(received(events) == 3_000_000)
            #expect(atServer.all.contains("established node/2") && atServer.all.contains("from 127.77.2.5"))
        }
    }

    @Test func aLostConnectionComesBackAndUnwantedOnesDoNot() throws {
        try onLoop { world, loop in
            let (atServer, atClient) = (Collector<String>(), Collector<String>())
            try loop.submit { world.value.listen("127.77.1.1", 0, atServer) }.wait()
            let port = try port(atServer)
            try loop.submit {
                world.value.connect("127.77.1.1", port, from: "127.77.1.2", greeting: [], atClient)
            }.wait()
            _ = atServer.wait { $0.filter { $0.hasPrefix("established") }.count == 1 }
            try loop.submit { world.value.accepted[0].abort(reset: true) }.wait()
            let events = atClient.wait { $0.filter { $0.hasPrefix("established") }.count == 2 }
            #expect(events.filter { $0.hasPrefix("closed") }.count == 1)
            #expect(events.contains { $0.hasPrefix("closed") && $0.contains("goodbye") })
            _ = atServer.wait { $0.filter { $0.hasPrefix("established") }.count == 2 }
            try loop.submit {
                world.value.connector?.unwant()
                world.value.accepted[1].close()
            }.wait()
            _ = atClient.wait { $0.filter { $0.hasPrefix("closed") }.count == 2 }
            // Both said goodbye; neither end was cut.
            #expect(atClient.all.last == "closed closed")
            #expect(atServer.wait { $0.last == "closed closed" }.last == "closed closed")
            #expect(try loop.submit { world.value.connector?.state }.wait() == .idle)
        }
    }

    @Test func aPeerThatTakesNothingLosesItsConnection() throws {
        try onLoop { world, loop in
            let (atServer, atClient) = (Collector<String>(), Collector<String>())
            let impatient = {
                var settings = SocketSettings()
                settings.patience = .seconds(1)
                return settings
            }()
            let greeting = [UInt8](repeating: 7, count: 64 << 20)
            try loop.submit { world.value.listen("127.77.1.1", 0, greeting: greeting, settings: impatient, atServer) }
                .wait()
            let port = try port(atServer)
            try loop.submit {
                world.value.connect("127.77.1.1", port, from: "127.77.1.2", reads: false, atClient)
            }.wait()
            let events = atServer.wait { $0.contains { $0.hasPrefix("closed") } }
            #expect(events.last == "closed \(ConnectionEnd.silence)")
            try loop.submit { world.value.connector?.unwant() }.wait()
        }
    }

    @Test func aQuietPeerIsProbed() throws {
        try onLoop { world, loop in
            let (atServer, atClient) = (Collector<String>(), Collector<String>())
            try loop.submit { world.value.listen("127.77.1.1", 0, atServer) }.wait()
            let port = try port(atServer)
            try loop.submit { world.value.connect("127.77.1.1", port, from: "127.77.1.2", atClient) }.wait()
            _ = atServer.wait { $0.contains { $0.hasPrefix("established") } }
            // Timer 2 of an established connection is its next probe, in hundredths of a second (proc_net_tcp.rst).
            let local = "01014D7F:" + String(port, radix: 16, uppercase: true)
            var timer: [Substring] = []
            for _ in 0..<1_000 where timer.first != "02" {
                usleep(10_000)
                let rows = kernelTable("/proc/net/tcp").split(separator: "\n").map { $0.split(separator: " ") }
                timer = rows.first { $0[1] == local && $0[3] == "01" }?[5].split(separator: ":") ?? []
            }
            #expect(timer.first == "02")
            #expect(try #require(timer.last.flatMap { Int($0, radix: 16) }) <= 1_500)
        }
    }

    @Test func attemptsGoOnUntilSomebodyListens() throws {
        try onLoop { world, loop in
            let (atServer, atClient) = (Collector<String>(), Collector<String>())
            // A port that was free a moment ago.
            try loop.submit { world.value.listen("127.77.1.9", 0, atServer) }.wait()
            let port = try port(atServer)
            try loop.submit { world.value.listener?.close() }.wait()
            try loop.submit {
                world.value.connect("127.77.1.9", port, from: "127.77.1.2", greeting: [], atClient)
            }.wait()
            let failures = atClient.wait(for: 3)
            let expected = "failed 127.77.1.9:\(port) refuses connections: no process listens there"
            #expect(failures.allSatisfy { $0 == expected }, "\(failures)")
            try loop.submit { world.value.listen("127.77.1.9", port, atServer) }.wait()
            let events = atClient.wait { $0.contains { $0.hasPrefix("established") } }
            #expect(events.last == "established node/1")
        }
    }

    @Test func aPortInUseSaysSo() throws {
        try onLoop { world, loop in
            let (first, second) = (Collector<String>(), Collector<String>())
            try loop.submit { world.value.listen("127.77.1.1", 0, first) }.wait()
            let port = try port(first)
            try loop.submit { world.value.listen("127.77.1.1", port, second) }.wait()
            let event = try #require(second.wait(for: 1).first)
            #expect(event.contains("port \(port) of 127.77.1.1 is in use"))
            let third = Collector<String>()
            try loop.submit { world.value.listen("192.0.2.1", 7_400, third) }.wait()
            #expect(third.wait(for: 1).first?.contains("no address 192.0.2.1") == true)
        }
    }
}

/// Serialised: real ports.
@Suite(.serialized)
struct AdminServerTests {
    /// Sends raw bytes and reads until the server closes.
    private func ask(_ port: Int, _ request: String) -> String {
        let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(file) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafeBytes(of: &address) { raw in
            Glibc.connect(file, raw.assumingMemoryBound(to: sockaddr.self).baseAddress!, socklen_t(raw.count))
        }
        guard connected == 0 else { return "not connected" }
        let bytes = Array(request.utf8)
        _ = send(file, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(file, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }

    @Test func pagesAndRefusals() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let loop = group.next()
        let ports = Collector<Int>()
        try loop.submit {
            var requests: UInt64 = 0
            AdminServer.bind(
                on: loop, port: 0,
                pages: [
                    "/healthz": { .text(status: 503, "recovering\n") },
                    "/metrics": {
                        requests += 1
                        var metrics = MetricsText()
                        metrics.counter("requests_total", "Requests.", requests)
                        return .metrics(metrics)
                    },
                ],
                done: { if case .success(let server) = $0 { ports.add(server.port) } })
        }.wait()
        let port = try #require(ports.wait(for: 1).first)
        let metrics = ask(port, "GET /metrics?x=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        #expect(metrics.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(metrics.hasSuffix("# TYPE requests_total counter\nrequests_total 1\n"))
        #expect(metrics.contains("content-type: text/plain; version=0.0.4"))
        let first = "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"
        let both = ask(port, first + "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        #expect(both.contains("requests_total 2\n") && both.contains("503") && both.hasSuffix("recovering\n"))
        #expect(ask(port, "GET / HTTP/1.0\r\n\r\n").hasPrefix("HTTP/1.0 404"))
        let post = ask(port, "POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc")
        #expect(post.hasPrefix("HTTP/1.1 405") && post.contains("allow: GET"))
        #expect(ask(port, "\u{16}\u{3}\u{1}garbage\r\n\r\n").hasPrefix("HTTP/1.1 400"))
    }
}

struct MailboxTests {
    @Test func batchesArriveInOrderAndOnce() {
        let mailbox = Mailbox<Int>()
        let received = Collector<Int>()
        let thread = PosixThread.start(name: "receiver") {
            while let batch = mailbox.take() { for value in batch { received.add(value) } }
        }
        for start in stride(from: 0, to: 10_000, by: 10) { mailbox.post(Array(start..<start + 10)) }
        mailbox.close()
        mailbox.post([-1])
        thread.join()
        #expect(received.all == Array(0..<10_000))
    }

    @Test func aLimitRefusesAndATimeoutReturns() {
        let mailbox = Mailbox<Int>()
        #expect(mailbox.post(1, limit: 2) && mailbox.post(2, limit: 2) && !mailbox.post(3, limit: 2))
        #expect(mailbox.take() == [1, 2])
        #expect(mailbox.take(milliseconds: 1) == [])
        mailbox.close()
        #expect(mailbox.take() == nil)
    }
}
