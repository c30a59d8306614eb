import HTTPServer
import NIOCore
import NIOPosix

/// Sends single requests to volume servers, one connection each, on the event loop of the client's
/// own connection, so that its body is passed on without a copy or a hop.
struct UpstreamClient: Sendable {
    /// How long a connection may take.
    static let connectTimeout = TimeAmount.seconds(5)
    /// How long a volume server may take to answer once it has the whole body.
    static let answerTimeout = TimeAmount.seconds(60)

    /// Sends a request without a body.
    func send(
        _ method: String, _ path: String, to address: String, on loop: any EventLoop
    ) async throws -> UpstreamAnswer {
        let promise = loop.makePromise(of: UpstreamAnswer.self)
        let head = UpstreamClient.head(method, path, address, headers: [("Content-Length", "0")])
        loop.execute {
            let request = UpstreamRequest(address: address, head: head, isChunked: false) {
                promise.completeWith($0.mapError { $0 as any Error })
            }
            connect(request, on: loop) { request.end() }
        }
        return try await promise.futureResult.get()
    }

    /// Passes the body of `exchange` on, at most `limit` bytes.
    ///
    /// `completion` is called once, on the exchange's event loop, unless the client goes away
    /// first.
    func forward(
        _ exchange: Exchange, limit: UInt64, to address: String, head: ByteBuffer, isChunked: Bool,
        completion: @escaping (Result<UpstreamAnswer, ForwardError>) -> Void
    ) {
        let request = UpstreamRequest(address: address, head: head, isChunked: isChunked) {
            completion($0.mapError { .upstream($0) })
        }
        request.exchange = exchange
        request.bodyFailed = { error in completion(.failure(.body(error))) }
        connect(request, on: exchange.eventLoop) {
            exchange.readBody(limit: limit, into: request)
        }
    }

    /// Why a body was not passed on.
    enum ForwardError: Error {
        case upstream(UpstreamError)
        case body(BodyError)
    }

    /// Request line and headers.
    static func head(
        _ method: String, _ path: String, _ address: String,
        headers: [(name: String, value: String)]
    ) -> ByteBuffer {
        var text = "\(method) \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        return ByteBuffer(string: text + "\r\n")
    }

    private func connect(
        _ request: UpstreamRequest, on loop: any EventLoop, then ready: @escaping () -> Void
    ) {
        guard let (host, port) = UpstreamClient.split(request.address) else {
            return request.fail(.connect(request.address, reason: "not host:port"))
        }
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(UpstreamClient.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        let connection =
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                bootstrap.connect(to: address)
            } else {
                bootstrap.connect(host: host, port: port)
            }
        connection.hop(to: loop).assumeIsolated().whenComplete { result in
            do {
                try request.start(result.get())
                ready()
            } catch {
                request.fail(.connect(request.address, reason: "\(error)"))
            }
        }
    }

    /// Host and port of an address; an IPv6 host loses its brackets.
    static func split(_ address: String) -> (host: String, port: Int)? {
        guard let colon = address.lastIndex(of: ":"),
            let port = Int(address[address.index(after: colon)...]), (1...65535).contains(port)
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }
}

/// One request under way.
///
/// Confined to its event loop.
final class UpstreamRequest: ChannelInboundHandler, BodySink {
    typealias InboundIn = ByteBuffer

    let address: String
    /// Where the body comes from; reading from it stops while the volume server is slower.
    var exchange: Exchange?
    /// Called when the body does not arrive whole.
    var bodyFailed: ((BodyError) -> Void)?

    private let head: ByteBuffer
    private let isChunked: Bool
    private var response: UpstreamResponse
    private var completion: ((Result<UpstreamAnswer, UpstreamError>) -> Void)?
    private var channel: (any Channel)?
    private var isPaused = false
    private var timeout: Scheduled<Void>?

    init(
        address: String, head: ByteBuffer, isChunked: Bool,
        completion: @escaping (Result<UpstreamAnswer, UpstreamError>) -> Void
    ) {
        self.address = address
        self.head = head
        self.isChunked = isChunked
        self.completion = completion
        response = UpstreamResponse(address: address)
    }

    /// The connection is there.
    func start(_ channel: any Channel) throws {
        self.channel = channel
        try channel.pipeline.syncOperations.addHandler(self)
        channel.writeAndFlush(head, promise: nil)
    }

    // MARK: Body, from the client

    func receive(_ piece: ByteBuffer) {
        guard completion != nil, let channel else { return }
        if isChunked {
            channel.write(
                ByteBuffer(string: String(piece.readableBytes, radix: 16) + "\r\n"), promise: nil)
        }
        channel.write(piece, promise: nil)
        if isChunked { channel.write(ByteBuffer(string: "\r\n"), promise: nil) }
        channel.flush()
        if !channel.isWritable, !isPaused {
            isPaused = true
            exchange?.pauseReading()
        }
    }

    func end() {
        guard completion != nil, let channel else { return }
        if isChunked { channel.writeAndFlush(ByteBuffer(string: "0\r\n\r\n"), promise: nil) }
        timeout = channel.eventLoop.assumeIsolated()
            .scheduleTask(in: UpstreamClient.answerTimeout) {
                self.fail(.timedOut(self.address))
            }
    }

    func failed(_ error: BodyError) {
        guard completion != nil else { return }
        let bodyFailed = bodyFailed
        finish()
        bodyFailed?(error)
    }

    // MARK: Answer, from the volume server

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do throws(UpstreamError) {
            if let answer = try response.feed(unwrapInboundIn(data)) { succeed(answer) }
        } catch {
            fail(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        guard completion != nil else { return }
        do throws(UpstreamError) {
            succeed(try response.finish())
        } catch {
            fail(error)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resume() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(.connect(address, reason: "\(error)"))
    }

    func fail(_ error: UpstreamError) { finish()?(.failure(error)) }

    private func succeed(_ answer: UpstreamAnswer) { finish()?(.success(answer)) }

    /// Ends the request; the completion, if it was not called yet.
    @discardableResult
    private func finish() -> ((Result<UpstreamAnswer, UpstreamError>) -> Void)? {
        let completion = completion
        self.completion = nil
        bodyFailed = nil
        timeout?.cancel()
        channel?.close(promise: nil)
        resume()
        exchange = nil
        return completion
    }

    private func resume() {
        guard isPaused else { return }
        isPaused = false
        exchange?.resumeReading()
    }
}
