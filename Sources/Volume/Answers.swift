import HTTPServer
import NIOCore
import Wire

extension VolumeService {
    /// Adds the header lines that every answer of a volume server carries.
    func addCommonHeaders(_ headers: inout HeaderWriter, for request: HTTPRequest) {
        headers.add("Server", serverHeader)
        let hasOrigin = request.withHeader("origin") { $0 != nil }
        if hasOrigin {
            headers.add("Access-Control-Allow-Origin", "*")
            headers.add("Access-Control-Allow-Credentials", "true")
        }
    }

    /// Sends a JSON answer; HEAD gets its length alone.
    func respond(
        _ exchange: Exchange, to request: HTTPRequest, _ status: HTTPStatus, json: JSONWriter,
        headers extra: (inout HeaderWriter) -> Void = { _ in }
    ) {
        let bytes = json.bytes
        respond(
            exchange, to: request, status, type: "application/json",
            body: exchange.allocator.buffer(bytes: bytes)
        ) {
            $0.add("X-Content-Type-Options", "nosniff")
            extra(&$0)
        }
    }

    /// Sends `{"error":"…"}`.
    func respond(
        _ exchange: Exchange, to request: HTTPRequest, _ status: HTTPStatus, error: String,
        retryAfter seconds: Int? = nil
    ) {
        var json = JSONWriter(pretty: request.wantsPretty)
        json.object { $0.field("error", error) }
        respond(exchange, to: request, status, json: json) {
            if let seconds { $0.add("Retry-After", seconds) }
        }
    }

    /// Sends a body of a given type; HEAD gets its length alone.
    func respond(
        _ exchange: Exchange, to request: HTTPRequest, _ status: HTTPStatus, type: String,
        body: ByteBuffer, headers extra: (inout HeaderWriter) -> Void = { _ in }
    ) {
        let isHead = request.method == .head
        let body: ResponseBody =
            isHead ? .omitted(length: UInt64(body.readableBytes)) : .bytes(body)
        exchange.respond(status, body: body) { headers in
            headers.add("Content-Type", type)
            self.addCommonHeaders(&headers, for: request)
            extra(&headers)
        }
    }

    /// Sends a head and nothing else.
    func respondEmpty(
        _ exchange: Exchange, to request: HTTPRequest, _ status: HTTPStatus,
        headers extra: (inout HeaderWriter) -> Void = { _ in }
    ) {
        exchange.respond(status, body: .empty) { headers in
            self.addCommonHeaders(&headers, for: request)
            extra(&headers)
        }
    }
}

extension Exchange {
    /// Runs `work` on the event loop, from any thread; many answers share one wake-up.
    func hop(_ work: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { return work() }
        mailbox.enqueue(self) { _ in work() }
    }
}

extension HTTPRequest {
    /// Whether JSON shall be indented: `pretty` with any value but the empty one.
    var wantsPretty: Bool { hasQuery && !(query["pretty"] ?? "").isEmpty }
}
