import Glibc
import NIOCore
import NIOPosix

/// An answer as the benchmark needs it.
struct BenchmarkResponse {
    /// The status code.
    var status: Int
    /// The body.
    var body: ByteBuffer
}

/// Why a request of the benchmark has no answer.
enum BenchmarkError: Error, CustomStringConvertible {
    /// No connection could be made.
    case connect(String)
    /// The connection closed before the answer was complete.
    case closed
    /// Nothing came for too long.
    case timedOut
    /// The answer is no HTTP this client reads.
    case malformed(String)
    /// The answer is not the one that was hoped for.
    case answer(String)

    /// Says why a connection failed without the layers it failed through.
    static func connect(to endpoint: Endpoint, _ error: any Error) -> BenchmarkError {
        guard let refused = error as? NIOConnectionError,
            let code = (refused.connectionErrors.first?.error as? IOError)?.errnoCode
        else { return .connect("\(endpoint.authority): \(error)") }
        return .connect("\(endpoint.authority): \(unsafe String(cString: strerror(code)))")
    }

    var description: String {
        switch self {
        case .connect(let why): "cannot connect: \(why)"
        case .closed: "the connection was closed before the answer was complete"
        case .timedOut: "no answer within \(BenchmarkConnection.timeoutSeconds) s"
        case .malformed(let what): "malformed answer: \(what)"
        case .answer(let what): what
        }
    }
}

/// One keep-alive connection with at most one request under way.
///
/// Lives on its event loop.
final class BenchmarkConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Completion = (Result<BenchmarkResponse, BenchmarkError>) -> Void

    /// Seconds to wait for one answer.
    static let timeoutSeconds: Int64 = 30
    /// Most bytes of an answer's head.
    static let headLimit = 64 << 10

    private var context: ChannelHandlerContext?
    private var received = ByteBuffer()
    private var head: AnswerHead?
    private var completion: Completion?
    private var sentAt = NIODeadline.now()
    private var timer: RepeatedTask?
    private let bodyLimit: Int

    /// A connection that takes bodies up to `bodyLimit` bytes.
    init(bodyLimit: Int) { self.bodyLimit = bodyLimit }

    /// Opens a connection to `endpoint`; `ready` is called on `loop`.
    static func open(
        to endpoint: Endpoint, on loop: any EventLoop, bodyLimit: Int,
        ready: @escaping (Result<BenchmarkConnection, BenchmarkError>) -> Void
    ) {
        let handler = NIOLoopBound(BenchmarkConnection(bodyLimit: bodyLimit), eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(5))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(handler.value)
                }
            }
            .connect(host: endpoint.host, port: endpoint.port)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success: ready(.success(handler.value))
                case .failure(let error): ready(.failure(.connect(to: endpoint, error)))
                }
            }
    }

    /// Whether the connection can take a request.
    var isOpen: Bool { context != nil }

    /// Sends a request; `completion` is called once, on the event loop.
    func send(_ request: ByteBuffer, _ completion: @escaping Completion) {
        guard let context, self.completion == nil else { return completion(.failure(.closed)) }
        self.completion = completion
        sentAt = .now()
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    private func watch(_ loop: any EventLoop) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleRepeatedTask(initialDelay: .seconds(5), delay: .seconds(5)) { _ in
            let connection = bound.value
            let late = NIODeadline.now() - .seconds(BenchmarkConnection.timeoutSeconds)
            guard connection.completion != nil, connection.sentAt < late else { return }
            connection.fail(.timedOut)
        }
    }

    /// Closes it.
    func close() { context?.close(promise: nil) }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
        watch(context.eventLoop)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        timer?.cancel()
        finish(.failure(.closed))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(.closed) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        if received.readableBytes == 0 {
            received = piece
        } else {
            received.writeBuffer(&piece)
        }
        do {
            try advance()
        } catch {
            fail(error)
        }
    }

    private func advance() throws(BenchmarkError) {
        if head == nil {
            head = try AnswerHead.take(from: &received)
            guard head != nil else {
                guard received.readableBytes <= BenchmarkConnection.headLimit else {
                    throw .malformed("a head of more than \(BenchmarkConnection.headLimit) bytes")
                }
                return
            }
        }
        guard let head else { return }
        guard head.length <= bodyLimit else { throw .malformed("a body of \(head.length) bytes") }
        if received.readableBytes < head.length {
            received.reserveCapacity(minimumWritableBytes: head.length - received.readableBytes)
            return
        }
        guard let body = received.readSlice(length: head.length) else { return }
        self.head = nil
        if !head.staysOpen { close() }
        finish(.success(BenchmarkResponse(status: head.status, body: body)))
    }

    private func fail(_ error: BenchmarkError) {
        context?.close(promise: nil)
        context = nil
        finish(.failure(error))
    }

    private func finish(_ result: Result<BenchmarkResponse, BenchmarkError>) {
        guard let completion else { return }
        self.completion = nil
        completion(result)
    }
}
