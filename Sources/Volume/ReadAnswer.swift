import HTTPServer
internal import NIOCore

/// A text that becomes a header, in whatever form it is at hand: nothing is copied before it is
/// written.
enum HeaderText: Sendable, Equatable {
    /// There is none.
    case none
    /// A text.
    case text(String)
    /// Bytes as stored.
    case bytes(ByteBuffer)

    /// Bytes as stored; absent and empty ones count as none.
    init(_ buffer: ByteBuffer?) {
        if let buffer, buffer.readableBytes > 0 { self = .bytes(buffer) } else { self = .none }
    }

    /// A text; an empty one counts as none.
    init(_ text: String) { self = text.isEmpty ? .none : .text(text) }

    /// Whether there is no text.
    var isNone: Bool { if case .none = self { true } else { false } }

    /// Lends the bytes; none when there is no text.
    func withSpan<R>(_ body: (Span<UInt8>) -> R) -> R {
        switch self {
        case .none: body(Span<UInt8>())
        case .text(let text): body(text.utf8.span)
        case .bytes(let buffer): body(buffer.readableBytesUInt8Span)
        }
    }
}

/// One piece of a composed body.
enum ReadPart: Sendable {
    /// Bytes of the answer itself.
    case literal(ByteBuffer)
    /// Bytes of the file.
    case content(ByteRange)
}

/// The answer to a read, decided but not yet sent: everything that depends on the file and the
/// request, nothing that touches a connection.
struct ReadAnswer: Sendable {
    /// What follows the head.
    enum Body: Sendable {
        /// No body, and no length: 304.
        case none
        /// The length only: HEAD.
        case omitted(UInt64)
        /// Bytes in memory.
        case bytes(ByteBuffer)
        /// One part of the file.
        case content(ReadContent, ByteRange)
        /// Several parts of the file with text between them; how long it is together.
        case parts(ReadContent, [ReadPart], length: UInt64)
    }

    /// How the name of the file is told.
    enum Naming: Sendable {
        /// It has none.
        case none
        /// Under this name.
        case named(HeaderText, isAttachment: Bool)
        /// In the very words of the client or the writer.
        case verbatim(String)
    }

    /// The status.
    var status: HTTPStatus = 200
    /// The type of the content.
    var contentType = HeaderText.none
    /// The type is to be guessed from the first bytes sent.
    var needsSniff = false
    /// The name of the file.
    var naming = Naming.none
    /// How the content is encoded.
    var encoding = HeaderText.none
    /// Which part this is.
    var contentRange: String?
    /// The checksum that makes the entity tag.
    var checksum: UInt32?
    /// Unix seconds.
    var lastModified: UInt64?
    /// Whether parts may be asked for.
    var acceptsRanges = false
    /// Whether the file is stored as chunks.
    var isChunked = false
    /// Whether the body is text of ours that browsers must not take for anything else.
    var isMessage = false
    /// Headers stored with the file.
    var pairs: [(name: String, value: String)] = []
    /// Headers that the client asked for.
    var extras: [(header: StaticString, value: String)] = []
    /// What follows the head.
    var body = Body.none

    /// The answer that says why there is none; text, or no body at all.
    mutating func become(_ status: HTTPStatus, message: String) {
        self.status = status
        body = .bytes(ByteBuffer(string: message))
        guard !message.isEmpty else { return }
        contentType = .text("text/plain; charset=utf-8")
        encoding = .none
        needsSniff = false
        isMessage = true
    }

    /// An answer with a text, or without a body.
    static func failure(_ status: HTTPStatus, message: String = "") -> ReadAnswer {
        var answer = ReadAnswer()
        answer.become(status, message: message)
        return answer
    }

    /// Writes the header lines.
    func write(_ headers: inout HeaderWriter, server: String, hasOrigin: Bool) {
        headers.add("Server", server)
        if hasOrigin {
            headers.add("Access-Control-Allow-Origin", "*")
            headers.add("Access-Control-Allow-Credentials", "true")
        }
        for (name, value) in pairs { headers.add(name: name, value) }
        for (header, value) in extras { headers.add(header, value) }
        if acceptsRanges { headers.add("Accept-Ranges", "bytes") }
        if isChunked { headers.add("X-File-Store", "chunked") }
        writeNaming(&headers)
        add(contentType, as: "Content-Type", to: &headers)
        add(encoding, as: "Content-Encoding", to: &headers)
        if let contentRange { headers.add("Content-Range", contentRange) }
        if let checksum { EntityTag(checksum).withSpan { headers.add("Etag", bytes: $0) } }
        if let lastModified {
            LastModified(lastModified).withSpan { headers.add("Last-Modified", bytes: $0) }
        }
        if isMessage { headers.add("X-Content-Type-Options", "nosniff") }
    }

    private func add(
        _ text: HeaderText, as header: StaticString, to headers: inout HeaderWriter
    ) {
        guard !text.isNone else { return }
        text.withSpan { headers.add(header, bytes: $0) }
    }

    private func writeNaming(_ headers: inout HeaderWriter) {
        switch naming {
        case .none: return
        case .verbatim(let text): headers.add("Content-Disposition", text)
        case .named(let name, let isAttachment):
            let disposition = name.withSpan { Disposition(name: $0, isAttachment: isAttachment) }
            disposition.withSpan { headers.add("Content-Disposition", bytes: $0) }
        }
    }
}
