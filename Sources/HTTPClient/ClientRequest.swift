public import HTTPServer
public import NIOCore

/// One request to another server.
public struct ClientRequest {
    /// What follows the head.
    public enum Body {
        /// Nothing, or it is in the head's buffer already.
        case none
        /// Bytes in memory, and a few that end them.
        case bytes(ByteBuffer, tail: ByteBuffer)
        /// Pieces asked for one after the other, on the event loop.
        case source(any BodySource)
        /// Pieces that the caller gives to the ``ClientCall``, a ``HTTPServer/BodySink``.
        case pushed(isChunked: Bool)
    }

    /// `host:port`.
    public var address: String
    /// Request line, header lines and the empty line, complete with `Host` and the framing of the
    /// body; see ``head(_:_:to:headers:)``.
    public var head: ByteBuffer
    /// What follows the head.
    public var body: Body
    /// HEAD: the answer has no body whatever its head says.
    public var isHead = false
    /// How long nothing may move before the request fails.
    public var patience = TimeAmount.seconds(30)

    /// A request.
    public init(address: String, head: ByteBuffer, body: Body = .none) {
        self.address = address
        self.head = head
        self.body = body
    }

    /// Request line and header lines.
    ///
    /// Line ends in values are left out.
    public static func head(
        _ method: String, _ path: String, to address: String,
        headers: [(name: String, value: String)] = []
    ) -> ByteBuffer {
        var head = ByteBuffer()
        head.reserveCapacity(256)
        for text in [method, " ", path, " HTTP/1.1\r\nHost: ", address, "\r\n"] {
            head.writeString(text)
        }
        for (name, value) in headers { addLine(name, value, to: &head) }
        head.writeStaticString("\r\n")
        return head
    }

    /// Adds a header line; line ends in the value are left out.
    public static func addLine(_ name: String, _ value: String, to head: inout ByteBuffer) {
        head.writeString(name)
        head.writeStaticString(": ")
        if value.utf8.contains(where: { $0 == 0x0d || $0 == 0x0a || $0 == 0 }) {
            head.writeBytes(value.utf8.filter { $0 != 0x0d && $0 != 0x0a && $0 != 0 })
        } else {
            head.writeString(value)
        }
        head.writeStaticString("\r\n")
    }

    /// Whether it can be sent once more from the start.
    var isRepeatable: Bool {
        switch body {
        case .none, .bytes: true
        case .source, .pushed: false
        }
    }
}

/// A whole answer.
public struct ClientAnswer: Sendable {
    /// Status and header lines.
    public var head: AnswerHead
    /// The body.
    public var body: ByteBuffer

    /// An answer from its parts.
    public init(head: AnswerHead, body: ByteBuffer) {
        self.head = head
        self.body = body
    }

    /// The status code.
    public var status: Int { head.status }
}

/// Takes an answer as it arrives.
///
/// Called on the event loop. Either ``end()`` or ``failed(_:)`` is called once, at the last.
public protocol AnswerReceiver: AnyObject {
    /// The head; bodies follow.
    func begin(_ head: AnswerHead)
    /// One piece of the body, never empty.
    func receive(_ piece: ByteBuffer)
    /// The answer is complete.
    func end()
    /// There is no answer, or no more of it.
    func failed(_ error: ClientError)
    /// The server takes more of a pushed body again.
    func canTakeMore()
}

extension AnswerReceiver {
    /// Does nothing.
    public func canTakeMore() {}
}
