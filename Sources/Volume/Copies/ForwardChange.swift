import HTTPClient
import HTTPServer
import Model
import NIOCore
import Needles
import Wire

extension VolumeService {
    /// Passes a write for a volume that is not here on to a server that has it.
    ///
    /// What another server passed on already is not passed on again.
    func forwardWrite(_ request: HTTPRequest, _ exchange: Exchange, _ volume: VolumeID) {
        let missing = "volume \(volume) not found on \(url)"
        guard master != nil, !request.isFromServer else {
            return respond(exchange, to: request, 500, error: missing)
        }
        copies.holders.find(volume, copies: 1, on: exchange.eventLoop) { result in
            switch result {
            case .failure(let error):
                self.respond(
                    exchange, to: request, 500, error: error.message(for: volume, copies: 1))
            case .success(let holders) where holders.isEmpty:
                self.respond(exchange, to: request, 500, error: missing)
            case .success(let holders):
                WriteForward(self, request, exchange, volume, holders.shuffled()).tryNext()
            }
        }
    }

    /// Passes a delete for a volume that is not here on to a server that has it.
    func forwardDelete(_ request: HTTPRequest, _ exchange: Exchange, _ id: FileID) {
        switch store.lookup(id.volume) {
        case .opening, .open:
            return respond(
                exchange, to: request, 503,
                error: "volume \(id.volume) is being opened, try again", retryAfter: 1)
        case .failed(let reason):
            return deleted(
                request, exchange,
                .failure(.holders("volume \(id.volume) cannot be used on \(url): \(reason)")))
        case .absent: break
        }
        guard master != nil, !request.isFromServer else {
            return deleted(request, exchange, .failure(.local(.noVolume(id.volume))))
        }
        copies.holders.find(id.volume, copies: 1, on: exchange.eventLoop) { result in
            switch result {
            case .failure(let error):
                let text = error.message(for: id.volume, copies: 1)
                self.deleted(request, exchange, .failure(.holders(text)))
            case .success(let holders):
                self.forwardDelete(request, exchange, id, holders.shuffled(), problem: nil)
            }
        }
    }

    private func forwardDelete(
        _ request: HTTPRequest, _ exchange: Exchange, _ id: FileID, _ holders: [String],
        problem: String?
    ) {
        guard let holder = holders.first else {
            let error: ChangeError =
                problem.map { .holders($0) } ?? .local(.noVolume(id.volume))
            return deleted(request, exchange, .failure(error))
        }
        let headers = Passing.headers(of: request) + [(name: "Content-Length", value: "0")]
        var message = ClientRequest(
            address: holder,
            head: ClientRequest.head(
                "DELETE", Passing.path(of: request), to: holder, headers: headers))
        message.patience = CopyMessage.patience
        copies.client.send(message, on: exchange.eventLoop) { result in
            switch result {
            case .success(let answer): self.pass(answer, exchange, request)
            case .failure(let error):
                self.copies.holders.doubt(id.volume)
                guard error.isBeforeSending else {
                    return self.deleted(
                        request, exchange, .failure(.holders(error.description)))
                }
                self.forwardDelete(
                    request, exchange, id, Array(holders.dropFirst()),
                    problem: error.description)
            }
        }
    }

    /// Passes the answer to a change on.
    func pass(_ answer: ClientAnswer, _ exchange: Exchange, _ request: HTTPRequest) {
        let body = answer.body
        let passed = Passing.headers(of: answer.head)
        exchange.respond(
            HTTPStatus(answer.status), body: body.readableBytes > 0 ? .bytes(body) : .empty
        ) { headers in
            self.addCommonHeaders(&headers, for: request)
            for (name, value) in passed { headers.add(name: name, value) }
        }
    }
}

extension HTTPRequest {
    /// Whether another server sent it here on behalf of a client: then it is answered from what is
    /// here, so that no request goes round in circles.
    var isFromServer: Bool {
        guard hasQuery else { return false }
        let query = query
        return query["type"] == "replicate" || query["proxied"] == "true"
    }
}

/// What of a request or an answer is passed on.
enum Passing {
    /// Headers that belong to one connection, or that each server writes itself.
    private static let own: Set<String> = [
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "host", "content-length", "expect", "date", "server",
        "access-control-allow-origin", "access-control-allow-credentials",
    ]

    /// The headers of a request for the next server.
    static func headers(of request: HTTPRequest) -> [(name: String, value: String)] {
        request.headers.filter { !own.contains($0.name.lowercased()) }
    }

    /// The headers of an answer for the client.
    static func headers(of head: AnswerHead) -> [(name: String, value: String)] {
        head.headers.filter { !own.contains($0.name.lowercased()) }
    }

    /// Path and query with the mark that the request was passed on.
    static func path(of request: HTTPRequest) -> String {
        request.hasQuery
            ? "\(request.path)?\(request.rawQuery)&proxied=true" : "\(request.path)?proxied=true"
    }
}

/// One write passed on, its body as it arrives.
///
/// Confined to its event loop. The next holder is tried as long as nothing of the body was read.
private final class WriteForward: AnswerReceiver {
    private let service: VolumeService
    private let request: HTTPRequest
    private let exchange: Exchange
    private let volume: VolumeID
    private var holders: [String]
    private var call: ClientCall?
    private var isReading = false
    private var isPaused = false
    private var isDone = false
    private var head: AnswerHead?
    private var answer = ByteBuffer()

    /// Bytes of an answer that are passed on.
    private static let answerLimit = 64 << 10

    init(
        _ service: VolumeService, _ request: HTTPRequest, _ exchange: Exchange,
        _ volume: VolumeID, _ holders: [String]
    ) {
        self.service = service
        self.request = request
        self.exchange = exchange
        self.volume = volume
        self.holders = holders
    }

    func tryNext(after problem: String = "") {
        guard !holders.isEmpty else {
            return fail("no holder of volume \(volume) takes the write: \(problem)")
        }
        let holder = holders.removeFirst()
        var headers = Passing.headers(of: request)
        let isChunked = request.isChunked
        headers.append(
            isChunked
                ? (name: "Transfer-Encoding", value: "chunked")
                : (name: "Content-Length", value: "\(request.contentLength ?? 0)"))
        var message = ClientRequest(
            address: holder,
            head: ClientRequest.head(
                request.method == .put ? "PUT" : "POST", Passing.path(of: request), to: holder,
                headers: headers), body: .pushed(isChunked: isChunked))
        message.patience = CopyMessage.patience
        call = service.copies.client.open(message, on: exchange.eventLoop, receiver: self)
    }

    private func fail(_ text: String) {
        guard !isDone else { return }
        isDone = true
        service.counters.count(service.counters.failures)
        service.respond(exchange, to: request, 500, error: text)
        resume()
    }

    /// The body as the client sends it.
    private final class ClientBody: BodySink {
        private let forward: WriteForward

        init(_ forward: WriteForward) { self.forward = forward }

        func receive(_ piece: ByteBuffer) { forward.pass(piece) }

        func end() { forward.call?.end() }

        func failed(_ error: BodyError) { forward.bodyFailed(error) }
    }

    private func pass(_ piece: ByteBuffer) {
        guard !isDone, let call else { return }
        call.receive(piece)
        if !call.isWritable, !isPaused {
            isPaused = true
            exchange.pauseReading()
        }
    }

    private func bodyFailed(_ error: BodyError) {
        guard !isDone else { return }
        isDone = true
        call?.cancel()
        if error.canAnswer {
            service.respond(exchange, to: request, error.status, error: error.description)
        }
    }

    // MARK: From the holder

    func canTakeMore() {
        guard isReading else {
            isReading = true
            let limit = service.configuration.fileSizeLimit + UploadContext.envelopeLimit
            return exchange.readBody(limit: limit, into: ClientBody(self))
        }
        resume()
    }

    func begin(_ head: AnswerHead) { self.head = head }

    private func resume() {
        guard isPaused else { return }
        isPaused = false
        exchange.resumeReading()
    }

    func receive(_ piece: ByteBuffer) {
        guard answer.readableBytes + piece.readableBytes <= WriteForward.answerLimit else {
            call?.cancel()
            return fail("a holder of volume \(volume) sent an answer that is too large")
        }
        answer.writeImmutableBuffer(piece)
    }

    func failed(_ error: ClientError) {
        service.copies.holders.doubt(volume)
        guard error.isBeforeSending, !isReading else { return fail(error.description) }
        tryNext(after: error.description)
    }

    func end() {
        guard !isDone, let head else { return }
        isDone = true
        service.pass(ClientAnswer(head: head, body: answer), exchange, request)
        resume()
    }
}
