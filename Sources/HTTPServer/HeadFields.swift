/// What the server itself needs from the header lines, gathered while they are parsed.
///
/// Strict where leniency would let two servers disagree on where a request ends (RFC 9112 section
/// 11.2).
struct HeadFields: Sendable {
    var isHTTP10 = false
    var names: UInt64 = 0
    var contentLength: UInt64?
    var isChunked = false
    var expectsContinue = false
    private var hasTransferEncoding = false
    private var saysClose = false
    private var saysKeepAlive = false
    private var hosts = 0

    var keepAlive: Bool { !saysClose && (!isHTTP10 || saysKeepAlive) }

    /// Looks at one header line.
    @inline(__always)
    mutating func take(
        _ bytes: borrowing Span<UInt8>, name: Range<Int>, value: Range<Int>
    ) throws(HeadError) {
        let bit = HTTPRequest.nameBit(length: name.count, first: bytes[name.lowerBound])
        names |= bit
        switch name.count {
        case 4 where matches(bytes, name, "host"):
            hosts += 1
        case 6 where matches(bytes, name, "expect"):
            guard matches(bytes, trimmed(bytes, value), "100-continue") else {
                throw .unsupportedExpectation
            }
            expectsContinue = true
        case 10 where matches(bytes, name, "connection"):
            takeConnection(bytes, value)
        case 14 where matches(bytes, name, "content-length"):
            guard contentLength == nil else { throw .malformed(.contentLengthTwice) }
            contentLength = try Self.length(bytes, trimmed(bytes, value))
        case 17 where matches(bytes, name, "transfer-encoding"):
            guard !hasTransferEncoding, matches(bytes, trimmed(bytes, value), "chunked") else {
                throw .unsupportedTransferCoding
            }
            hasTransferEncoding = true
            isChunked = true
        default:
            break
        }
    }

    /// Checks what only the whole head can tell.
    func finish() throws(HeadError) {
        guard !isChunked || contentLength == nil else { throw .malformed(.lengthAndChunks) }
        guard !isChunked || !isHTTP10 else { throw .malformed(.chunksInHTTP10) }
        guard hosts == 1 || (hosts == 0 && isHTTP10) else { throw .malformed(.host) }
    }

    private mutating func takeConnection(_ bytes: borrowing Span<UInt8>, _ value: Range<Int>) {
        var start = value.lowerBound
        while start < value.upperBound {
            var end = start
            while end < value.upperBound, bytes[end] != 0x2c { end += 1 }
            let token = trimmed(bytes, start..<end)
            if matches(bytes, token, "close") { saysClose = true }
            if matches(bytes, token, "keep-alive") { saysKeepAlive = true }
            start = end + 1
        }
    }

    /// Digits only, nothing that another server could read differently; at most `Int64.max`.
    private static func length(
        _ bytes: borrowing Span<UInt8>, _ value: Range<Int>
    ) throws(HeadError) -> UInt64 {
        guard (1...19).contains(value.count) else { throw .malformed(.contentLength) }
        var number: UInt64 = 0
        for index in value {
            guard case 0x30...0x39 = bytes[index] else { throw .malformed(.contentLength) }
            number = number * 10 + UInt64(bytes[index] &- 0x30)
        }
        guard number <= UInt64(Int64.max) else { throw .malformed(.contentLength) }
        return number
    }
}
