import HTTPServer
import NIOCore
import Wire

/// A whole answer, made on any thread.
struct Reply: Sendable {
    var status: Int
    var contentType: String?
    var body: [UInt8] = []
    /// Seconds for `Retry-After`.
    var retryAfter: Int?
    /// Target of a redirect.
    var location: String?
    /// For `Allow`.
    var allow: String?

    static let json = "application/json"
    static let html = "text/html; charset=utf-8"
    static let plain = "text/plain; charset=utf-8"

    /// No body.
    static func empty(_ status: Int) -> Reply { Reply(status: status) }

    /// JSON that `body` writes.
    static func json(
        _ status: Int = 200, pretty: Bool = false, _ body: (inout JSONWriter) -> Void
    ) -> Reply {
        var json = JSONWriter(pretty: pretty)
        body(&json)
        return Reply(status: status, contentType: Reply.json, body: json.bytes)
    }

    /// `{"error":"…"}`.
    static func error(_ status: Int, _ text: String, pretty: Bool = false) -> Reply {
        json(status, pretty: pretty) { $0.object { $0.field("error", text) } }
    }

    /// A path that is not served.
    static let notFound = Reply(
        status: 404, contentType: Reply.plain, body: Array("404 page not found\n".utf8))

    /// A method that a path does not take.
    static func methodNotAllowed(_ allow: String) -> Reply { Reply(status: 405, allow: allow) }

    /// Sends it; call on the exchange's event loop.
    func send(_ request: HTTPRequest, _ exchange: Exchange) {
        exchange.respond(HTTPStatus(status), body: responseBody(request, exchange)) { headers in
            if let contentType {
                headers.add("Content-Type", contentType)
                headers.add("X-Content-Type-Options", "nosniff")
            }
            if let retryAfter { headers.add("Retry-After", retryAfter) }
            if let location { headers.add("Location", location) }
            if let allow { headers.add("Allow", allow) }
        }
    }

    /// Sends it from another thread.
    func sendLater(_ request: HTTPRequest, _ exchange: Exchange) {
        exchange.eventLoop.execute { send(request, exchange) }
    }

    private func responseBody(_ request: HTTPRequest, _ exchange: Exchange) -> ResponseBody {
        if status == 204 { return .none }
        if request.method == .head { return .omitted(length: UInt64(body.count)) }
        if body.isEmpty { return .empty }
        var buffer = exchange.allocator.buffer(capacity: body.count)
        buffer.writeBytes(body)
        return .bytes(buffer)
    }
}
