import NIOCore

/// The head of one request.
///
/// Cheap to copy: it shares the bytes as they came; fields are found on demand.
public struct HTTPRequest: Sendable {
    /// The method.
    public let method: HTTPMethod
    /// The head as received: request line, header lines and the empty line.
    let head: ByteBuffer
    // Offsets into `head`, relative to its reader index.
    let pathRange: Range<Int>
    let queryRange: Range<Int>
    let headersRange: Range<Int>
    /// One bit per header name present, see `HTTPRequest.nameBit`: most look-ups of absent headers
    /// end here.
    let names: UInt64
    /// The body's length, when the client said it.
    public let contentLength: UInt64?
    /// Whether the body comes in chunks.
    public let isChunked: Bool
    /// Whether the connection stays open after the answer.
    public let keepAlive: Bool
    /// Whether the request is HTTP/1.0.
    public let isHTTP10: Bool
    /// Whether the client waits for `100 Continue`.
    public let expectsContinue: Bool

    /// Whether a body follows the head.
    public var hasBody: Bool { isChunked || (contentLength ?? 0) > 0 }

    /// Lends the bytes of the path, as sent: percent escapes not decoded, no query.
    public func withPath<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        let bytes = head.readableBytesUInt8Span
        return try body(bytes.extracting(pathRange))
    }

    /// The path as sent.
    public var path: String {
        text(head.readableBytesUInt8Span, pathRange)
    }

    /// The path with percent escapes decoded; escapes that are none stay as they are.
    public var decodedPath: String {
        decodingPercents(head.readableBytesUInt8Span, pathRange, plusIsBlank: false)
    }

    /// The query as sent, without `?`; empty when there is none.
    public var rawQuery: String {
        text(head.readableBytesUInt8Span, queryRange)
    }

    /// Whether there is a query.
    public var hasQuery: Bool { !queryRange.isEmpty }

    /// The decoded query.
    public var query: Query {
        let bytes = head.readableBytesUInt8Span
        return Query(bytes: bytes.extracting(queryRange))
    }

    /// The first value of a header, surrounding blanks removed; `name` in lower case.
    public func header(_ name: StaticString) -> String? {
        withHeader(name) { bytes in
            guard let bytes else { return nil }
            return text(bytes, 0..<bytes.count)
        }
    }

    /// Lends the first value of a header; `name` in lower case.
    ///
    /// Allocates nothing.
    public func withHeader<R, E: Error>(
        _ name: StaticString, _ body: (Span<UInt8>?) throws(E) -> R
    ) throws(E) -> R {
        guard names & Self.nameBit(name) != 0 else { return try body(nil) }
        let bytes = head.readableBytesUInt8Span
        var lines = HeaderLines(headersRange)
        while let line = lines.next(bytes) {
            if matches(bytes, line.name, name) { return try body(bytes.extracting(line.value)) }
        }
        return try body(nil)
    }

    /// Whether a header is present; `name` in lower case.
    public func hasHeader(_ name: StaticString) -> Bool {
        withHeader(name) { $0 != nil }
    }

    /// Whether a header's name begins with `prefix`, given in lower case.
    ///
    /// Allocates nothing.
    public func hasHeader(prefix: StaticString) -> Bool {
        let bytes = head.readableBytesUInt8Span
        var lines = HeaderLines(headersRange)
        while let line = lines.next(bytes) {
            guard line.name.count >= prefix.utf8CodeUnitCount else { continue }
            let isEqual = prefix.withUTF8Buffer { wanted in
                for index in wanted.indices {
                    guard unsafe bytes[line.name.lowerBound + index] | 0x20 == wanted[index] | 0x20
                    else { return false }
                }
                return true
            }
            if isEqual { return true }
        }
        return false
    }

    /// Every header in order of arrival, names as sent.
    public var headers: [(name: String, value: String)] {
        let bytes = head.readableBytesUInt8Span
        var lines = HeaderLines(headersRange)
        var all: [(name: String, value: String)] = []
        while let line = lines.next(bytes) {
            all.append((text(bytes, line.name), text(bytes, line.value)))
        }
        return all
    }

    /// The first value of a cookie; names are compared exactly, quotes around the value removed.
    public func cookie(_ name: String) -> String? {
        guard names & Self.nameBit("cookie") != 0 else { return nil }
        let bytes = head.readableBytesUInt8Span
        var lines = HeaderLines(headersRange)
        while let line = lines.next(bytes) {
            guard matches(bytes, line.name, "cookie") else { continue }
            for pair in text(bytes, line.value).utf8.split(separator: 0x3b) {
                let parts = pair.split(
                    separator: 0x3d, maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2,
                    parts[0].drop(while: { $0 == blank }).elementsEqual(name.utf8)
                else { continue }
                var value = parts[1]
                while value.last == blank { value.removeLast() }
                if value.count >= 2, value.first == 0x22, value.last == 0x22 {
                    value = value.dropFirst().dropLast()
                }
                return String(decoding: value, as: UTF8.self)
            }
        }
        return nil
    }

    /// The bit that stands for a header name: its length and first letter, mixed.
    @inline(__always)
    static func nameBit(length: Int, first: UInt8) -> UInt64 {
        1 &<< UInt64(truncatingIfNeeded: (length &* 7 &+ Int(first | 0x20)) & 63)
    }

    /// The bit that stands for a header name.
    @inline(__always)
    static func nameBit(_ name: StaticString) -> UInt64 {
        guard name.hasPointerRepresentation, name.utf8CodeUnitCount > 0 else { return .max }
        // In bounds: the literal has at least one byte.
        return unsafe nameBit(length: name.utf8CodeUnitCount, first: name.utf8Start[0])
    }
}

/// Walks over header lines that the parser has accepted.
struct HeaderLines {
    private var index: Int
    private let end: Int

    init(_ range: Range<Int>) {
        index = range.lowerBound
        end = range.upperBound
    }

    /// The ranges of the next line's name and value, blanks around the value left out.
    mutating func next(
        _ bytes: borrowing Span<UInt8>
    ) -> (name: Range<Int>, value: Range<Int>)? {
        guard index < end else { return nil }
        let start = index
        var colon = start
        while colon < end, bytes[colon] != 0x3a { colon += 1 }
        var stop = colon
        while stop < end, bytes[stop] != carriageReturn { stop += 1 }
        guard colon < stop else { return nil }
        index = stop + 2
        return (start..<colon, trimmed(bytes, colon + 1..<stop))
    }
}
