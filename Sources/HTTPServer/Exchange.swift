public import NIOCore

/// One request and its answer.
///
/// Confined to its event loop: every call is made there; hop with `eventLoop.execute` or, when many
/// answers become ready at once, with `mailbox`.
///
/// Exactly one `respond` per exchange; later ones do nothing. If the connection is gone, calls do
/// nothing. An exchange that is released without an answer is answered 500, so that its client does
/// not wait for ever.
public final class Exchange: @unchecked Sendable {
    // `@unchecked`: used on one event loop only, which `respond` and `readBody` check. What may be
    // used on other threads (`eventLoop`, `mailbox`) is constant.
    let connection: ConnectionHandler
    let id: UInt64
    private var isAnswered = false

    init(connection: ConnectionHandler, id: UInt64) {
        self.connection = connection
        self.id = id
    }

    deinit {
        guard !isAnswered else { return }
        let (connection, id) = (connection, id)
        connection.loop.execute { connection.abandon(id) }
    }

    /// The loop all calls are made on.
    ///
    /// May be asked for on any thread.
    public var eventLoop: any EventLoop { connection.loop }

    /// Brings answers made on other threads to the event loop.
    ///
    /// May be asked for on any thread.
    public var mailbox: ResponseMailbox { connection.shared.mailbox }

    /// The client's address, `127.0.0.1`; for access rules and logs.
    ///
    /// Empty when it has none.
    public var remoteAddress: String { connection.remoteAddress }

    /// Whether the client is on this machine, seen by its loopback address.
    public var isFromLoopback: Bool { connection.isFromLoopback }

    /// Whether the client is still connected.
    public var isConnected: Bool { connection.isCurrent(id) }

    /// An allocator of buffers for this connection.
    public var allocator: ByteBufferAllocator { connection.allocator }

    /// Sends the answer.
    ///
    /// `headers` adds lines beside those the server writes (`Content-Length`, `Connection`, `Date`,
    /// `Transfer-Encoding`). Head and small bodies leave in one write.
    public func respond(
        _ status: HTTPStatus, body: ResponseBody, headers: (inout HeaderWriter) -> Void = { _ in }
    ) {
        connection.loop.preconditionInEventLoop()
        isAnswered = true
        connection.respond(id, status, body, headers)
    }

    /// Sends JSON, with `Content-Type: application/json` and `X-Content-Type-Options: nosniff`.
    public func respondJSON(
        _ status: HTTPStatus, bytes: [UInt8], headers: (inout HeaderWriter) -> Void = { _ in }
    ) {
        respond(status, body: .bytes(ByteBuffer(bytes: bytes))) { writer in
            writer.addJSONType()
            headers(&writer)
        }
    }

    /// Sends `{"error":"…"}`.
    public func respondError(_ status: HTTPStatus, _ message: String) {
        respondJSON(status, bytes: jsonError(message))
    }

    /// Collects the body into one buffer, no copy when it already lies in the buffer received.
    ///
    /// Sends `100 Continue` when awaited. `completion` may be called before this returns; it is
    /// called once, unless the exchange is answered before the body is complete. At most 1 GiB,
    /// whatever `limit` says.
    public func readBody(
        limit: UInt64, _ completion: @escaping (Result<ByteBuffer, BodyError>) -> Void
    ) {
        connection.loop.preconditionInEventLoop()
        connection.readBody(
            id, limit: min(limit, Limits.collectedBytes), .collect(completion: completion))
    }

    /// Streams the body into `sink`.
    ///
    /// Sends `100 Continue` when awaited.
    public func readBody(limit: UInt64, into sink: any BodySink) {
        connection.loop.preconditionInEventLoop()
        connection.readBody(id, limit: limit, .stream(sink))
    }

    /// Stops reading from the connection until `resumeReading()`; counts pairs.
    public func pauseReading() { connection.pauseReading(id) }

    /// Goes on reading.
    public func resumeReading() { connection.resumeReading(id) }
}

extension HeaderWriter {
    mutating func addJSONType() {
        buffer.writeStaticString(
            "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n")
    }
}

/// `{"error":"…"}` with what JSON and HTML need escaped.
func jsonError(_ message: String) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    var json = Array("{\"error\":\"".utf8)
    for byte in message.utf8 {
        switch byte {
        case 0x22, 0x5c:
            json += [0x5c, byte]
        case 0x00..<blank, 0x3c, 0x3e, 0x26:
            json += Array("\\u00".utf8)
            json += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        default:
            json.append(byte)
        }
    }
    json += Array("\"}".utf8)
    return json
}
