import NIOCore

/// The lines before a body.
struct AnswerHead {
    /// The status code.
    let status: Int
    /// Bytes of the body.
    let length: Int
    /// Whether another request may follow.
    let staysOpen: Bool

    /// Bytes of the head, up to and with the empty line.
    private let end: Int

    /// Takes a complete head from the front of `buffer`; `nil` when it is not complete yet.
    static func take(from buffer: inout ByteBuffer) throws(BenchmarkError) -> AnswerHead? {
        guard let head = try AnswerHead(buffer.readableBytesUInt8Span) else { return nil }
        buffer.moveReaderIndex(forwardBy: head.end)
        return head
    }

    private init?(_ bytes: Span<UInt8>) throws(BenchmarkError) {
        guard let end = AnswerHead.end(of: bytes) else { return nil }
        guard end >= 16, AnswerHead.matches(bytes.extracting(0..<7), "http/1."),
            let status = AnswerHead.number(bytes.extracting(9..<12))
        else { throw .malformed("no status line") }
        var length: Int?
        var staysOpen = true
        var start = 0
        for i in 1..<end where bytes[i] == 0x0a {
            let line = bytes.extracting(start..<i - 1)
            start = i + 1
            if let value = AnswerHead.value(of: "content-length", in: line) {
                length = AnswerHead.number(line.extracting(value))
            } else if let value = AnswerHead.value(of: "connection", in: line) {
                staysOpen = !AnswerHead.matches(line.extracting(value), "close")
            } else if AnswerHead.value(of: "transfer-encoding", in: line) != nil {
                throw .malformed("chunked answers are not read")
            }
        }
        if status == 204 || status == 304 { length = 0 }
        guard let length else { throw .malformed("no Content-Length") }
        self.status = status
        self.length = length
        self.staysOpen = staysOpen
        self.end = end
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

    /// Where the value of a header is, when `line` is that header.
    private static func value(of name: StaticString, in line: Span<UInt8>) -> Range<Int>? {
        let length = name.utf8CodeUnitCount
        guard line.count > length, line[length] == 0x3a,
            matches(line.extracting(0..<length), name)
        else { return nil }
        var start = length + 1
        while start < line.count, line[start] == 0x20 { start += 1 }
        return start..<line.count
    }

    /// Whether `bytes` are the lower-case `text` in any case.
    private static func matches(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            for i in bytes.indices {
                guard unsafe bytes[i] == expected[i] || bytes[i] | 0x20 == expected[i] else {
                    return false
                }
            }
            return true
        }
    }

    private static func number(_ bytes: Span<UInt8>) -> Int? {
        guard !bytes.isEmpty, bytes.count <= 18 else { return nil }
        var value = 0
        for i in bytes.indices {
            guard (0x30...0x39).contains(bytes[i]) else { return nil }
            value = value * 10 + Int(bytes[i] - 0x30)
        }
        return value
    }
}
