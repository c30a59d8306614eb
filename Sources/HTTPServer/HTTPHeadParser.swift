public import NIOCore

/// Why a request head was refused.
public enum HeadError: Error, Sendable, Equatable, CustomStringConvertible {
    /// More bytes or lines than allowed.
    case tooLarge
    /// Not HTTP/1.1 as RFC 9112 defines it; says what is wrong.
    case malformed(StaticReason)
    /// A version other than HTTP/1.0 and HTTP/1.1.
    case unsupportedVersion
    /// A transfer coding other than `chunked`.
    case unsupportedTransferCoding
    /// An `Expect` other than `100-continue`.
    case unsupportedExpectation
    /// The head did not come in time.
    case timedOut

    /// The status to answer with.
    public var status: HTTPStatus {
        switch self {
        case .tooLarge: 431
        case .malformed: 400
        case .unsupportedVersion: 505
        case .unsupportedTransferCoding: 501
        case .unsupportedExpectation: 417
        case .timedOut: 408
        }
    }

    /// What is wrong with the request, for the answer.
    public var description: String {
        switch self {
        case .tooLarge: "request head too large"
        case .malformed(let reason): "malformed request: \(reason.rawValue)"
        case .unsupportedVersion: "unsupported HTTP version: use HTTP/1.1"
        case .unsupportedTransferCoding: "unsupported transfer coding: use chunked"
        case .unsupportedExpectation: "unsupported expectation: use 100-continue"
        case .timedOut: "request head not received in time"
        }
    }

    /// What makes a head malformed.
    public enum StaticReason: String, Sendable {
        case requestLine = "request line"
        case target = "request target"
        case lineEnd = "line not ended by CR LF"
        case headerName = "header name"
        case headerValue = "control byte in a header value"
        case folding = "folded header line"
        case contentLength = "Content-Length"
        case contentLengthTwice = "more than one Content-Length"
        case lengthAndChunks = "Content-Length and Transfer-Encoding together"
        case chunksInHTTP10 = "Transfer-Encoding in HTTP/1.0"
        case host = "exactly one Host header is needed"
    }
}

/// What parsing a request head gave.
public enum HeadResult: Sendable {
    /// The head is not complete yet.
    case incomplete
    /// A request; its head takes the first `length` readable bytes.
    case head(HTTPRequest, length: Int)
    /// No request will come of this; the connection is of no more use.
    case failure(HeadError)
}

/// Parses request heads in one pass over the bytes as received.
///
/// Give it the same buffer again, grown, after `incomplete`: it goes on where it stopped, so a head
/// that comes byte by byte costs no more than one that comes whole.
public struct HTTPHeadParser: Sendable {
    enum Phase { case start, method, target, version, line, name, value, lineFeed, end, done }

    let limit: Int
    var phase = Phase.start
    // All positions count from the buffer's reader index.
    var index = 0
    var lineStart = 0
    var method = 0..<0
    var target = 0..<0
    var question: Int?
    var headersStart = 0
    var headersEnd = 0
    var name = 0..<0
    var valueStart = 0
    var lines = 0
    var fields = HeadFields()

    /// A parser for one head of at most `limit` bytes.
    public init(limit: Int = Limits().headBytes) { self.limit = limit }

    /// Parses what `buffer` holds, without moving its reader index.
    public static func parse(
        _ buffer: ByteBuffer, limit: Int = Limits().headBytes
    ) -> HeadResult {
        var parser = HTTPHeadParser(limit: limit)
        return parser.parse(buffer)
    }

    /// Goes on with a buffer that begins with the bytes of the calls before.
    public mutating func parse(_ buffer: ByteBuffer) -> HeadResult {
        let bytes = buffer.readableBytesUInt8Span
        do throws(HeadError) {
            guard try advance(bytes) else {
                return bytes.count > limit ? .failure(.tooLarge) : .incomplete
            }
            guard index <= limit else { return .failure(.tooLarge) }
            try fields.finish()
            guard let head = buffer.getSlice(at: buffer.readerIndex, length: index) else {
                return .incomplete
            }
            return .head(request(bytes, head), length: index)
        } catch {
            return .failure(error)
        }
    }

    private func request(_ bytes: borrowing Span<UInt8>, _ head: ByteBuffer) -> HTTPRequest {
        let (path, query) = splitTarget(bytes)
        return HTTPRequest(
            method: HTTPMethod(bytes, method), head: head, pathRange: path, queryRange: query,
            headersRange: headersStart..<headersEnd, names: fields.names,
            contentLength: fields.contentLength, isChunked: fields.isChunked,
            keepAlive: fields.keepAlive, isHTTP10: fields.isHTTP10,
            expectsContinue: fields.expectsContinue && !fields.isHTTP10)
    }

    /// Path and query of the target; of an absolute one (`http://host/path`) what follows the host.
    private func splitTarget(_ bytes: borrowing Span<UInt8>) -> (Range<Int>, Range<Int>) {
        let pathEnd = question ?? target.upperBound
        let query = question.map { $0 + 1..<target.upperBound } ?? pathEnd..<pathEnd
        guard bytes[target.lowerBound] != 0x2f else { return (target.lowerBound..<pathEnd, query) }
        var index = target.lowerBound
        while index + 3 <= pathEnd, bytes[index] != 0x2f {
            if bytes[index] == 0x3a, bytes[index + 1] == 0x2f, bytes[index + 2] == 0x2f {
                var slash = index + 3
                while slash < pathEnd, bytes[slash] != 0x2f { slash += 1 }
                // Without a path the last slash of "//" stands for it, if nothing else can.
                return slash < pathEnd ? (slash..<pathEnd, query) : (index + 2..<index + 3, query)
            }
            index += 1
        }
        return (target.lowerBound..<pathEnd, query)
    }
}
