import NIOCore

/// Status and header lines of an answer.
///
/// Cheap to copy: it shares the bytes as they came; lines are found on demand.
public struct AnswerHead: Sendable {
    /// The status code.
    public let status: Int
    /// Bytes of the body as announced; `nil` when only its end tells.
    public let contentLength: UInt64?
    /// Header lines, each ended by CR LF.
    private let lines: ByteBuffer
    let framing: AnswerFraming
    /// Whether another request may follow on the connection.
    let keepsOpen: Bool

    /// Lends the first value of a header; `name` in lower case.
    public func withHeader<R>(_ name: StaticString, _ body: (Span<UInt8>?) -> R) -> R {
        let bytes = lines.readableBytesUInt8Span
        var start = 0
        while let line = HeaderLine(bytes, from: start) {
            if line.isNamed(name, bytes) { return body(bytes.extracting(line.value)) }
            start = line.next
        }
        return body(nil)
    }

    /// The first value of a header; `name` in lower case.
    public func header(_ name: StaticString) -> String? {
        withHeader(name) { bytes in
            guard let bytes else { return nil }
            return HeaderLine.text(bytes)
        }
    }

    /// Every header in order of arrival, names as sent.
    public var headers: [(name: String, value: String)] {
        let bytes = lines.readableBytesUInt8Span
        var all: [(name: String, value: String)] = []
        var start = 0
        while let line = HeaderLine(bytes, from: start) {
            all.append(
                (
                    HeaderLine.text(bytes.extracting(line.name)),
                    HeaderLine.text(bytes.extracting(line.value))
                ))
            start = line.next
        }
        return all
    }

    /// Takes the next final head from the front of `buffer`; `nil` when it is not complete.
    ///
    /// Interim answers (1xx) are skipped. `hasBody` is false for answers to HEAD.
    /// Throws what is wrong with the bytes.
    static func take(
        from buffer: inout ByteBuffer, hasBody: Bool
    ) throws(MalformedAnswer) -> AnswerHead? {
        while let end = end(of: buffer.readableBytesUInt8Span) {
            guard let head = buffer.readSlice(length: end) else { return nil }
            let answer = try AnswerHead(head, hasBody: hasBody)
            if answer.status >= 200 { return answer }
        }
        return nil
    }

    private init(_ head: ByteBuffer, hasBody: Bool) throws(MalformedAnswer) {
        let bytes = head.readableBytesUInt8Span
        guard bytes.count >= 16, HeaderLine.matches(bytes, 0..<7, "http/1."),
            let code = HeaderLine.number(bytes, 9..<12), (100...599).contains(code)
        else { throw MalformedAnswer("no status line") }
        status = Int(code)
        var start = 12
        while start + 1 < bytes.count, bytes[start] != 0x0a { start += 1 }
        start += 1
        // `bytes` ends with an empty line, which is none of the header lines.
        let section = start..<max(start, bytes.count - 2)
        lines =
            head.getSlice(
                at: head.readerIndex + section.lowerBound, length: section.count) ?? ByteBuffer()
        var length: UInt64?
        var isChunked = false
        var keepsOpen = bytes[7] == 0x31
        while let line = HeaderLine(bytes.extracting(0..<section.upperBound), from: start) {
            start = line.next
            if line.isNamed("content-length", bytes) {
                guard let value = HeaderLine.number(bytes, line.value), length ?? value == value
                else { throw MalformedAnswer("content length") }
                length = value
            } else if line.isNamed("transfer-encoding", bytes) {
                guard HeaderLine.matches(bytes, line.value, "chunked") else {
                    throw MalformedAnswer("transfer coding")
                }
                isChunked = true
            } else if line.isNamed("connection", bytes) {
                keepsOpen = !HeaderLine.matches(bytes, line.value, "close")
            }
        }
        contentLength = isChunked ? nil : length
        if !hasBody || status < 200 || status == 204 || status == 304 {
            framing = .none
        } else if isChunked {
            framing = .chunked
        } else if let length {
            framing = length == 0 ? .none : .length(length)
        } else {
            framing = .untilClose
            keepsOpen = false
        }
        self.keepsOpen = keepsOpen
    }

    /// How many bytes there are up to and with the empty line.
    private static func end(of bytes: Span<UInt8>) -> Int? {
        var i = 3
        while i < bytes.count {
            // A byte that is no part of the end lets the three after it be skipped.
            switch bytes[i] {
            case 0x0a:
                if bytes[i - 1] == 0x0d, bytes[i - 2] == 0x0a, bytes[i - 3] == 0x0d { return i + 1 }
                i += 2
            case 0x0d: i += 1
            default: i += 4
            }
        }
        return nil
    }
}

/// How an answer's body ends.
enum AnswerFraming: Sendable, Equatable {
    case none
    case length(UInt64)
    case chunked
    case untilClose
}

/// What is wrong with the bytes of an answer.
struct MalformedAnswer: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// Where name and value of a header line are.
struct HeaderLine {
    let name: Range<Int>
    let value: Range<Int>
    /// Where the next line begins.
    let next: Int

    /// The line at `start`; lines without a colon have an empty name.
    init?(_ bytes: borrowing Span<UInt8>, from start: Int) {
        guard start < bytes.count else { return nil }
        var end = start
        while end < bytes.count, bytes[end] != 0x0a { end += 1 }
        next = end + 1
        if end > start, bytes[end - 1] == 0x0d { end -= 1 }
        var colon = start
        while colon < end, bytes[colon] != 0x3a { colon += 1 }
        name = colon < end ? start..<colon : start..<start
        var first = min(colon + 1, end)
        while first < end, bytes[first] == 0x20 || bytes[first] == 0x09 { first += 1 }
        while end > first, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
        value = first..<end
    }

    /// Whether the line has a name, given in lower case.
    func isNamed(_ text: StaticString, _ bytes: borrowing Span<UInt8>) -> Bool {
        HeaderLine.matches(bytes, name, text)
    }

    /// Whether bytes are the lower-case `text` in any case.
    static func matches(
        _ bytes: borrowing Span<UInt8>, _ range: Range<Int>, _ text: StaticString
    ) -> Bool {
        guard range.count == text.utf8CodeUnitCount, range.upperBound <= bytes.count else {
            return false
        }
        let part = bytes.extracting(range)
        return text.withUTF8Buffer { expected in
            for i in part.indices {
                let byte = part[i] &- 0x41 < 26 ? part[i] | 0x20 : part[i]
                guard unsafe byte == expected[i] else { return false }
            }
            return true
        }
    }

    /// A decimal number of at most 18 digits.
    static func number(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        guard (1...18).contains(range.count), range.upperBound <= bytes.count else { return nil }
        var value: UInt64 = 0
        for i in range {
            guard (0x30...0x39).contains(bytes[i]) else { return nil }
            value = value * 10 + UInt64(bytes[i] - 0x30)
        }
        return value
    }

    /// Bytes as text.
    static func text(_ bytes: Span<UInt8>) -> String {
        unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
