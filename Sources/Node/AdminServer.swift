import NIOCore
import NIOHTTP1
import NIOPosix

/// What a page of the admin server says.
public struct AdminPage: Sendable {
    /// 200, or 503 where the node is not ready.
    public var status: Int
    public var contentType: String
    public var body: [UInt8]

    public init(status: Int = 200, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    public static func metrics(_ metrics: MetricsText) -> AdminPage {
        AdminPage(contentType: MetricsText.contentType, body: metrics.bytes)
    }

    public static func json(status: Int = 200, _ text: String) -> AdminPage {
        AdminPage(status: status, contentType: "application/json", body: Array(text.utf8))
    }

    public static func text(status: Int = 200, _ text: String) -> AdminPage {
        AdminPage(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }
}

/// The node's window for monitoring: plain HTTP, GET only, on a loopback address. Nothing can be changed through it.
public final class AdminServer {
    /// Connections at a time; more are closed at once.
    static let maximumConnections = 32
    /// A connection that asks nothing is closed after this.
    static let idleTimeout = TimeAmount.seconds(10)

    public let port: Int
    private let channel: any Channel

    private init(port: Int, channel: any Channel) {
        self.port = port
        self.channel = channel
    }

    /// Listens on a loopback address and answers with `pages`, by path, each evaluated on the loop at the request. Call on the
    /// loop; `done` is called there.
    ///
    /// - Precondition: `address` begins with `127.` or is `::1`.
    public static func bind(
        on loop: any EventLoop, address: String = "127.0.0.1", port: Int, pages: [String: () -> AdminPage],
        done: @escaping (Result<AdminServer, SocketError>) -> Void
    ) {
        precondition(address.hasPrefix("127.") || address == "::1", "the admin server is for loopback only")
        loop.preconditionInEventLoop()
        let shared = NIOLoopBound(AdminPages(pages), eventLoop: loop)
        ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 16)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: true)
                    try pipeline.addHandler(AdminHandler(shared.value))
                }
            }
            .bind(host: address, port: port)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    done(.success(AdminServer(port: channel.localAddress?.port ?? port, channel: channel)))
                case .failure(let error): done(.failure(SocketError(error, address: address, port: port)))
                }
            }
    }

    public func close() { channel.close(promise: nil) }
}

/// What the connections of an admin server share.
final class AdminPages {
    let pages: [String: () -> AdminPage]
    var connections = 0

    init(_ pages: [String: () -> AdminPage]) { self.pages = pages }

    func answer(_ head: HTTPRequestHead) -> AdminPage {
        let path = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)[0]
        guard let page = pages[String(path)] else {
            let known = pages.keys.sorted().joined(separator: ", ")
            return .text(status: 404, "no such page; there are \(known)\n")
        }
        guard head.method == .GET else {
            return .text(status: 405, "GET only: changes are made over TLS, as an operator\n")
        }
        return page()
    }
}

/// One HTTP connection: answers a request when it is whole; one that is refused is not read on.
final class AdminHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let pages: AdminPages
    private var head: HTTPRequestHead?
    private var idle: Scheduled<Void>?
    private var isCounted = false

    init(_ pages: AdminPages) { self.pages = pages }

    func channelActive(context: ChannelHandlerContext) {
        guard pages.connections < AdminServer.maximumConnections else {
            context.close(promise: nil)
            return
        }
        pages.connections += 1
        isCounted = true
        waitForRequest(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        idle?.cancel()
        if isCounted { pages.connections -= 1 }
        isCounted = false
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            if head.method == .GET {
                self.head = head
            } else {
                // Whatever body follows is not worth reading.
                respond(head, closing: true, context)
            }
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            respond(head, closing: !head.isKeepAlive, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func respond(_ request: HTTPRequestHead, closing: Bool, _ context: ChannelHandlerContext) {
        let page = pages.answer(request)
        var head = HTTPResponseHead(version: request.version, status: HTTPResponseStatus(statusCode: page.status))
        head.headers.add(name: "content-type", value: page.contentType)
        head.headers.add(name: "content-length", value: String(page.body.count))
        head.headers.add(name: "cache-control", value: "no-store")
        if page.status == 405 { head.headers.add(name: "allow", value: "GET") }
        head.headers.add(name: "connection", value: closing ? "close" : "keep-alive")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: page.body)))), promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        if closing { written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) } }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        if !closing { waitForRequest(context) }
    }

    private func waitForRequest(_ context: ChannelHandlerContext) {
        idle?.cancel()
        idle = context.eventLoop.assumeIsolated().scheduleTask(in: AdminServer.idleTimeout) {
            context.close(promise: nil)
        }
    }
}
