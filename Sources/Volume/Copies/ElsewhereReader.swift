import HTTPClient
import HTTPServer
import Model
import NIOCore
import NIOPosix
import Needles
import Synchronization

/// Reads files and chunks from the servers that hold them.
struct ElsewhereReader: ReadForwarder, ChunkFetcher {
    let copies: Copies
    let tokens: TokenRules
    let pool: NIOThreadPool

    func forward(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, to locations: [String],
        otherwise: @escaping (_ isUncertain: Bool) -> Void
    ) {
        ReadForward(copies, request, exchange, fileID.volume, locations, otherwise).tryNext()
    }

    func open(_ chunk: FileID, on loop: any EventLoop) -> EventLoopFuture<any ContentReader> {
        let promise = loop.makePromise(of: (any ContentReader).self)
        copies.holders.find(chunk.volume, copies: 1, on: loop) { result in
            switch result {
            case .success(let holders) where holders.isEmpty:
                promise.fail(ChunkError(status: 404, fileID: chunk))
            case .success(let holders):
                promise.succeed(
                    RemoteChunk(
                        chunk, holders: holders.shuffled(), client: copies.client,
                        token: tokens.sign(chunk)))
            case .failure(let error):
                let reason = error.message(for: chunk.volume, copies: 1)
                promise.fail(ChunkError(status: 503, fileID: chunk, reason: reason))
            }
        }
        return promise.futureResult
    }
}

/// Reads a chunk on another server, a range at a time.
private final class RemoteChunk: ContentReader {
    private let chunk: FileID
    private let client: HTTPClient
    private let token: String?
    private let holders: Mutex<[String]>

    init(_ chunk: FileID, holders: [String], client: HTTPClient, token: String?) {
        self.chunk = chunk
        self.holders = Mutex(holders)
        self.client = client
        self.token = token
    }

    func read(at offset: UInt64, count: Int, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer>
    {
        let promise = loop.makePromise(of: ByteBuffer.self)
        read(at: offset, count: count, on: loop, promise)
        return promise.futureResult
    }

    private func read(
        at offset: UInt64, count: Int, on loop: any EventLoop,
        _ promise: EventLoopPromise<ByteBuffer>
    ) {
        guard let holder = holders.withLock({ $0.first }) else {
            return promise.fail(ChunkError(status: 404, fileID: chunk))
        }
        var headers = [
            (name: "Range", value: "bytes=\(offset)-\(offset + UInt64(max(count, 1)) - 1)")
        ]
        if let token { headers.append((name: "Authorization", value: "Bearer \(token)")) }
        var request = ClientRequest(
            address: holder,
            head: ClientRequest.head(
                "GET", "/\(chunk)?proxied=true", to: holder, headers: headers))
        request.patience = CopyMessage.patience
        client.send(request, on: loop) { [self] result in
            let error: ChunkError
            switch result {
            case .success(let answer) where answer.status == 206:
                guard answer.body.readableBytes > 0, answer.body.readableBytes <= count else {
                    return promise.fail(ContentEndedEarly(offset: offset))
                }
                return promise.succeed(answer.body)
            case .success(let answer):
                error = ChunkError(status: answer.status, fileID: chunk)
            case .failure(let fault):
                error = ChunkError(status: 502, fileID: chunk, reason: fault.description)
            }
            // The next holder is asked, now and for the rest of the chunk.
            let isLast = holders.withLock { holders in
                guard holders.count > 1 else { return true }
                holders.removeFirst()
                return false
            }
            guard !isLast else { return promise.fail(error) }
            read(at: offset, count: count, on: loop, promise)
        }
    }
}

/// One read passed on; the answer goes to the client as it comes, as fast as the client takes it.
///
/// Confined to its event loop.
private final class ReadForward: AnswerReceiver, BodySource {
    private let copies: Copies
    private let request: HTTPRequest
    private let exchange: Exchange
    private let volume: VolumeID
    private var locations: [String]
    private let otherwise: (_ isUncertain: Bool) -> Void
    private var isUncertain = false
    private var call: ClientCall?
    /// Whether an answer is on its way to the client.
    private var hasBegun = false
    private var waiting: [ByteBuffer] = []
    private var promise: EventLoopPromise<ByteBuffer?>?
    private var hasEnded = false
    private var failure: ClientError?

    /// How long a server may take to go on with its answer.
    private static let patience = TimeAmount.seconds(20)
    /// Bytes of an unwanted answer that are read.
    private static let drainBytes: UInt64 = 16 << 10

    init(
        _ copies: Copies, _ request: HTTPRequest, _ exchange: Exchange, _ volume: VolumeID,
        _ locations: [String], _ otherwise: @escaping (_ isUncertain: Bool) -> Void
    ) {
        self.copies = copies
        self.request = request
        self.exchange = exchange
        self.volume = volume
        self.locations = locations
        self.otherwise = otherwise
    }

    func tryNext() {
        guard !locations.isEmpty else { return otherwise(isUncertain) }
        let location = locations.removeFirst()
        let isHead = request.method == .head
        var message = ClientRequest(
            address: location,
            head: ClientRequest.head(
                isHead ? "HEAD" : "GET", Passing.path(of: request), to: location,
                headers: Passing.headers(of: request)))
        message.isHead = isHead
        message.patience = ReadForward.patience
        call = copies.client.open(message, on: exchange.eventLoop, receiver: self)
    }

    // MARK: From the holder

    func begin(_ head: AnswerHead) {
        guard head.status != 404, head.status < 500 else {
            if head.status != 404 { isUncertain = true }
            // A short answer is read to its end, so that the connection can serve again.
            let isShort = (head.contentLength ?? .max) <= ReadForward.drainBytes
            isShort ? call?.abandon() : call?.cancel()
            return tryNext()
        }
        hasBegun = true
        let isHead = request.method == .head
        let body: ResponseBody
        if isHead {
            body = head.contentLength.map { .omitted(length: $0) } ?? .none
        } else if head.status == 304 || head.status == 204 {
            body = .none
        } else if head.contentLength == 0 {
            body = .empty
        } else {
            call?.pause()
            body = .stream(length: head.contentLength, source: self)
        }
        let passed = Passing.headers(of: head)
        let server = head.header("server")
        let hasOrigin = request.hasHeader("origin")
        exchange.respond(HTTPStatus(head.status), body: body) { headers in
            if let server { headers.add("Server", server) }
            if hasOrigin {
                headers.add("Access-Control-Allow-Origin", "*")
                headers.add("Access-Control-Allow-Credentials", "true")
            }
            for (name, value) in passed { headers.add(name: name, value) }
        }
    }

    func receive(_ piece: ByteBuffer) {
        guard let promise else { return waiting.append(piece) }
        self.promise = nil
        call?.pause()
        promise.succeed(piece)
    }

    func end() {
        hasEnded = true
        promise?.succeed(nil)
        promise = nil
    }

    func failed(_ error: ClientError) {
        guard hasBegun else {
            isUncertain = true
            copies.holders.doubt(volume)
            return tryNext()
        }
        failure = error
        promise?.fail(error)
        promise = nil
    }

    // MARK: To the client

    func next(on loop: any EventLoop) -> EventLoopFuture<ByteBuffer?> {
        if !waiting.isEmpty { return loop.makeSucceededFuture(waiting.removeFirst()) }
        if let failure { return loop.makeFailedFuture(failure) }
        if hasEnded { return loop.makeSucceededFuture(nil) }
        let promise = loop.makePromise(of: ByteBuffer?.self)
        self.promise = promise
        call?.resume()
        return promise.futureResult
    }

    func finished() {
        guard !hasEnded else { return }
        call?.cancel()
        promise?.fail(ClientError.cancelled(request.path))
        promise = nil
    }
}
